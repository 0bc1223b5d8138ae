"""Overlap of character n-grams, hashed, of many pairs at once."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

SIZES = (2, 3, 4)
BUCKETS = 1 << 20
GRAM_NAMES = tuple(
    f"gram{n}_{what}" for n in SIZES for what in ("cover", "cover_idf", "jaccard", "cosine")
)


def gram_rows(texts: Sequence[str], size: int) -> sparse.csr_matrix:
    """Texts as 0/1 rows over hashed n-grams of `size` characters; no gram crosses two texts.

    >>> gram_rows(["abc", "ab"], 2).getnnz(axis=1).tolist()
    [2, 1]
    """
    lengths = np.array([len(text) for text in texts])
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(joined, np.uint32).astype(np.uint64)
    row = np.repeat(np.arange(len(texts)), lengths)
    if len(codes) < size:
        return sparse.csr_matrix((len(texts), BUCKETS), dtype=np.float32)
    last = len(codes) - size + 1
    key = np.zeros(last, np.uint64)
    for offset in range(size):
        key = (key + codes[offset : offset + last]) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    inside = row[:last] == row[size - 1 :]
    bucket = (key >> np.uint64(44)).astype(np.int64)[inside]
    keys = np.sort(row[:last][inside] * BUCKETS + bucket)  # np.unique hashes, and is far slower
    unique = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
    starts = np.searchsorted(unique, np.arange(len(texts) + 1) * BUCKETS)
    data = np.ones(len(unique), np.float32)
    return sparse.csr_matrix((data, unique % BUCKETS, starts), (len(texts), BUCKETS))


def gram_features(
    queries: sparse.csr_matrix,
    documents: sparse.csr_matrix,
    query_row: np.ndarray,
    document_row: np.ndarray,
    idf: np.ndarray,
) -> np.ndarray:
    """Cover of the query, the same weighted by idf, Jaccard and cosine of idf vectors.

    Args:
        queries, documents: 0/1 rows of the distinct texts, from `gram_rows`.
        query_row, document_row: int arrays `(pairs,)`. Rows of each pair.
        idf: float array `(BUCKETS,)`, positive.

    Returns: float64 array `(pairs, 4)`.
    """
    sums = []
    for matrix in (queries, documents):
        parts = (idf[matrix.indices], matrix.indices, matrix.indptr)
        weighted = sparse.csr_matrix(parts, shape=matrix.shape)
        squares = weighted.multiply(weighted).sum(1).A1
        sums.append((weighted, matrix.getnnz(axis=1), weighted.sum(1).A1, squares))
    (a, a_count, a_sum, a_square), (b, b_count, _, b_square) = sums
    common = a[query_row].multiply(b[document_row]).tocsr()
    count = common.getnnz(axis=1)
    dot = common.sum(1).A1
    common.data = np.sqrt(common.data)
    shared = common.sum(1).A1
    union = a_count[query_row] + b_count[document_row] - count
    norm = np.sqrt(np.maximum(a_square[query_row] * b_square[document_row], 1e-12))
    return np.stack(
        [
            count / np.maximum(a_count[query_row], 1),
            shared / np.maximum(a_sum[query_row], 1e-9),
            count / np.maximum(union, 1),
            dot / norm,
        ],
        1,
    )
