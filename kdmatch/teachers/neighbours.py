"""What the labels of near training pairs say of a pair: features of the GBDT teacher."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdmatch.data.splits import query_key, query_position
from kdmatch.files import read_arrays, write_arrays
from kdmatch.teachers.sentences import Encode

BANDWIDTH = 0.05  # of cosines
MOST_QUERIES = 50_000  # that a pair's query is compared with
_COSINES = 2**25  # held at a time
NEIGHBOUR_NAMES = [
    f"near_{by}_{told}" for by in ("query", "pair", "both") for told in ("cosine", "label")
]


class NeighbourFeatures:
    """Labels of the training rows that are nearest, a kernel regression on vectors of the texts.

    A row `i` of another query is as near as its query is, `c(q, qᵢ)`, as both its texts are in the
    mean, `(c(q, qᵢ) + c(d, dᵢ)) / 2`, or as the farther of them is, `min(c(q, qᵢ), c(d, dᵢ))`,
    with `c` the cosine. For each of these the nearest row's and the mean label of all, weighed by
    `exp(near / BANDWIDTH)`, less the mean label of all training rows (Nadaraya, "On estimating
    regression", 1964; Watson, "Smooth regression analysis", 1964).

    Rows of the query's own fold never count, its own rows among them: had each query the labels of
    all others, a label would show in what the others are told.

    Args:
        keys: sequence of str. `query_key` of each query, each once.
        fold: int `(len(keys),)`. The fold that it is in.
        queries: float `(len(keys), dimension)`. Its vector, of length 1.
        documents: float `(documents, dimension)`. Vectors of the documents.
        query, document: int `(rows,)`. Of each labelled row, those of one query together.
        label: float `(rows,)`. Less their mean.
        weight: float `(rows,)`. What each counts.
        most: int. Rows that are compared with a pair: those of the nearest queries.

    Attributes:
        names: list of str, `NEIGHBOUR_NAMES`.
    """

    names = NEIGHBOUR_NAMES

    def __init__(
        self,
        keys: Sequence[str],
        fold: np.ndarray,
        queries: np.ndarray,
        documents: np.ndarray,
        query: np.ndarray,
        document: np.ndarray,
        label: np.ndarray,
        weight: np.ndarray,
        most: int,
    ) -> None:
        self._row = {key: row for row, key in enumerate(keys)}
        self._fold = fold
        self._queries = queries.astype(np.float32)
        self._documents = documents.astype(np.float32)
        self._query, self._document = query, document
        self._label, self._weight = label.astype(np.float32), weight.astype(np.float32)
        self._sizes = np.bincount(query, minlength=len(keys))
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._most = most

    @classmethod
    def fit(
        cls,
        encode: Encode,
        queries: Sequence[str],
        documents: Sequence[str],
        label: np.ndarray,
        fold: np.ndarray,
        most: int,
        weight: np.ndarray | None = None,
    ) -> "NeighbourFeatures":
        """Keep labelled rows, of `MOST_QUERIES` queries at most, and the vectors of their texts.

        Args:
            encode: callable of texts that gives float `(len(texts), dimension)`, of length 1.
            queries, documents: sequences of str, `(rows,)`.
            label: float array `(rows,)`, NaN where there is none.
            fold: int array `(rows,)`. Each row's fold; rows of one query share it.
            most: int. See the class.
            weight: float array `(rows,)`, or None. What each row counts.
        """
        weight = np.ones(len(label)) if weight is None else weight
        counts = np.flatnonzero(~np.isnan(label) & (weight > 0)).tolist()
        labelled = [(query_key(queries[row]), row) for row in counts]
        first = dict(reversed(labelled))
        keys = sorted(first, key=lambda key: query_position(key, 0))[:MOST_QUERIES]
        place = {key: i for i, key in enumerate(keys)}
        kept = [row for key, row in labelled if key in place]
        seen = {text: i for i, text in enumerate(dict.fromkeys(documents[row] for row in kept))}
        query = np.array([place[key] for key, _ in labelled if key in place], np.int32)
        document = np.array([seen[documents[row]] for row in kept], np.int32)
        order = np.argsort(query, kind="stable")
        rows = np.array(kept, np.int64)[order]
        values, counted = label[rows], weight[rows]
        return cls(
            keys,
            np.array([fold[first[key]] for key in keys], np.int32),
            # Rounded as they are saved, so that features do not depend on that.
            encode([queries[first[key]] for key in keys]).astype(np.float16),
            encode(list(seen)).astype(np.float16),
            query[order],
            document[order],
            values - np.average(values, weights=counted) if len(values) else values,
            counted,
            most,
        )

    def transform(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        encode: Encode,
        without: int | None = None,
    ) -> np.ndarray:
        """Features of each pair, float32 `(pairs, len(names))`; NaN where no row can be compared.

        Args:
            queries, documents: sequences of str, `(pairs,)`.
            encode: as in `fit`.
            without: int or None. A fold whose rows do not count either: what a model that is not
                to know that fold's labels may see.
        """
        features = np.full((len(queries), len(self.names)), np.nan, np.float32)
        place = {text: i for i, text in enumerate(dict.fromkeys(queries))}
        seen = {text: i for i, text in enumerate(dict.fromkeys(documents))}
        query = np.array([place[text] for text in queries], np.int64)
        document = np.array([seen[text] for text in documents], np.int64)
        pairs = np.split(np.argsort(query, kind="stable"), np.cumsum(np.bincount(query))[:-1])
        asked, vectors, found = list(place), encode(list(place)), encode(list(seen))
        block = max(1, _COSINES // max(1, len(self._queries)))
        for start in range(0, len(asked), block):
            near = vectors[start : start + block] @ self._queries.T
            near[:, self._fold == without] = -np.inf
            for text, to, of_it in zip(asked[start:], near, pairs[start:], strict=False):
                own = self._row.get(query_key(text))
                if own is not None:
                    to[self._fold == self._fold[own]] = -np.inf
                rows, nearness = self._nearest(to)
                if not len(rows):
                    continue
                for part in np.array_split(of_it, -(-len(of_it) * len(rows) // _COSINES)):
                    features[part] = self._told(rows, nearness, found[document[part]])
        return features

    def _nearest(self, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the nearest queries, and how near each one's query is."""
        some = min(self._most, len(near))
        found = np.argpartition(-near, some - 1)[:some] if some else np.zeros(0, np.int64)
        found = found[np.argsort(-near[found], kind="stable")]
        found = found[np.isfinite(near[found])]
        before = np.cumsum(self._sizes[found]) - self._sizes[found]
        found = found[before < self._most]
        sizes = self._sizes[found]
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows, nearness = (
            np.repeat(self._starts[found], sizes) + inside,
            np.repeat(near[found], sizes),
        )
        return rows[: self._most], nearness[: self._most]

    def _told(self, rows: np.ndarray, near: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """What these rows tell of a query's documents, `(documents, len(names))`."""
        also = documents @ self._documents[self._document[rows]].T
        label = self._label[rows]
        told = []
        for nearness in (
            np.broadcast_to(near, also.shape),
            (near + also) / 2,
            np.minimum(near, also),
        ):
            nearest = nearness.max(axis=1, keepdims=True)
            weight = np.exp((nearness - nearest) / BANDWIDTH) * self._weight[rows]
            told += [nearest[:, 0], weight @ label / weight.sum(axis=1)]
        return np.stack(told, axis=1)

    def save(self, path: Path) -> None:
        """Write one `.npz` file of plain arrays, complete or not at all."""
        write_arrays(
            path,
            {"keys": list(self._row), "most": self._most},
            {
                "fold": self._fold,
                "queries": self._queries.astype(np.float16),
                "documents": self._documents.astype(np.float16),
                "query": self._query,
                "document": self._document,
                "label": self._label,
                "weight": self._weight,
            },
        )

    @classmethod
    def load(cls, path: Path) -> "NeighbourFeatures":
        """Read what `save` wrote."""
        header, arrays = read_arrays(path)
        return cls(header["keys"], **arrays, most=header["most"])
