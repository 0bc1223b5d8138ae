"""Ranking metrics of every query at once: one sort, then sums over groups.

Each function returns a `QueryValues`: the metric of each query and the weight
that the query has in the mean (0 where the metric is undefined). A bootstrap
over queries is then two dot products.

Tied scores count by expectation: the value is the mean over all orders of the
tied rows, in closed form, so it does not depend on the order of the rows.

Reference:
    McSherry and Najork, "Computing information retrieval performance measures
    efficiently in the presence of tied scores", ECIR 2008.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdmatch.evaluation.ranks import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class QueryValues:
    """A metric of each query.

    Attributes:
        value: float array `(queries,)`, 0 where undefined.
        weight: float array `(queries,)`, 0 where undefined.
    """

    value: Floats
    weight: Floats

    def mean(self, multiplicity: Floats | None = None) -> Floats:
        """Weighted mean; one for each column of `multiplicity` `(queries, resamples)`."""
        if multiplicity is None:
            multiplicity = np.ones((len(self.value), 1))
        total = self.weight @ multiplicity
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, (self.value * self.weight) @ multiplicity / total, np.nan)


def _values(numerator: Floats, denominator: Floats, weight: Floats) -> QueryValues:
    defined = denominator > 0
    value = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=defined)
    return QueryValues(value, np.where(defined, weight, 0.0))


class Ranking:
    """Rows sorted by query, then by descending score, with their tie groups.

    Args:
        score: float array `(rows,)`.
        query: int array `(rows,)`. Codes from 0 to `queries - 1`.
        queries: int. How many queries there are.
    """

    def __init__(self, score: Floats, query: Ints, queries: int) -> None:
        self.order = np.lexsort((-score, query))
        self.query, self.queries = query[self.order], queries
        score, row = score[self.order], np.arange(len(score))
        new_query = np.diff(self.query, prepend=-1) != 0
        new_tie = new_query.copy()
        new_tie[1:] |= score[1:] != score[:-1]
        query_first = row[new_query][np.cumsum(new_query) - 1]
        self.position = row - query_first
        self.size = np.bincount(self.query, minlength=queries).astype(float)
        self.tie = np.cumsum(new_tie) - 1
        tie_first = row[new_tie]
        self.in_tie = row - tie_first[self.tie]
        self.tie_position = self.position[tie_first]
        self.tie_query = self.query[tie_first]
        self.tie_size = np.bincount(self.tie)

    def query_sum(self, value: Floats) -> Floats:
        """Sum over the rows of each query; `value` stands in the sorted order."""
        return np.bincount(self.query, value, minlength=self.queries).astype(float)

    def tie_sum(self, value: Floats) -> Floats:
        """Sum over the rows of each tie group; `value` stands in the sorted order."""
        return np.bincount(self.tie, value).astype(float)

    def _relevant(self, positive: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """Relevant rows of each query, of each tie group, and before each tie group."""
        in_tie = self.tie_sum(positive[self.order].astype(float))
        in_query = np.bincount(self.tie_query, in_tie, minlength=self.queries).astype(float)
        before_query = np.cumsum(in_query) - in_query
        return in_query, in_tie, np.cumsum(in_tie) - in_tie - before_query[self.tie_query]

    def auc(self, positive: NDArray[np.bool_]) -> QueryValues:
        """AUC of each query that has both classes, weighted by its rows."""
        p = self.query_sum(positive[self.order].astype(float))
        past = self.tie_position + self.tie_size
        rank = self.size[self.tie_query] - past + self.tie_size / 2
        rank_sum = self.query_sum(positive[self.order] * rank[self.tie])
        return _values(rank_sum - p * p / 2, p * (self.size - p), self.size)

    def ndcg(self, gain: Floats, k: int) -> QueryValues:
        """Expected DCG of the first `k` over the best possible, of queries with a gain."""
        discount = np.where(self.position < k, 1 / np.log2(self.position + 2.0), 0.0)
        expected = (self.tie_sum(gain[self.order]) / self.tie_size)[self.tie]
        # The queries keep their places in this order too, so positions and discounts do.
        by_gain = gain[self.order][np.lexsort((-gain[self.order], self.query))]
        ideal = self.query_sum(by_gain * discount)
        return _values(self.query_sum(expected * discount), ideal, np.ones(self.queries))

    def reciprocal_rank(self, positive: NDArray[np.bool_]) -> QueryValues:
        """Expected 1 / rank of the first relevant row, of queries that have one."""
        in_query, in_tie, before = self._relevant(positive)
        decides = ((in_tie > 0) & (before == 0))[self.tie]
        n = self.tie_size[self.tie][decides]
        r = in_tie[self.tie][decides].astype(int)
        behind = n - 1 - self.in_tie[decides]  # tied rows behind this one
        log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(self.tie) + 1)))])

        def log_choose(m: Ints, j: Ints) -> Floats:
            return log_factorial[m] - log_factorial[j] - log_factorial[np.maximum(m - j, 0)]

        # The first of r relevant among n tied rows stands here: C(behind, r - 1) / C(n, r).
        chance = np.exp(log_choose(behind, r - 1) - log_choose(n, r))
        expected = np.zeros(len(self.tie))
        expected[decides] = np.where(behind >= r - 1, chance, 0.0) / (self.position[decides] + 1)
        return _values(
            self.query_sum(expected), (in_query > 0).astype(float), np.ones(self.queries)
        )

    def average_precision(self, positive: NDArray[np.bool_]) -> QueryValues:
        """Expected average precision, of queries with a relevant row."""
        in_query, in_tie, before = self._relevant(positive)
        n, r = self.tie_size[self.tie], in_tie[self.tie]
        others = self.in_tie * (r - 1) / np.maximum(n - 1, 1)  # relevant tied rows ahead
        precision = (before[self.tie] + 1 + others) / (self.position + 1)
        return _values(self.query_sum(r / n * precision), in_query, np.ones(self.queries))

    def pair_accuracy(self, label: Floats) -> QueryValues:
        """Share of pairs with different labels in the right order, weighted by pairs."""
        level = self._levels(label)
        correct, pairs = np.zeros(self.queries), np.zeros(self.queries)
        for one in range(1, int(level.max(initial=0)) + 1):
            above, lower = level == one, level < one
            in_query, in_tie, before = self._relevant(lower)
            # A row stands right before the lower ones behind its tie group, half right in it.
            credit = in_query[self.tie_query] - before - in_tie / 2
            upper = above[self.order].astype(float)
            correct += self.query_sum(upper * credit[self.tie])
            pairs += self.query_sum(upper) * in_query
        return _values(correct, pairs, pairs)

    def _levels(self, label: Floats) -> Ints:
        """Rank of each row's label among the labels of its query, from 0, in the rows' order."""
        query = np.empty_like(self.query)
        query[self.order] = self.query
        order = np.lexsort((label, query))
        new_query = np.diff(query[order], prepend=-1) != 0
        new_label = np.diff(label[order], prepend=-np.inf) != 0
        step = np.cumsum(new_label | new_query)
        level = np.empty(len(label), np.int64)
        level[order] = step - step[new_query][np.cumsum(new_query) - 1]
        return level
