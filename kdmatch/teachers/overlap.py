"""Match features of many (query, document) pairs at once, from padded arrays of token ids."""

from dataclasses import dataclass

import numpy as np

K1, B = 1.2, 0.75

OVERLAP_NAMES = (
    "bm25", "bm25_share", "cover", "cover_idf", "doc_cover", "doc_cover_idf", "jaccard", "cosine",
    "matched", "missing", "matched_idf_max", "matched_idf_mean", "matched_idf_min",
    "missing_idf_max", "missing_idf_mean", "first_position", "last_position", "span", "density",
    "bigrams", "ordered", "run", "subsequence", "first_word", "last_word", "doc_first", "doc_last",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overlap:
    """What `overlap` returns.

    Attributes:
        values: float64 array `(pairs, len(OVERLAP_NAMES))`.
        hit: bool array `(pairs, query tokens)`. The token stands in the document.
        doc_hit: bool array `(pairs, document tokens)`. The token stands in the query.
    """

    values: np.ndarray
    hit: np.ndarray
    doc_hit: np.ndarray


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return top / np.where(bottom > 0, bottom, 1)


def _longest(equal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longest common run and longest common subsequence, in tokens."""
    pairs, queries, documents = equal.shape
    run = np.zeros((pairs, documents + 1), np.int16)
    common = np.zeros((pairs, documents + 1), np.int16)
    best = np.zeros(pairs, np.int16)
    for i in range(queries):
        row = equal[:, i]
        run[:, 1:] = np.where(row, run[:, :-1] + 1, 0)
        np.maximum(best, run.max(1), out=best)
        stepped = np.maximum(common[:, 1:], common[:, :-1] + row)
        np.maximum.accumulate(stepped, axis=1, out=common[:, 1:])
    return best.astype(float), common[:, -1].astype(float)


def overlap(
    query: np.ndarray,
    document: np.ndarray,
    query_idf: np.ndarray,
    document_idf: np.ndarray,
    document_length: np.ndarray,
    average_length: float,
) -> Overlap:
    """BM25, coverage, position and order features of `pairs` rows.

    Args:
        query: int array `(pairs, a)`. Distinct tokens of the query in order, padded with -1.
        document: int array `(pairs, b)`. Tokens of the document, padded with -2.
        query_idf, document_idf: float arrays of the same shapes, 0 at padding.
        document_length: float array `(pairs,)`. Tokens of the whole document.
        average_length: float. Mean of that over the collection.
    """
    equal = query[:, :, None] == document[:, None, :]
    valid, doc_valid = query >= 0, document >= 0
    count = equal.sum(2, dtype=np.int32)
    hit = count > 0
    doc_hit = equal.any(1)
    length = valid.sum(1).astype(float)
    doc_length = doc_valid.sum(1).astype(float)
    matched = hit.sum(1).astype(float)
    missing = valid & ~hit

    norm = K1 * (1 - B + B * document_length / max(average_length, 1e-9))
    bm25 = (query_idf * count * (K1 + 1) / (count + norm[:, None])).sum(1)
    idf_sum, hit_idf = query_idf.sum(1), (query_idf * hit).sum(1)
    miss_idf = (query_idf * missing).sum(1)
    cosine = (query_idf**2 * count).sum(1) / np.sqrt(
        np.maximum((query_idf**2).sum(1) * (document_idf**2).sum(1), 1e-12)
    )

    place = equal.argmax(2)
    width = document.shape[1]
    first = np.where(hit, place, width).min(1)
    last = np.where(hit, place, -1).max(1)
    some = matched > 0
    span = np.where(some, last - first + 1, 0)
    both = hit[:, :-1] & hit[:, 1:]
    together = (equal[:, :-1, :-1] & equal[:, 1:, 1:]).any(2).sum(1) if width > 1 else 0 * length
    ordered = (both & (place[:, 1:] > place[:, :-1])).sum(1)
    run, subsequence = _longest(equal)
    rows = np.arange(len(query))
    final, doc_final = np.maximum(length - 1, 0).astype(int), np.maximum(doc_length - 1, 0)

    columns = (
        bm25,
        _ratio(bm25, idf_sum * (K1 + 1)),
        _ratio(matched, length),
        _ratio(hit_idf, idf_sum),
        _ratio(doc_hit.sum(1), doc_length),
        _ratio((document_idf * doc_hit).sum(1), document_idf.sum(1)),
        _ratio(matched, length + doc_length - doc_hit.sum(1)),
        cosine,
        matched,
        missing.sum(1),
        (query_idf * hit).max(1),
        _ratio(hit_idf, matched),
        np.where(some, np.where(hit, query_idf, np.inf).min(1, initial=1e9), 0),
        (query_idf * missing).max(1),
        _ratio(miss_idf, missing.sum(1)),
        np.where(some, _ratio(first, doc_length), 1),
        np.where(some, _ratio(last + 1, doc_length), 0),
        span,
        _ratio(matched, span),
        _ratio(together, length - 1),
        _ratio(ordered, both.sum(1)),
        _ratio(run, length),
        _ratio(subsequence, length),
        hit[:, 0],
        hit[rows, final],
        doc_hit[:, 0],
        doc_hit[rows, doc_final.astype(int)],
    )
    return Overlap(np.stack([np.asarray(c, float) for c in columns], 1), hit, doc_hit)
