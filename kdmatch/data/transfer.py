"""Unlabelled rows for distillation: documents near each training query, and some less near."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from kdmatch.data.language import detect_language
from kdmatch.errors import UserError

_QUERY_BLOCK = 256
_MOST_CELLS = 64_000_000
_DEEP_FACTOR = 20
_LANGUAGES = ("auto", "en", "zh")


def neighbours(
    queries: Sequence[str],
    documents: Sequence[str],
    *,
    per_query: int,
    exclude: set[tuple[int, int]] | None = None,
    language: str = "auto",
    seed: int = 0,
    deep_share: float = 0.25,
) -> tuple[np.ndarray, np.ndarray]:
    """Documents for each query to be scored by the teachers, without labels.

    Documents are ranked by the cosine of TF-IDF vectors over words and character n-grams. A query
    gets its nearest ones and, for `deep_share` of them, a seeded sample from the ranks behind, so
    that a student also sees easy negatives. A query that shares too little with the collection is
    filled up with documents drawn from all of it.

    Args:
        queries: sequence of str.
        documents: sequence of str. Equal texts count as one document, the first.
        per_query: int. Documents for each query; fewer where the collection has not that many.
        exclude: set of (query index, document index) not to return, such as labelled pairs.
        language: `"en"`: words and 3-grams within words; `"zh"`: characters and 2-grams;
            `"auto"`: by the script of the documents.
        seed: int. Of the deeper sample.
        deep_share: float in [0, 1]. Part of `per_query` that is sampled deeper.

    Returns:
        Two int64 arrays `(rows,)`: query index, ascending, and document index, nearest first and
        then the deeper ones. No pair stands in them twice.

    >>> q, d = neighbours(["red lamp"], ["blue sofa", "red lamp shade"], per_query=1, deep_share=0)
    >>> q.tolist(), d.tolist()
    ([0], [1])
    """
    if per_query < 1:
        raise UserError(f"per_query is {per_query}; ask for at least one document a query")
    if not 0 <= deep_share <= 1:
        raise UserError(f"deep_share is {deep_share}; it is a part of 1")
    if language not in _LANGUAGES:
        raise UserError(f"language {language!r} is not one of {', '.join(_LANGUAGES)}")
    first = {text: i for i, text in reversed(list(enumerate(documents)))}
    kept = np.array(sorted(first.values()), np.int64)
    if not len(queries) or not len(kept):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    column_of = {int(i): column for column, i in enumerate(kept)}
    barred: dict[int, set[int]] = {}
    for query, document in exclude or ():
        barred.setdefault(query, set()).add(column_of[first[documents[document]]])

    deep = round(per_query * deep_share)
    near = per_query - deep
    depth = near + _DEEP_FACTOR * deep
    most_barred = max(map(len, barred.values()), default=0)
    query_index, document_index = [], []
    ranked = _ranked(queries, [documents[i] for i in kept], depth + most_barred, language)
    for query, columns in enumerate(ranked):
        out = barred.get(query, set())
        columns = np.array([c for c in columns.tolist() if c not in out], np.int64)[:depth]
        random = np.random.default_rng((seed, query))
        behind = columns[near:]
        sampled = random.choice(behind, min(deep, len(behind)), replace=False)
        chosen = np.concatenate([columns[:near], sampled])
        chosen = np.append(chosen, _filler(chosen, out, len(kept), per_query, random))
        query_index.append(np.full(len(chosen), query))
        document_index.append(kept[chosen])
    return np.concatenate(query_index), np.concatenate(document_index)


def _filler(
    chosen: np.ndarray, out: set[int], documents: int, wanted: int, random: np.random.Generator
) -> np.ndarray:
    missing = min(wanted, documents - len(out)) - len(chosen)
    if missing <= 0:
        return np.zeros(0, np.int64)
    taken = out.union(chosen.tolist())
    drawn = (
        random.permutation(documents)
        if documents < 4 * (len(taken) + missing)
        else (random.choice(documents, len(taken) + missing, replace=False))
    )
    return np.array([c for c in drawn.tolist() if c not in taken][:missing], np.int64)


def _vectorizers(language: str, documents: Sequence[str]) -> list[tuple[TfidfVectorizer, float]]:
    if language == "auto":
        language = detect_language(documents)
    common = {
        "sublinear_tf": True,
        "dtype": np.float32,
        "max_df": 0.2 if len(documents) > 50 else 1.0,
    }
    if language == "zh":
        return [(TfidfVectorizer(analyzer="char", ngram_range=(1, 2), **common), 1.0)]
    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", **common)
    return [(words, 1.0), (TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), **common), 0.6)]


def _ranked(
    queries: Sequence[str], documents: Sequence[str], depth: int, language: str
) -> Iterator[np.ndarray]:
    """For each query the columns of its `depth` nearest documents that share anything with it."""
    asked, found = [], []
    for vectorizer, weight in _vectorizers(language, documents):
        try:
            found.append(vectorizer.fit_transform(documents) * weight)
        except ValueError:  # no document has a token; scikit-learn has no other way to say it
            continue
        asked.append(vectorizer.transform(queries) * weight)
    if not found:
        yield from (np.zeros(0, np.int64) for _ in queries)
        return
    a = sparse.hstack(asked, format="csr")
    b = sparse.hstack(found, format="csr").T.tocsr()
    step = max(1, min(_QUERY_BLOCK, _MOST_CELLS // len(documents)))
    for start in range(0, len(queries), step):
        scores = (a[start : start + step] @ b).tocsr()
        for row in range(scores.shape[0]):
            part = slice(scores.indptr[row], scores.indptr[row + 1])
            columns, values = scores.indices[part].astype(np.int64), scores.data[part]
            if len(values) > depth:
                threshold = np.partition(values, -depth)[-depth]
                top = values >= threshold
                columns, values = columns[top], values[top]
            yield columns[np.lexsort((columns, -values))[:depth]]
