"""Skip-gram vectors of any segmentation; needs no TensorFlow."""

from collections import Counter
from collections.abc import Iterable
from typing import Any


def skip_gram(
    sentences: Iterable[list[str]],
    dimension: int,
    epochs: int,
    window: int = 5,
    seed: int = 0,
    min_count: int = 1,
    workers: int = 1,
) -> Any:
    """gensim `KeyedVectors` trained by skip-gram with negative sampling.

    None where there is nothing to learn: no word occurs `min_count` times.

    Args:
        sentences: lists of words; sentences of one word teach nothing.
        dimension: int. Length of a vector.
        epochs, window, seed, min_count, workers: as gensim's `Word2Vec`; more
            than one worker is faster and no longer repeatable.

    Reference:
        Mikolov et al., "Distributed representations of words and phrases and
        their compositionality", 2013.
    """
    from gensim.models import Word2Vec

    kept = [words for words in sentences if len(words) > 1]
    if not kept or (min_count > 1 and _commonest(kept) < min_count):
        return None
    return Word2Vec(
        kept,
        vector_size=dimension,
        window=window,
        min_count=min_count,
        sg=1,
        negative=8,
        sample=1e-3,
        epochs=epochs,
        seed=seed,
        workers=workers,
    ).wv


def _commonest(sentences: list[list[str]]) -> int:
    return max(Counter(word for words in sentences for word in words).values())
