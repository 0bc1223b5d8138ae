"""Features of pairs of analysed texts: overlap at two levels, spelling, numbers, heads, vectors."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from kdmatch.teachers.nearest import (
    EMBEDDING_NAMES,
    SPELLING_NAMES,
    NearestSpelling,
    NearestVectors,
    spelling_features,
)
from kdmatch.teachers.overlap import OVERLAP_NAMES, overlap
from kdmatch.teachers.sides import Level, Side

if TYPE_CHECKING:
    from kdmatch.teachers.features import Collection

_MOST_CELLS = 1_500_000
_MOST_PAIRS = 1024

_HEAD_NAMES = ("head_hit", "head_is_head", "head_distance", "doc_head_asked", "head_fuzzy")
_TEXT_NAMES = (
    "contains_query", "starts_with_query", "contains_squashed", "squashed_cover_idf", "substring",
    "numbers", "numbers_matched", "measures_matched", "numbers_missing", "numbers_conflicting",
    "doc_numbers", "query_words", "query_chars", "query_idf_mean", "query_idf_max",
    "query_idf_min", "query_idf_sum", "query_unknown", "query_corrected", "doc_words", "doc_chars",
    "doc_idf_mean", "words_ratio", "chars_ratio",
)  # fmt: skip
PAIR_NAMES = (*SPELLING_NAMES, *_HEAD_NAMES, *_TEXT_NAMES)


def pair_features(
    queries: Side,
    documents: Side,
    query_row: np.ndarray,
    document_row: np.ndarray,
    corrected: np.ndarray,
    collection: "Collection",
    vectors: np.ndarray | None,
    vector_row: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Overlap features (words, then units), and all features named in this module.

    Args:
        queries, documents: Side. Distinct texts.
        query_row, document_row: int arrays `(pairs,)`. Texts of each pair.
        corrected: float array. Corrected words of each query.
        collection: Collection. Rarity and lengths.
        vectors, vector_row: normalised word vectors and the row of each word, or None.
    """
    n = collection.documents
    word = Level((queries.words, documents.words), collection.word_frequency, n, collection.words)
    unit = Level((queries.units, documents.units), collection.unit_frequency, n, collection.units)
    names = len(PAIR_NAMES) + (len(EMBEDDING_NAMES) if vectors is not None else 0)
    matched = np.zeros((len(query_row), 2 * len(OVERLAP_NAMES)))
    other = np.zeros((len(query_row), names))
    letters = NearestSpelling(word.tokens)
    lookup = NearestVectors(word, vectors, vector_row) if vectors is not None else None

    width = [np.maximum(word.length[s], unit.length[s]) for s in (0, 1)]
    cells = width[0][query_row] * width[1][document_row]
    order = np.argsort(cells, kind="stable")
    start = 0
    while start < len(order):
        end = min(start + _MOST_PAIRS, len(order))
        while (
            end - start > 1
            and _size(width, query_row, document_row, order[start:end]) > _MOST_CELLS
        ):
            end = start + (end - start) // 2
        rows = order[start:end]
        q, d = query_row[rows], document_row[rows]
        done = []
        for level in (word, unit):
            a, b = level.padded(0, q), level.padded(1, d)
            a_idf, b_idf = level.rarity(a), level.rarity(b)
            done.append(overlap(a, b, a_idf, b_idf, level.whole[d], level.average))
        matched[rows] = np.concatenate([one.values for one in done], 1)
        a, b = word.padded(0, q), word.padded(1, d)
        idf = word.rarity(a)
        fuzzy = letters.best(a, b, done[0].hit)
        parts = [
            spelling_features(fuzzy, a >= 0, idf, done[0].hit),
            _head_features(queries, documents, q, d, done[0].hit, done[0].doc_hit, fuzzy, a, b),
            _text_features(queries, documents, q, d, word, corrected),
        ]
        if lookup is not None:
            parts.append(
                lookup.features(a, b, idf, done[0].hit, queries.heads[q], documents.heads[d])
            )
        other[rows] = np.concatenate(parts, 1)
        start = end
    return matched, other


def _size(
    width: list[np.ndarray], query: np.ndarray, document: np.ndarray, rows: np.ndarray
) -> int:
    return len(rows) * int(width[0][query[rows]].max()) * int(width[1][document[rows]].max())


def _head_features(
    queries: Side, documents: Side, q: np.ndarray, d: np.ndarray, hit: np.ndarray,
    doc_hit: np.ndarray, fuzzy: np.ndarray, a: np.ndarray, b: np.ndarray,
) -> np.ndarray:  # fmt: skip
    rows = np.arange(len(q))
    head = np.clip(queries.heads[q], 0, a.shape[1] - 1)
    doc_head = np.clip(documents.heads[d], 0, b.shape[1] - 1)
    asked = a[rows, head]
    head_hit = hit[rows, head] & (queries.heads[q] >= 0)
    reverse = b.shape[1] - 1 - (b == asked[:, None])[:, ::-1].argmax(1)
    return np.stack(
        [
            head_hit,
            head_hit & (asked == b[rows, doc_head]),
            np.where(head_hit, reverse - doc_head, -99),
            doc_hit[rows, doc_head] & (documents.heads[d] >= 0),
            fuzzy[rows, head],
        ],
        1,
    ).astype(float)


def _substring(query: str, document: str) -> int:
    """Length of the longest run of characters that both have."""
    best = 0
    for start in range(len(query)):
        while start + best < len(query) and query[start : start + best + 1] in document:
            best += 1
    return best


def _text_features(
    queries: Side,
    documents: Side,
    q: np.ndarray,
    d: np.ndarray,
    word: Level,
    corrected: np.ndarray,
) -> np.ndarray:
    values = np.zeros((len(q), len(_TEXT_NAMES)))
    for row, (i, j) in enumerate(zip(q.tolist(), d.tolist(), strict=True)):
        asked, found = queries.texts[i], documents.texts[j]
        squashed, place = documents.squashed[j], word.start[0][i]
        ids = word.flat[0][place : place + word.length[0][i]]
        idf = word.idf[ids]
        contained = [w in squashed for w in queries.words[i][: len(ids)]]
        total = float(idf.sum())
        matched = missing = conflicting = exact = 0
        if asked.measures:
            numbers = {number for number, _ in found.measures}
            units = {unit for _, unit in found.measures if unit}
            for number, unit in asked.measures:
                matched += number in numbers
                exact += (number, unit) in found.measures
                missing += number not in numbers
                conflicting += number not in numbers and unit in units
        doc_place = word.start[1][j]
        doc_idf = word.idf[word.flat[1][doc_place : doc_place + word.length[1][j]]]
        query_chars = max(len(asked.text), 1)
        values[row] = (
            asked.text in found.text,
            found.text.startswith(asked.text),
            queries.squashed[i] in squashed,
            float(idf @ contained) / total if total else 0.0,
            _substring(asked.text[:128], found.text[:4096]) / query_chars,
            len(asked.measures),
            matched,
            exact,
            missing,
            conflicting,
            len(found.measures),
            len(ids),
            query_chars,
            idf.mean() if len(ids) else 0.0,
            idf.max(initial=0.0),
            idf.min(initial=99.0),
            total,
            (word.known[ids] == 0).sum(),
            corrected[i],
            len(found.words),
            len(found.text),
            doc_idf.mean() if len(doc_idf) else 0.0,
            len(ids) / max(len(found.words), 1),
            query_chars / max(len(found.text), 1),
        )
    return values
