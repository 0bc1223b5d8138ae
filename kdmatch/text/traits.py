"""What a token is like, told to matchers beside its id: its stem, rarity, role and spelling."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from kdmatch.data.ids import PairIds
from kdmatch.data.roles import Role
from kdmatch.text.english import BREAKS, PREPOSITIONS, STOP_WORDS, UNITS
from kdmatch.text.letters import letter_pairs
from kdmatch.text.stem import stem

CONTINUES = "##"
_UNNAMING = STOP_WORDS.union(spelling for spellings in UNITS.values() for spelling in spellings)


def stem_ids(vocabulary: Sequence[str]) -> np.ndarray:
    """The first token with the same English stem, int32 `(vocabulary,)`.

    0, "matches nothing", for padding, for tokens in square brackets and for
    U+FFFD: that two texts both hold an unknown token says nothing.

    >>> stem_ids(["[PAD]", "[UNK]", "light", "lights", "##s"]).tolist()
    [0, 0, 2, 2, 4]
    """
    first: dict[str, int] = {}
    return np.array(
        [
            0 if _is_special(token) else first.setdefault(stem(token), number)
            for number, token in enumerate(vocabulary)
        ],
        np.int32,
    )


def roles(vocabulary: Sequence[str]) -> np.ndarray:
    """The `Role` of each token, int8 `(vocabulary,)`.

    >>> roles(["[SEP]", "towel", "36", "in", "inch", "-", ",", "##on", "##6"]).tolist()
    [1, 0, 2, 3, 1, 1, 3, 0, 2]
    """
    return np.array([_role(token) for token in vocabulary], np.int8)


def rarity(ids: PairIds, size: int) -> np.ndarray:
    """`log(n / df) / log(n)` of each token over `n` pairs, in [0, 1], float32 `(size,)`.

    0 for a token of every pair, 1 for one seen at most once.

    >>> ids = PairIds({"token_ids": np.array([1, 1, 2, 1], "int32")},
    ...               {"token_ids": np.array([3, 1], "int32")})
    >>> rarity(ids, 4).tolist()
    [1.0, 0.0, 1.0, 1.0]
    """
    count = len(ids)
    inside = []
    for name, values in ids.values.items():
        if name != "segment_ids":
            row = np.repeat(np.arange(count), ids.lengths[name])
            inside.append(row * size + values)
    pairs_with = np.bincount(np.unique(np.concatenate(inside)) % size, minlength=size)
    share = count / np.maximum(pairs_with, 1)
    return (np.log(share) / np.log(max(count, 2))).clip(0, 1).astype(np.float32)


def spellings(vocabulary: Sequence[str], dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors whose cosines tell how alike two tokens are spelled.

    Each letter pair of a token (and each letter, where letters are more than
    an alphabet's) has a random vector of signs; a token's is their sum, so that
    the vectors of a word's pieces add up to the word's.

    Args:
        vocabulary: sequence of str. Pieces that begin with `##` go on a word.
        dimension: int. Cosines are off by about `1 / sqrt(dimension)`.

    Returns:
        int8 `(vocabulary, dimension)`, 0 for tokens in square brackets, and
        bool `(vocabulary,)`: whether a token goes on the word before it.

    Reference:
        Charikar et al., "Finding frequent items in data streams", 2002 (the count
        sketch's signs).

    >>> vectors, goes_on = spellings(["[PAD]", "towel", "towels", "lamp", "##s"], 256)
    >>> towel, towels, lamp = vectors[1:4].astype(float)
    >>> bool(towel @ towels > 0.5 * (towel @ towel) > 3 * abs(towel @ lamp))
    True
    >>> goes_on.tolist()
    [False, False, False, False, True]
    """
    parts = [_parts(token) for token in vocabulary]
    number = {part: i for i, part in enumerate(sorted(set().union(*parts)))}
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (len(number), dimension))
    vectors = np.zeros((len(vocabulary), dimension), np.int8)
    for row, found in zip(vectors, parts, strict=True):
        total = signs[[number[part] for part in found]].sum(axis=0, dtype=np.int64)
        row[:] = total.clip(-127, 127)
    return vectors, np.array([token.startswith(CONTINUES) for token in vocabulary])


