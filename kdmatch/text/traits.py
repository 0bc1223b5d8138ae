"""What a token is like, told to matchers beside its id: its stem and how rare it is."""

from collections.abc import Sequence

import numpy as np

from kdmatch.data.ids import PairIds
from kdmatch.text.stem import stem


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
            0
            if token == "\ufffd" or (token.startswith("[") and token.endswith("]"))
            else first.setdefault(stem(token), number)
            for number, token in enumerate(vocabulary)
        ],
        np.int32,
    )


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
