"""Ranking metrics of one model: numpy in, one float out.

Every function takes arrays with one entry for each row. Rows whose label is
NaN are left out; a metric that no row or query defines is NaN. Ties in the
scores count by expectation, so no value depends on the order of the rows.
Each raises ValueError where lengths differ, a labelled row has no score (NaN),
or a label is neither 0 nor 1 that must be one of them.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdmatch.evaluation.per_query import Ranking
from kdmatch.evaluation.ranks import Floats, MidRanks, auc_of_ranks, spearman_of_ranks

_MOST_GRADES = 10


def auc(label01: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Area under the ROC curve: how often a positive row beats a negative one.

    `P(s⁺ > s⁻) + ½ P(s⁺ = s⁻)` over all pairs of a positive and a negative
    row, whatever their queries; a pair weighs the product of its weights.

    Args:
        label01: array `(rows,)` of 0 and 1, NaN where unlabelled.
        score: float array `(rows,)`.
        weight: float array `(rows,)` or None. What each row counts.

    Returns:
        float in [0, 1], NaN where a class is missing.

    Reference:
        Hanley and McNeil, "The meaning and use of the area under a receiver
        operating characteristic (ROC) curve", Radiology 1982.

    >>> auc([1, 0, 1, 0], [0.9, 0.5, 0.5, 0.1])   # (1 + 1 + ½ + 1) / 4
    0.875
    """
    label = np.asarray(label01, float)
    weights = np.ones_like(label) if weight is None else np.asarray(weight, float)
    kept, scores = _checked(label, score, weight=weights)
    column = weights[kept][:, None]
    return float(auc_of_ranks(_positive(label[kept]), MidRanks(scores)(column), column)[0])


def gauc(label01: ArrayLike, score: ArrayLike, query: ArrayLike) -> float:
    """AUC within each query that has both classes, averaged weighted by its rows.

    `Σ_q n_q · AUC_q / Σ_q n_q`: unlike `auc`, scores of different queries are
    never compared, so only the order within a result page counts.

    Args:
        label01: array `(rows,)` of 0 and 1, NaN where unlabelled.
        score: float array `(rows,)`.
        query: array `(rows,)`. Any ids that can be compared.

    Returns:
        float in [0, 1], NaN where no query has both classes.

    Reference:
        Zhu et al., "Optimized cost per click in Taobao display advertising",
        KDD 2017.

    >>> gauc([1, 0, 0, 1, 1], [3, 2, 1, 1, 2], ["a", "a", "b", "b", "c"])  # 1 and ½
    0.75
    """
    label, ranking = _ranked(label01, score, query)
    return float(ranking.auc(_positive(label)).mean()[0])


