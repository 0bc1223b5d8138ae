"""Features of pairs of analysed texts: overlap at two levels, spelling, numbers, heads, vectors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kdmatch.teachers.analysis import Analysis
from kdmatch.teachers.overlap import OVERLAP_NAMES, overlap
from kdmatch.teachers.spelling import pair_matrix
from kdmatch.text.letters import letter_pairs

if TYPE_CHECKING:
    from kdmatch.teachers.features import Collection

_MOST_QUERY_TOKENS = 64
_MOST_DOCUMENT_TOKENS = 256
_MOST_CELLS = 1_500_000
_MOST_PAIRS = 1024
_CLOSE = 0.5

_FUZZY_NAMES = ("fuzzy_mean", "fuzzy_min", "fuzzy_cover_idf", "fuzzy_missing_mean")
_HEAD_NAMES = ("head_hit", "head_is_head", "head_distance", "doc_head_asked", "head_fuzzy")
_TEXT_NAMES = (
    "contains_query", "starts_with_query", "contains_squashed", "squashed_cover_idf", "substring",
    "numbers", "numbers_matched", "measures_matched", "numbers_missing", "numbers_conflicting",
    "doc_numbers", "query_words", "query_chars", "query_idf_mean", "query_idf_max",
    "query_idf_min", "query_idf_sum", "query_unknown", "query_corrected", "doc_words", "doc_chars",
    "doc_idf_mean", "words_ratio", "chars_ratio",
)  # fmt: skip
PAIR_NAMES = (*_FUZZY_NAMES, *_HEAD_NAMES, *_TEXT_NAMES)
EMBEDDING_NAMES = (
    "vector_mean", "vector_idf_mean", "vector_best_mean", "vector_best_idf", "vector_best_min",
    "vector_missing", "vector_head", "vector_heads",
)  # fmt: skip


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


class _Level:
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
    word = _Level((queries.words, documents.words), collection.word_frequency, n, collection.words)
    unit = _Level((queries.units, documents.units), collection.unit_frequency, n, collection.units)
    names = len(PAIR_NAMES) + (len(EMBEDDING_NAMES) if vectors is not None else 0)
    matched = np.zeros((len(query_row), 2 * len(OVERLAP_NAMES)))
    other = np.zeros((len(query_row), names))
    letters = _Letters(word.tokens)
    lookup = _Vectors(word, vectors, vector_row) if vectors is not None else None

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
            _fuzzy_features(fuzzy, a >= 0, idf, done[0].hit),
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


def _fuzzy_features(
    fuzzy: np.ndarray, valid: np.ndarray, idf: np.ndarray, hit: np.ndarray
) -> np.ndarray:
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
    word: _Level,
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


class _Letters:
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


class _Vectors:
    """Cosines of word vectors; a word equal on both sides counts 1 even without a vector."""

    def __init__(self, word: _Level, vectors: np.ndarray, row: Mapping[str, int]) -> None:
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


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return (a * b).sum(1) / np.maximum(norm, 1e-9)
