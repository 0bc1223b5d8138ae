"""Metrics against values worked out by hand, scikit-learn and brute force."""

import doctest
import importlib
import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score, roc_auc_score

from kdmatch.errors import UserError
from kdmatch.evaluation import metrics
from kdmatch.evaluation.evaluate import compare_scores, evaluate_scores
from kdmatch.evaluation.metrics import (
    auc,
    gauc,
    mean_average_precision,
    mrr,
    ndcg,
    pair_accuracy,
    spearman,
)
from kdmatch.evaluation.objective import validation_metric

NAN = float("nan")
QUERY_METRICS = {
    "gauc": (gauc, True),
    "ndcg": (ndcg, False),
    "mrr": (mrr, True),
    "map": (mean_average_precision, True),
    "pair_accuracy": (pair_accuracy, False),
}


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels 0 to 3, tied scores and queries of several sizes."""
    rng = np.random.default_rng(3)
    query = rng.integers(40, size=300)
    return rng.integers(4, size=300).astype(float), rng.integers(6, size=300) / 5, query


def test_auc_by_hand() -> None:
    assert auc([1, 1, 0, 0], [0.9, 0.3, 0.5, 0.1]) == 0.75
    assert auc([1, 0], [0.5, 0.5]) == 0.5
    assert auc([1, 0, NAN], [0.1, 0.9, 0.5]) == 0.0
    assert auc([1, 0, 0], [0.5, 0.4, 0.6], weight=[1, 3, 1]) == 0.75
    assert np.isnan(auc([1, 1], [0.5, 0.4]))


@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_scikit_learn_with_ties_and_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label, score = rng.integers(2, size=200), rng.integers(20, size=200) / 7
    weight = rng.integers(0, 4, size=200)
    assert auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    expected = roc_auc_score(label, score, sample_weight=weight)
    assert auc(label, score, weight) == pytest.approx(expected, abs=1e-12)


def test_gauc_weighs_queries_by_rows_and_skips_those_of_one_class() -> None:
    label = [1, 0, 1, 0, 0, 0, 1, 1]
    score = [2, 1, 1, 2, 3, 4, 1, 2]
    query = ["a", "a", "b", "b", "b", "b", "c", "c"]
    assert gauc(label, score, query) == pytest.approx((2 * 1 + 4 * 0) / 6)
    assert np.isnan(gauc([1, 0], [1, 2], ["a", "b"]))


def test_ndcg_equals_scikit_learn(rows: tuple[np.ndarray, ...]) -> None:
    rng = np.random.default_rng(1)
    label, score = rng.integers(0, 5, size=30).astype(float), rng.permutation(30) / 30
    expected = ndcg_score([2**label - 1], [score], k=10)
    assert ndcg(label, score, np.zeros(30)) == pytest.approx(expected, abs=1e-12)
    # and with ties, over several queries: scikit-learn averages them as we do
    label, score, query = rows
    each = [
        ndcg_score([2 ** label[query == q] - 1], [score[query == q]], k=3)
        for q in np.unique(query)
        if label[query == q].max() > 0 and (query == q).sum() > 1
    ]
    several = np.isin(query, [q for q in np.unique(query) if (query == q).sum() > 1])
    found = ndcg(label[several], score[several], query[several], k=3)
    assert found == pytest.approx(np.mean(each), abs=1e-12)


def test_ndcg_shifts_labels_and_skips_queries_without_gain() -> None:
    query = ["a", "a", "b", "b"]
    assert ndcg([1, 2, 1, 1], [1.0, 2.0, 5.0, 6.0], query) == 1.0
    assert ndcg([11, 12, 11, 11], [1.0, 2.0, 5.0, 6.0], query) == 1.0
    assert np.isnan(ndcg([2, 2], [1.0, 2.0], ["a", "a"]))


def test_mrr_and_map_by_hand() -> None:
    label, query = [0, 1, 1, 0, 0, 0], ["a", "a", "a", "b", "b", "b"]
    assert mrr(label, [3, 2, 1, 3, 2, 1], query) == 0.5  # b has no positive
    assert mean_average_precision(label, [3, 2, 1, 3, 2, 1], query) == pytest.approx(
        (1 / 2 + 2 / 3) / 2
    )


def test_pair_accuracy_by_hand() -> None:
    label, query = [3, 2, 1, 2, 9], ["a", "a", "a", "a", "b"]
    # pairs of a: 3>2 right, 3>1 right, 3>2' tied, 2>1 wrong, 1<2' right; 2 and 2' are equal
    assert pair_accuracy(label, [5, 1, 2, 5, 0], query) == pytest.approx(3.5 / 5)


def test_pair_accuracy_equals_plain_loops(rows: tuple[np.ndarray, ...]) -> None:
    label, score, query = rows
    right = pairs = 0.0
    for i, j in itertools.combinations(np.flatnonzero(~np.isnan(label)), 2):
        if query[i] == query[j] and label[i] != label[j]:
            pairs += 1
            agree = (label[i] - label[j]) * (score[i] - score[j])
            right += 0.5 if agree == 0 else agree > 0
    assert pair_accuracy(label, score, query) == pytest.approx(right / pairs)


def test_a_huge_query_is_measured() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 4, 200_000).astype(float)
    score = label + generator.normal(size=len(label))
    assert 0.8 < pair_accuracy(label, score, np.zeros(len(label))) < 0.95


def test_labels_that_are_no_grades_gain_what_they_are() -> None:
    label, score = np.array([0.0, 500.0, 1500.0]), np.array([2.0, 3.0, 1.0])
    ideal = 1500 + 500 / np.log2(3)
    found = 500 + 1500 / np.log2(4)
    assert ndcg(label, score, np.zeros(3)) == pytest.approx(found / ideal)


def test_a_label_at_the_threshold_is_positive_everywhere() -> None:
    label = np.array([2.33, 2.0, 2.67, 1.0], np.float32)
    score, query = np.array([0.9, 0.2, 0.5, 0.1]), np.zeros(4)
    assert validation_metric("auc", label, query, 2.33)(score) == 1.0
    found = evaluate_scores(label, query, {"a": score}, positive_threshold=2.33, resamples=100)
    assert found["a"]["auc"]["value"] == 1.0


def test_an_undefined_objective_is_said_before_training() -> None:
    label, query = np.array([1.0, 0.0, 1.0]), np.arange(3)
    assert validation_metric("auc", label, query, 1)(np.array([1.0, 0.0, 1.0])) == 1.0
    for name in ("gauc", "pair_accuracy", "ndcg@10"):
        if name == "ndcg@10":
            label = np.zeros(3)
        with pytest.raises(UserError, match=f"{name} is undefined.*choose the objective auc"):
            validation_metric(name, label, query, 1)


@pytest.mark.parametrize("name", ["mrr", "map", "ndcg"])
def test_ties_count_by_the_mean_over_all_orders(name: str) -> None:
    metric, _ = QUERY_METRICS[name]
    score = np.array([2.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    label = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    broken = []
    for order in itertools.permutations(range(4)):
        for last in ((0, 1), (1, 0)):
            offset = np.concatenate([[0], np.array(order) / 10, np.array(last) / 10])
            broken.append(metric(label, score + offset, np.zeros(7)))
    assert metric(label, score, np.zeros(7)) == pytest.approx(np.mean(broken), abs=1e-12)


@pytest.mark.parametrize("name", QUERY_METRICS)
def test_order_of_rows_and_unlabelled_rows_change_nothing(
    name: str, rows: tuple[np.ndarray, ...]
) -> None:
    metric, binary = QUERY_METRICS[name]
    label, score, query = rows
    label = (label >= 2).astype(float) if binary else label
    expected = metric(label, score, query)
    order = np.random.default_rng(0).permutation(len(label))
    assert metric(label[order], score[order], query[order]) == pytest.approx(expected, abs=1e-12)
    padded = [np.concatenate(pair) for pair in ((label, [NAN] * 9), (score, [9.0] * 9))]
    assert metric(*padded, np.concatenate([query, np.arange(9)])) == expected


def test_perfect_order_is_one_and_queries_may_be_text(rows: tuple[np.ndarray, ...]) -> None:
    label, _, query = rows
    names = np.array([f"query {q}" for q in query])
    for metric, binary in QUERY_METRICS.values():
        graded = (label >= 2).astype(float) if binary else label
        assert metric(graded, graded + 0.5, names) == pytest.approx(1.0)


def test_spearman_equals_scipy_and_is_undefined_for_a_constant() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(9, size=100), rng.integers(5, size=100)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    twice = np.r_[np.arange(100), np.arange(50)]
    weight = np.r_[np.full(50, 2.0), np.ones(50)]
    assert spearman(a, b, weight) == pytest.approx(spearman(a[twice], b[twice]), abs=1e-12)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize(
    "module",
    ["metrics", "ranks", "evaluate", "latency", "formatting", "run_record", "table", "model_card"],
)
def test_examples_of_the_docstrings(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"{metrics.__package__}.{module}"))
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("name", [*QUERY_METRICS, "auc", "spearman"])
def test_what_cannot_be_measured_is_refused(name: str) -> None:
    def of(label: list[float], score: list[float], query: list[str]) -> float:
        if name in QUERY_METRICS:
            return QUERY_METRICS[name][0](label, score, query)
        return auc(label, score) if name == "auc" else spearman(score, label)

    assert 0 <= of([1, 0, NAN], [0.2, 0.1, NAN], ["a", "a", "a"]) <= 1.0001
    with pytest.raises(ValueError, match="the score of row 1 is NaN"):
        of([1, 0, 1], [0.1, NAN, 0.5], ["a", "a", "b"])
    with pytest.raises(ValueError, match=r"score has shape \(2,\) and the labels \(3,\)"):
        of([1, 0, 1], [0.1, 0.5], ["a", "a", "b"])
    if name in ("auc", "gauc", "mrr", "map"):
        with pytest.raises(ValueError, match="a label is 2, not 0 or 1; give label >= threshold"):
            of([2, 0, 1], [0.1, 0.2, 0.5], ["a", "a", "a"])
    if name in QUERY_METRICS:
        with pytest.raises(ValueError, match=r"query has shape \(1,\)"):
            of([1, 0, 1], [0.1, 0.2, 0.5], ["a"])


def test_a_single_query_has_no_interval() -> None:
    """It says nothing of how far other queries would move a number."""
    one = evaluate_scores([1, 0, 1], ["a"] * 3, {"m": [3, 2, 1]}, positive_threshold=1)["m"]
    assert one["auc"] == {"value": 0.5, "low": None, "high": None}
    two = evaluate_scores([1, 0, 1, 0], [*"aabb"], {"m": [3, 2, 1, 4]}, positive_threshold=1)["m"]
    assert two["auc"]["low"] is not None


def test_names_without_scores_are_said() -> None:
    rows = ([1, 0], ["a", "b"])
    with pytest.raises(ValueError, match="no scores of the teacher 't'; there are m"):
        evaluate_scores(*rows, {"m": [1, 0]}, positive_threshold=1, teacher="t")
    with pytest.raises(ValueError, match="no scores of 'x' to compare; there are m"):
        compare_scores(*rows, {"m": [1, 0]}, [("m", "x")], positive_threshold=1)


def test_validation_rows_of_one_class_are_called_that() -> None:
    with pytest.raises(UserError, match=r"all are negative at data\.positive_threshold 3; change"):
        validation_metric("auc", np.array([1.0, 2.0]), np.arange(2), 3)
