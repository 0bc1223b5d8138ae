"""The validation metric that a training keeps its best weights by."""

from collections.abc import Callable

import numpy as np

from kdmatch.data.schema import is_positive
from kdmatch.errors import UserError
from kdmatch.evaluation.metrics import auc, gauc, mean_average_precision, mrr, ndcg, pair_accuracy
from kdmatch.evaluation.ranks import Floats


def validation_metric(
    name: str, label: Floats, query: Floats, threshold: float
) -> Callable[[np.ndarray], float]:
    """A function of the scores of fixed rows.

    Args:
        name: str. auc, gauc, ndcg@10, mrr, map or pair_accuracy.
        label: float array `(rows,)`; rows with NaN are left out.
        query: array `(rows,)`. Query of each row.
        threshold: float. Labels from here on are positives.

    Returns:
        callable from scores `(rows,)` to the metric.

    Raises:
        UserError: if these rows leave the metric undefined.

    >>> label, query = np.array([1.0, np.nan, 0.0]), np.array([0, 0, 0])
    >>> validation_metric("auc", label, query, 1)(np.array([0.2, 0.9, 0.1]))
    1.0
    """
    known = ~np.isnan(label)
    label, query = label[known], query[known]
    positive = is_positive(label, threshold).astype(np.float32)
    metrics: dict[str, Callable[[np.ndarray], float]] = {
        "auc": lambda scores: auc(positive, scores),
        "gauc": lambda scores: gauc(positive, scores, query),
        "ndcg@10": lambda scores: ndcg(label, scores, query),
        "mrr": lambda scores: mrr(positive, scores, query),
        "map": lambda scores: mean_average_precision(positive, scores, query),
        "pair_accuracy": lambda scores: pair_accuracy(label, scores, query),
    }
    metric = metrics[name]
    if np.isnan(metric(np.arange(len(label), dtype=float))):
        if name == "auc":
            raise UserError(
                f"auc is undefined on the validation rows: all are {_class_of(positive)} at "
                f"data.positive_threshold {threshold:g}; change it, or give valid both"
            )
        raise UserError(
            f"{name} is undefined on the validation rows: no query there has documents of unlike "
            "labels; choose the objective auc, or give valid such queries"
        )
    return lambda scores: metric(scores[known])


def _class_of(positive: np.ndarray) -> str:
    return "positive" if len(positive) and positive.all() else "negative"