def ndcg(label: ArrayLike, score: ArrayLike, query: ArrayLike, k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `k`, averaged over queries.

    `DCG@k = Σ_{i ≤ k} (2^rel_i − 1) / log2(i + 1)` over the DCG of the best
    order. Labels are shifted so that the lowest in the data is 0; a query
    without any gain is skipped. Tied rows share the mean gain of their places.

    Args:
        label: float array `(rows,)`. Graded relevance, NaN where unlabelled.
        score: float array `(rows,)`.
        query: array `(rows,)`. Any ids that can be compared.
        k: int. How many places count.

    Returns:
        float in [0, 1], NaN where no query has a gain.

    Reference:
        Burges et al., "Learning to rank using gradient descent", ICML 2005.

    >>> round(ndcg([1, 2, 3], [3.0, 2.0, 1.0], ["a"] * 3), 4)  # (0 + .6309 + 1.5) / 3.6309
    0.5869
    """
    labels, ranking = _ranked(label, score, query)
    return float(ranking.ndcg(gains(labels), k).mean()[0])


def mrr(label01: ArrayLike, score: ArrayLike, query: ArrayLike) -> float:
    """Mean reciprocal rank of the first positive, over queries that have one.

    `mean_q 1 / rank_q`. Where rows tie, the expectation over their orders.

    Args:
        label01: array `(rows,)` of 0 and 1, NaN where unlabelled.
        score: float array `(rows,)`.
        query: array `(rows,)`. Any ids that can be compared.

    Returns:
        float in (0, 1], NaN where there is no positive.

    Reference:
        Voorhees, "The TREC-8 question answering track report", 1999.

    >>> mrr([0, 1, 1, 0], [2.0, 1.0, 5.0, 5.0], ["a", "a", "b", "b"])  # ½ and (1 + ½) / 2
    0.625
    """
    label, ranking = _ranked(label01, score, query)
    return float(ranking.reciprocal_rank(_positive(label)).mean()[0])


def mean_average_precision(label01: ArrayLike, score: ArrayLike, query: ArrayLike) -> float:
    """Mean over queries of the precision at each positive.

    `AP_q = 1/P_q · Σ_{i positive} precision@i`, over queries that have a
    positive. Where rows tie, the expectation over their orders.

    Args:
        label01: array `(rows,)` of 0 and 1, NaN where unlabelled.
        score: float array `(rows,)`.
        query: array `(rows,)`. Any ids that can be compared.

    Returns:
        float in (0, 1], NaN where there is no positive.

    Reference:
        Manning, Raghavan and Schütze, "Introduction to information
        retrieval", 2008, section 8.4.

    >>> mean_average_precision([1, 0, 1, 0], [4.0, 3.0, 2.0, 1.0], ["a"] * 4) * 6  # (1 + ⅔) / 2
    5.0
    """
    label, ranking = _ranked(label01, score, query)
    return float(ranking.average_precision(_positive(label)).mean()[0])


def pair_accuracy(label: ArrayLike, score: ArrayLike, query: ArrayLike) -> float:
    """Share of pairs of one query with different labels that stand in the right order.

    `Σ [s_i > s_j] + ½ [s_i = s_j]` over pairs of one query with
    `label_i > label_j`, divided by their number. Every pair counts once, so a
    long query counts more than a short one.

    Args:
        label: float array `(rows,)`. Graded relevance, NaN where unlabelled.
        score: float array `(rows,)`.
        query: array `(rows,)`. Any ids that can be compared.

    Returns:
        float in [0, 1], NaN where no pair differs.

    >>> pair_accuracy([3, 2, 1], [0.5, 0.9, 0.5], ["a"] * 3)  # wrong, tied, right
    0.5
    """
    labels, ranking = _ranked(label, score, query)
    return float(ranking.pair_accuracy(labels).mean()[0])


def spearman(score: ArrayLike, teacher: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Rank correlation with a teacher's scores: Pearson's of the mid-ranks.

    Args:
        score: float array `(rows,)`.
        teacher: float array `(rows,)`. NaN where the teacher scored nothing.
        weight: float array `(rows,)` or None. What each row counts.

    Returns:
        float in [-1, 1], NaN where one of the two is constant.

    Reference:
        Spearman, "The proof and measurement of association between two
        things", 1904.

    >>> spearman([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
    0.5
    """
    of_teacher = np.asarray(teacher, float)
    weights = np.ones_like(of_teacher) if weight is None else np.asarray(weight, float)
    kept, scores = _checked(of_teacher, score, weight=weights)
    column = weights[kept][:, None]
    rank, teacher_rank = (MidRanks(values)(column) for values in (scores, of_teacher[kept]))
    return float(spearman_of_ranks(rank, teacher_rank, column)[0])


def gains(label: Floats) -> Floats:
    """`2^rel − 1`, where the lowest label of the data has the relevance 0.

    Labels that span more than 10 are no grades: `2^rel` would count the highest alone, or
    overflow. Their gain is `rel`.
    """
    relevance = label - label.min(initial=np.inf)
    return relevance if relevance.max(initial=0.0) > _MOST_GRADES else np.exp2(relevance) - 1


def _ranked(label: ArrayLike, score: ArrayLike, query: ArrayLike) -> tuple[Floats, Ranking]:
    labels: NDArray[np.float64] = np.asarray(label, float)
    kept, scores = _checked(labels, score, query=query)
    ids, codes = np.unique(np.asarray(query)[kept], return_inverse=True)
    return labels[kept], Ranking(scores, codes, len(ids))


def _checked(
    label: Floats, score: ArrayLike, **others: ArrayLike
) -> tuple[NDArray[np.bool_], Floats]:
    """Which rows are labelled, and their scores."""
    scores = np.asarray(score, float)
    for name, column in {"score": scores, **others}.items():
        if np.shape(column) != label.shape or label.ndim != 1:
            raise ValueError(
                f"{name} has shape {np.shape(column)} and the labels {label.shape}; give one of "
                "each a row"
            )
    kept = ~np.isnan(label)
    if (lacking := np.flatnonzero(kept & np.isnan(scores))).size:
        raise ValueError(f"the score of row {lacking[0]} is NaN; leave the row out, or score it")
    return kept, scores[kept]


def _positive(label: Floats) -> NDArray[np.bool_]:
    if wrong := label[(label != 0) & (label != 1)].tolist():
        raise ValueError(f"a label is {wrong[0]:g}, not 0 or 1; give label >= threshold")
    return label == 1
