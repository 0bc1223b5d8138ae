"""The word vocabulary of a run, and Word2Vec vectors on it."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from kdmatch.text.spelling import Spelling, is_spelled
from kdmatch.text.word2vec import skip_gram
from kdmatch.text.wordpiece import SPECIAL_TOKENS, WordPieceEncoder
from kdmatch.text.words import PADDING, UNKNOWN, WordEncoder, split_chunks

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_CHUNK_TEXTS = 4096
_KNOWN, _OFFERED = 200_000, 50_000


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Frequencies of the words of `texts`, Chinese segmented by jieba's dictionary.

    Args:
        texts: iterable of str, streamed.

    Returns:
        Counter of folded words.
    """
    import rjieba

    counts: Counter[str] = Counter()
    for batch in _batches(texts):
        for chunk in split_chunks(tf.constant(batch)).flat_values.numpy():
            word = chunk.decode()
            if _HAN.search(word):
                counts.update(rjieba.cut(word, False))
            else:
                counts[word] += 1
    return counts


def build_vocabulary(counts: Counter[str], size: int, min_count: int = 2) -> list[str]:
    """The vocabulary of a `WordEncoder`: padding, unknown, characters, words.

    Every character that a kept word holds is there alone too, so that maximum
    matching always has a way on.

    Args:
        counts: Counter of words.
        size: int. Entries at most.
        min_count: int. Rarer words and characters are left out.

    >>> build_vocabulary(Counter({"led": 5, "light": 1, "a": 2}), size=10)[2:]
    ['l', 'd', 'e', 'a', 'led']
    """
    characters: Counter[str] = Counter()
    for word, n in counts.items():
        for character in word:
            characters[character] += n
    kept = {c for c, n in characters.most_common(size // 2) if n >= min_count and c != UNKNOWN}
    words = [
        word
        for word, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if n >= min_count and len(word) > 1 and kept.issuperset(word)
    ]
    ordered = sorted(kept, key=lambda c: (-characters[c], c))
    return [PADDING, UNKNOWN, *ordered, *words[: max(0, size - 2 - len(ordered))]]


def learn_spelling(
    counts: Counter[str], of_queries: Counter[str], dictionary: Iterable[str] = ()
) -> Spelling:
    """The spelling of documents: their words are right, the frequent ones are offered.

    Args:
        counts: Counter of the words of all texts.
        of_queries: Counter of those of the queries among them.
        dictionary: iterable of str. Words that are right though no document has them.

    >>> counts = Counter({"light": 4, "ligth": 1, "panel": 1, "lights": 2})
    >>> spelling = learn_spelling(counts, Counter({"ligth": 1, "light": 1}), ["sight"])
    >>> list(spelling.known), spelling.words
    (['light', 'lights', 'panel', 'sight'], ['light', 'lights'])
    """
    found = {word: n for word, n in (counts - of_queries).items() if is_spelled(word)}
    ordered = sorted(found, key=lambda word: (-found[word], word))
    known = dict.fromkeys(ordered[:_KNOWN])
    known |= dict.fromkeys(word for word in dictionary if word not in known)
    offered = min(_OFFERED, sum(n > 1 for n in found.values()))
    # Of the rarest, those need to be known that would be taken for others.
    corrects = Spelling(list(known), offered)
    rest = (word for word in ordered[_KNOWN:] if word not in known)
    known |= dict.fromkeys(word for word in rest if corrects.correct(word) != word)
    return Spelling(list(known), offered)


def build_wordpiece_vocabulary(
    counts: Counter[str], size: int = 8000, min_count: int = 2
) -> list[str]:
    """A WordPiece vocabulary of whole words, and of characters to spell the others with.

    The trainer of the `tokenizers` library breaks ties by the order of a hash
    table, so two runs would not agree; this one is a function of the counts.

    Args:
        counts: Counter of words, from `count_words`.
        size: int. Tokens at most, if the characters leave room.
        min_count: int. Rarer words and characters are left out.

    >>> build_wordpiece_vocabulary(Counter({"led": 3, "d": 1}), size=12)[5:]
    ['d', 'e', 'l', '##d', '##e', '##l', 'led']
    """
    words: Counter[str] = Counter()
    for word, n in counts.items():
        words[_without_accents(word)] += n
    characters: Counter[str] = Counter()
    for word, n in words.items():
        for character in word:
            characters[character] += n
    kept = sorted(c for c, n in characters.items() if n >= min_count and c != UNKNOWN)
    # BERT splits at every Chinese character, so none goes on within a word.
    alone = [*SPECIAL_TOKENS, *kept, *(f"##{c}" for c in kept if not _HAN.match(c))]
    whole = [
        word
        for word, n in sorted(words.items(), key=lambda item: (-item[1], item[0]))
        # Nor is a longer Chinese word ever met.
        if n >= min_count and len(word) > 1 and not _HAN.search(word)
    ]
    return [*alone, *whole[: max(0, size - len(alone))]]


def _without_accents(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word)
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def train_word2vec(
    encoder: WordEncoder | WordPieceEncoder,
    texts: Iterable[str],
    dimension: int = 128,
    epochs: int = 5,
    window: int = 5,
    seed: int = 0,
    workers: int = 1,
) -> np.ndarray:
    """Skip-gram vectors for the encoder's own segmentation of `texts`.

    Args:
        encoder: WordEncoder or WordPieceEncoder. Its ids are the words.
        texts: iterable of str; read once, kept as id lists.
        dimension: int. Length of a vector.
        epochs, window, seed, workers: as `skip_gram`.

    Returns:
        float32 `(len(encoder.vocabulary), dimension)`; row 0 and the rows of
        words that never occur are small random values.
    """
    names = [str(i) for i in range(len(encoder.vocabulary))]  # each once, however often it occurs
    sentences = [
        [names[i] for i in row]
        for batch in _batches(texts)
        for row in encoder.tokenize(tf.constant(batch)).to_list()
        if len(row) > 1
    ]
    generator = np.random.default_rng(seed)
    vectors = generator.normal(0, 0.05, (len(encoder.vocabulary), dimension)).astype(np.float32)
    trained = skip_gram(sentences, dimension, epochs, window, seed, workers=workers)
    if trained is not None:
        vectors[[int(word) for word in trained.index_to_key]] = trained.vectors
    return vectors


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, _CHUNK_TEXTS)):
        yield batch