def characters(vocabulary: Sequence[str], most: int) -> np.ndarray:
    """Ids of each word's first `most` characters, int32 `(vocabulary, most)`, 0 for none.

    A word of an alphabet is one character, its stem.

    >>> characters(["[PAD]", "led", "北", "京", "北京", "北京人"], 2).tolist()
    [[0, 0], [1, 0], [2, 0], [3, 0], [2, 3], [2, 3]]
    """
    number = {word: i for i, word in enumerate(vocabulary)}
    table = np.zeros((len(vocabulary), most), np.int32)
    table[:, 0] = stem_ids(vocabulary)
    for row, word in zip(table, vocabulary, strict=True):
        if not _is_special(word) and any(unicodedata.category(c) == "Lo" for c in word):
            found = [number[c] for c in dict.fromkeys(word) if c in number][:most]
            row[:] = found + [0] * (most - len(found))
    return table


def character_rarity(ids: PairIds, table: np.ndarray) -> np.ndarray:
    """`rarity` of characters over the pairs whose words have them, float32 `(vocabulary,)`."""
    values, lengths = {}, {}
    for name, words in ids.values.items():
        found = table[words]
        ends = np.cumsum(np.concatenate([[0], (found > 0).sum(axis=1)]))
        pairs = np.cumsum(np.concatenate([[0], ids.lengths[name]]))
        values[name] = found[found > 0]
        lengths[name] = np.diff(ends[pairs])
    return rarity(PairIds(values, lengths), len(table))


def set_vocabulary(matcher: Any, vocabulary: Sequence[str], ids: PairIds) -> None:
    """Fill what matchers are told of tokens: stems, rarity, roles, spelling, characters.

    Without it no stems match, no token counts as rare and none is spelled like another. The
    tables are saved with the weights. A matcher that was built with neither needs none of it.

    Args:
        matcher: kdmatch matcher, not yet trained.
        vocabulary: sequence of str, `(vocabulary,)`. Tokens in the order of their ids.
        ids: PairIds of the training pairs, over which rarity is counted.
    """
    if matcher.traits is not None:
        matcher.traits.set_tables(
            stem_ids(vocabulary), rarity(ids, len(vocabulary)), roles(vocabulary)
        )
    if matcher.spelling is not None:
        matcher.spelling.set_tables(*spellings(vocabulary, matcher.spelling.dimension))
    if matcher.characters is not None:
        table = characters(vocabulary, matcher.characters.most)
        matcher.characters.set_tables(table, character_rarity(ids, table))


def _is_special(token: str) -> bool:
    return token == "\ufffd" or (token.startswith("[") and token.endswith("]"))


def _role(token: str) -> Role:
    word = token.removeprefix(CONTINUES)
    if word.isdigit():
        return Role.NUMBER
    if (not word.isalnum() and word not in BREAKS) or _is_special(token):
        return Role.PASSES
    if word != token:
        return Role.NAMES  # the end of "sconce" may be spelled "on"
    if word in PREPOSITIONS or word in BREAKS:
        return Role.ENDS
    return Role.PASSES if word in _UNNAMING else Role.NAMES


def _parts(token: str) -> list[str]:
    """What `spellings` adds up: a word's end shows only where the token is no piece of one."""
    if _is_special(token):
        return []
    word = token.removeprefix(CONTINUES)
    if word.isdigit():
        return [word]  # 60 is no misspelt 65
    pairs = letter_pairs(word) - {"^.$"}  # that a word is one letter says nothing
    if token != word:
        pairs = {pair for pair in pairs if not pair.startswith("^")}
    # A Han character is a word's worth of meaning, and stands in few pairs.
    return sorted(pairs | {letter for letter in word if not letter.isascii()})
