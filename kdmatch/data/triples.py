"""(query, positive, negative) triples out of graded labels."""

import numpy as np


def build_triples(
    label: np.ndarray, query: np.ndarray, per_query: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of positives and negatives, of one query with unlike labels.

    Args:
        label: float `(n,)`; NaN rows take no part.
        query: `(n,)`, of any kind that sorts. Query of each row.
        per_query: int. Triples of a query at most, drawn evenly from all.
        seed: int.

    Returns:
        positive rows and negative rows, int `(t,)` each.

    Raises:
        ValueError: if there are not as many labels as queries.

    >>> positive, negative = build_triples(np.array([2.0, 1.0, 0.0]), np.array([4, 4, 9]), 5)
    >>> positive.tolist(), negative.tolist()
    ([0], [1])
    """
    label = np.asarray(label, np.float64)
    query = np.unique(np.asarray(query), return_inverse=True)[1]
    if label.shape != query.shape:
        raise ValueError(f"label has shape {label.shape}, query {query.shape}; give one of each")
    generator = np.random.default_rng(seed)
    order = np.argsort(query, kind="stable")
    bounds = np.flatnonzero(np.diff(query[order])) + 1
    positives, negatives = [], []
    for rows in np.split(order, bounds):
        rows = rows[~np.isnan(label[rows])]
        rows = rows[np.argsort(label[rows], kind="stable")]
        below = np.searchsorted(label[rows], label[rows])  # rows of the query with a lower label
        ends = np.cumsum(below)
        total = int(below.sum())
        # Triple number t is of the row whose share of the numbers holds t.
        if total > per_query:
            kept = np.sort(generator.choice(total, per_query, replace=False, shuffle=False))
        else:
            kept = np.arange(total)
        first = np.searchsorted(ends, kept, side="right")
        positives.append(rows[first])
        negatives.append(rows[kept - (ends - below)[first]])
    empty = [np.zeros(0, dtype=np.int64)]
    return np.concatenate(positives or empty), np.concatenate(negatives or empty)
