"""How near each query word's nearest document word is: by spelling and by word vectors."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdmatch.teachers.sides import Level
from kdmatch.teachers.spelling import pair_matrix
from kdmatch.text.letters import letter_pairs

SPELLING_NAMES = ("fuzzy_mean", "fuzzy_min", "fuzzy_cover_idf", "fuzzy_missing_mean")
EMBEDDING_NAMES = (
    "vector_mean", "vector_idf_mean", "vector_best_mean", "vector_best_idf", "vector_best_min",
    "vector_missing", "vector_head", "vector_heads",
)  # fmt: skip

_CLOSE = 0.5


class NearestSpelling:
    """Likeness in spelling of the words of a block."""

    def __init__(self, words: Sequence[str]) -> None:
        self._pairs = pair_matrix(words, {}, grow=True)
        self._sizes = np.array([len(letter_pairs(word)) for word in words] or [1], np.float32)

    def best(self, query: np.ndarray, document: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """Likeness of each query word to the nearest document word, 1 where it stands there."""
        result = hit.astype(float)
        row, column = np.nonzero((query >= 0) & ~hit)
        if not len(row):
            return result
        left, left_index = np.unique(query[row, column], return_inverse=True)
        right, right_index = np.unique(np.maximum(document, 0), return_inverse=True)
        right_index = right_index.reshape(document.shape)
        common = (self._pairs[left] @ self._pairs[right].T).toarray()
        dice = 2 * common / (self._sizes[left][:, None] + self._sizes[right][None, :])
        candidates = dice[left_index[:, None], right_index[row]]
        result[row, column] = np.where(document[row] >= 0, candidates, 0).max(1)
        return result


class NearestVectors:
    """Cosines of word vectors; a word equal on both sides counts 1 even without a vector."""

    def __init__(self, word: Level, vectors: np.ndarray, row: Mapping[str, int]) -> None:
        rows = np.array([row.get(token, -1) for token in word.tokens] + [-1])
        self._vectors = np.where(rows[:, None] >= 0, vectors[rows], np.float32(0))
        self._idf = np.append(word.idf[: len(word.tokens)], 0.0)

    def features(
        self, query: np.ndarray, document: np.ndarray, idf: np.ndarray, hit: np.ndarray,
        head: np.ndarray, doc_head: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        a, b = self._vectors[np.maximum(query, -1)], self._vectors[np.maximum(document, -1)]
        valid = query >= 0
        cosine = a @ b.transpose(0, 2, 1)
        best = np.where(document[:, None, :] >= 0, cosine, -1).max(2)
        best = np.where(valid, np.maximum(best, hit), 0)
        length = np.maximum(valid.sum(1), 1)
        missing = valid & ~hit
        rows = np.arange(len(query))
        q_head, d_head = np.clip(head, 0, a.shape[1] - 1), np.clip(doc_head, 0, b.shape[1] - 1)
        doc_idf = self._idf[np.maximum(document, -1)]
        return np.stack(
            [
                _cosine(a.sum(1), b.sum(1)),
                _cosine((a * idf[:, :, None]).sum(1), (b * doc_idf[:, :, None]).sum(1)),
                best.sum(1) / length,
                (best * idf).sum(1) / np.maximum(idf.sum(1), 1e-9),
                np.where(valid, best, 2).min(1),
                (best * missing).sum(1) / np.maximum(missing.sum(1), 1),
                best[rows, q_head],
                cosine[rows, q_head, d_head],
            ],
            1,
        )


def spelling_features(
    fuzzy: np.ndarray, valid: np.ndarray, idf: np.ndarray, hit: np.ndarray
) -> np.ndarray:
    """`SPELLING_NAMES` of each pair, float `(pairs, 4)`.

    Args:
        fuzzy: float `(pairs, words)`. Likeness of each query word's nearest document word.
        valid, hit: bool, of the same shape. A word is there; it stands in the document.
        idf: float, of the same shape.
    """
    length = np.maximum(valid.sum(1), 1)
    missing = valid & ~hit
    return np.stack(
        [
            (fuzzy * valid).sum(1) / length,
            np.where(valid.any(1), np.where(valid, fuzzy, 2.0).min(1), 0),
            (idf * (fuzzy >= _CLOSE)).sum(1) / np.maximum(idf.sum(1), 1e-9),
            (fuzzy * missing).sum(1) / np.maximum(missing.sum(1), 1),
        ],
        1,
    )


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return (a * b).sum(1) / np.maximum(norm, 1e-9)
