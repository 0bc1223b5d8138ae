"""Weighted mid-ranks, and the two metrics that are functions of them.

A bootstrap over queries gives every row the multiplicity of its query as a
weight. Sorting the scores once and summing weights along that order then
gives the ranks in all resamples together, so that neither AUC nor Spearman's
correlation ever sorts again.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class MidRanks:
    """Ranks of scores under any weights, tied scores sharing the middle.

    The rank of a row is the weight of the rows below it plus half of the
    weight of the rows tied with it (itself included).

    Args:
        score: float array `(rows,)`. Sorted once, here.

    Call args:
        weight: float array `(rows, resamples)`, at least 0.

    Returns:
        float array `(rows, resamples)`, in the order of the rows.

    >>> MidRanks(np.array([5.0, 1.0, 5.0]))(np.ones((3, 1)))[:, 0].tolist()
    [2.0, 0.5, 2.0]
    """

    def __init__(self, score: Floats) -> None:
        self._order = np.argsort(score, kind="stable")
        ascending = score[self._order]
        self._first = np.searchsorted(ascending, score, side="left")
        self._past = np.searchsorted(ascending, score, side="right")

    def __call__(self, weight: Floats) -> Floats:
        below = np.zeros((weight.shape[0] + 1, weight.shape[1]))
        np.cumsum(weight[self._order], axis=0, out=below[1:])
        rank = below[self._first]
        rank += below[self._past]
        rank *= 0.5
        return rank


def auc_of_ranks(positive: NDArray[np.bool_], rank: Floats, weight: Floats) -> Floats:
    """AUC of each resample, from the ranks of `MidRanks` under the same weights.

    `(sum over positives of w * rank - P² / 2) / (P * N)` with P and N the
    weights of the two classes: the positives' own share of their ranks is
    always `P² / 2`, what remains is the weight of negatives below (ties half).

    Returns:
        float array `(resamples,)`, NaN where a class has no weight.
    """
    positive_weight = weight[positive]
    p = positive_weight.sum(axis=0)
    n = weight.sum(axis=0) - p
    rank_sum = np.einsum("ij,ij->j", positive_weight, rank[positive])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((p > 0) & (n > 0), (rank_sum - p * p / 2) / (p * n), np.nan)


def spearman_of_ranks(rank_a: Floats, rank_b: Floats, weight: Floats) -> Floats:
    """Weighted Pearson correlation of two sets of ranks, for each resample.

    The weighted mean of mid-ranks is half of the total weight, whatever the
    scores, so nothing has to be averaged first.

    Returns:
        float array `(resamples,)`, NaN where one side is constant.
    """
    centre = weight.sum(axis=0) / 2
    a, b = rank_a - centre, rank_b - centre
    weighted_a = weight * a
    covariance = np.einsum("ij,ij->j", weighted_a, b)
    variance_a = np.einsum("ij,ij->j", weighted_a, a)
    variance_b = np.einsum("ij,ij,ij->j", weight, b, b)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / np.sqrt(variance_a * variance_b)
    defined = (variance_a > 0) & (variance_b > 0)
    return np.where(defined, np.clip(correlation, -1.0, 1.0), np.nan)
