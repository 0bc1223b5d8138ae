"""The texts of a block of pairs as flat arrays of token ids."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdmatch.teachers.analysis import Analysis

_MOST_QUERY_TOKENS = 64
_MOST_DOCUMENT_TOKENS = 256


class Side:
    """The distinct texts of one side of a block of pairs, tokens as flat arrays of ids.

    Args:
        texts: sequence of Analysis.
        distinct: bool. Keep each token's first place only.
    """

    def __init__(self, texts: Sequence[Analysis], distinct: bool) -> None:
        self.texts = texts
        self.squashed = [one.text.replace(" ", "") for one in texts]
        self.words = [tuple(dict.fromkeys(t.words)) if distinct else t.words for t in texts]
        self.units = [tuple(dict.fromkeys(t.units)) if distinct else t.units for t in texts]
        self.head_words = [t.words[t.head] if t.head >= 0 else "" for t in texts]
        self.heads = np.array(
            [w.index(h) if h else -1 for w, h in zip(self.words, self.head_words, strict=True)]
        )


class Level:
    """One token level of a block: ids, rarity, and padded rows of chosen texts."""

    def __init__(
        self,
        sides: Sequence[Sequence[tuple[str, ...]]],
        frequency: Mapping[str, int],
        documents: int,
        tokens: int,
    ) -> None:
        from kdmatch.teachers.features import inverse_frequency

        ids: dict[str, int] = {}
        self.flat, self.start, self.length = [], [], []
        for texts, most in zip(sides, (_MOST_QUERY_TOKENS, _MOST_DOCUMENT_TOKENS), strict=True):
            kept = [[ids.setdefault(t, len(ids)) for t in text[:most]] for text in texts]
            length = np.array([len(text) for text in kept])
            self.flat.append(np.array([i for text in kept for i in text] or [0], np.int32))
            self.start.append(np.cumsum(length) - length)
            self.length.append(length)
        self.tokens = list(ids)
        self.known = np.array([frequency.get(t, 0) for t in ids] or [0], np.int64)
        self.idf = inverse_frequency(self.known, documents)
        self.average = tokens / max(documents, 1)
        self.whole = np.array([len(text) for text in sides[1]], float)

    def padded(self, side: int, rows: np.ndarray) -> np.ndarray:
        length = self.length[side][rows]
        place = np.arange(max(1, int(length.max(initial=0))))
        index = np.minimum(self.start[side][rows][:, None] + place, len(self.flat[side]) - 1)
        return np.where(place < length[:, None], self.flat[side][index], -1 - side)

    def rarity(self, ids: np.ndarray) -> np.ndarray:
        return np.where(ids >= 0, self.idf[np.maximum(ids, 0)], 0.0)
