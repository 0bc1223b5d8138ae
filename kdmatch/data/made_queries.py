"""Queries that nobody asked, for teachers to score beside those of the log."""

import re
from collections.abc import Collection, Sequence

import numpy as np

from kdmatch.data.splits import query_key

_HAN = r"[\u3400-\u9fff\uf900-\ufaff]"
_TOKEN = re.compile(rf"{_HAN}|(?:(?!{_HAN})\w)(?:(?!{_HAN})[\w./'-])*")
_SPACELESS = re.compile(rf"(?<={_HAN}) | (?={_HAN})")
_TRIES = 20


def made_queries(
    queries: Sequence[str],
    documents: Sequence[str],
    count: int,
    *,
    avoid: Collection[str] = (),
    seed: int = 0,
) -> list[str]:
    """New queries like `queries`, of words that those do not have too.

    Every other one is a part of a document, as long as a query is: neighbouring words, or some
    of them in their order. The others are queries with a word left out, or with one of another
    query in its place. A Chinese character counts as a word.

    Args:
        queries: sequence of str.
        documents: sequence of str.
        count: int. Fewer are made where too few can be.
        avoid: collection of str. What no query may be, but for case, width of letters, blanks
            and punctuation: those held out.
        seed: int.

    Returns:
        list of str, distinct, none of them in `queries`.

    Reference:
        Tang et al., "Distilling task-specific knowledge from BERT into simple neural
        networks", 2019 (words masked and n-grams sampled).

    >>> made = made_queries(["red lamp"], ["blue table lamp with a shade"], 4)
    >>> len(made), all(len(query.split()) <= 2 for query in made)
    (4, True)
    """
    random = np.random.default_rng(seed)
    asked = [tokens for query in queries if (tokens := _tokens(query))]
    found = [tokens for document in documents if (tokens := _tokens(document))]
    if not asked or not found:
        return []
    lengths = np.array([len(tokens) for tokens in asked])
    words = [token for tokens in asked for token in tokens]
    taken = {_key(text) for text in (*queries, *avoid)}
    made: list[str] = []
    for turn in range(count * _TRIES):
        if len(made) == count:
            break
        if turn % 2:
            tokens = _varied(asked[random.integers(len(asked))], words, random)
        else:
            length = int(lengths[random.integers(len(lengths))])
            tokens = _part(found[random.integers(len(found))], length, random)
        query = _SPACELESS.sub("", " ".join(tokens))
        if (key := _key(query)) and key not in taken:
            taken.add(key)
            made.append(query)
    return made


def _key(text: str) -> str:
    """A query's letters and digits alone: two that differ in anything else are one."""
    return "".join(re.findall(r"[^\W_]+", query_key(text)))


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _part(tokens: Sequence[str], length: int, random: np.random.Generator) -> list[str]:
    spare = max(0, len(tokens) - length)
    if random.random() < 0.5:
        begin = int(random.integers(spare + 1))
        return list(tokens[begin : begin + length])
    places = random.choice(len(tokens), len(tokens) - spare, replace=False)
    return [tokens[place] for place in sorted(places)]


def _varied(tokens: Sequence[str], words: Sequence[str], random: np.random.Generator) -> list[str]:
    place = int(random.integers(len(tokens)))
    instead = [] if random.random() < 0.3 else [words[int(random.integers(len(words)))]]
    return [*tokens[:place], *instead, *tokens[place + 1 :]]
