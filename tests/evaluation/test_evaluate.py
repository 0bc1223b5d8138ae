"""Bootstrap intervals, paired comparisons, and errors a user can mend."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from kdmatch.errors import UserError
from kdmatch.evaluation import metrics
from kdmatch.evaluation.bootstrap import METRICS, bootstrap
from kdmatch.evaluation.evaluate import compare_scores, evaluate_scores
from kdmatch.evaluation.latency import latency_ms


def _rows(
    rng: np.random.Generator, queries: int = 60, skill: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    query = np.repeat(np.arange(queries), 5)
    label = rng.integers(3, size=len(query)).astype(float)
    return label, query, skill * label + rng.normal(size=len(query))


def test_values_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    label, query, score = _rows(rng)
    teacher = score + rng.normal(size=len(score))
    label[::7] = np.nan
    found = evaluate_scores(
        label, query, {"m": score, "t": teacher}, positive_threshold=2, teacher="t", resamples=50
    )["m"]
    label01 = np.where(np.isnan(label), np.nan, label >= 2)
    kept = ~np.isnan(label)
    expected = {
        "auc": metrics.auc(label01, score),
        "gauc": metrics.gauc(label01, score, query),
        "ndcg@10": metrics.ndcg(label, score, query),
        "mrr": metrics.mrr(label01, score, query),
        "map": metrics.mean_average_precision(label01, score, query),
        "pair_accuracy": metrics.pair_accuracy(label, score, query),
        "spearman_to_teacher": metrics.spearman(score[kept], teacher[kept]),
    }
    assert tuple(found) == METRICS
    for metric, value in expected.items():
        assert found[metric]["value"] == pytest.approx(value, abs=1e-12), metric
        assert found[metric]["low"] < value < found[metric]["high"], metric


def test_a_resample_is_the_metric_of_the_drawn_queries() -> None:
    label, query, score = _rows(np.random.default_rng(1), queries=12)
    draws = bootstrap(label, query, {"m": score, "t": -score}, 2, METRICS, "t", 3, 5)["m"]
    drawn = np.random.default_rng([5, 3]).integers(12, size=12)
    rows = np.concatenate([np.flatnonzero(query == one) for one in drawn])
    ids = np.repeat(np.arange(12), 5)  # a query drawn twice counts as two queries
    assert draws["auc"][0, 3] == pytest.approx(metrics.auc(label[rows] >= 2, score[rows]))
    assert draws["gauc"][0, 3] == pytest.approx(metrics.gauc(label[rows] >= 2, score[rows], ids))
    assert draws["pair_accuracy"][0, 3] == pytest.approx(
        metrics.pair_accuracy(label[rows], score[rows], ids)
    )
    assert draws["spearman_to_teacher"][0, 3] == pytest.approx(-1)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = _auc_of(rng)
    covered = 0
    for trial in range(100):
        label, query, score = _rows(rng)
        found = evaluate_scores(
            label, query, {"m": score}, positive_threshold=2, resamples=200, seed=trial
        )["m"]["auc"]
        covered += found["low"] <= truth <= found["high"]
    assert 86 <= covered <= 100  # 95 expected, standard deviation 2.2


def _auc_of(rng: np.random.Generator) -> float:
    label, _, score = _rows(rng, queries=40_000)
    return metrics.auc(label >= 2, score)


def test_identical_scores_differ_by_exactly_zero() -> None:
    label, query, score = _rows(np.random.default_rng(2))
    compared = compare_scores(
        label,
        query,
        {"a": score, "b": score.copy()},
        [("a", "b")],
        METRICS,
        positive_threshold=2,
        teacher="a",
        resamples=50,
    )
    assert [one["metric"] for one in compared] == list(METRICS)
    assert all((one["difference"], one["low"], one["high"]) == (0, 0, 0) for one in compared)


def test_comparisons_are_paired_and_agree_with_the_table() -> None:
    rng = np.random.default_rng(3)
    label, query, score = _rows(rng)
    scores = {"a": score, "b": score + rng.normal(0, 0.2, len(score))}
    options = {"positive_threshold": 2, "resamples": 200}
    table = evaluate_scores(label, query, scores, **options)
    found = compare_scores(label, query, scores, [("a", "b"), ("b", "a")], ["auc"], **options)
    difference = table["a"]["auc"]["value"] - table["b"]["auc"]["value"]
    assert found[0]["difference"] == difference == -found[1]["difference"]
    widths = [one["auc"]["high"] - one["auc"]["low"] for one in table.values()]
    assert found[0]["high"] - found[0]["low"] < min(widths)


def test_of_several_seeds_the_mean_is_measured_and_its_interval() -> None:
    rng = np.random.default_rng(5)
    label, query, score = _rows(rng)
    seeds = score + rng.normal(0, 0.5, (3, len(score)))
    options = {"positive_threshold": 2, "resamples": 200}
    found = evaluate_scores(label, query, {"m": seeds, "a": score}, **options)
    assert "seeds" not in found["a"]
    alone = [evaluate_scores(label, query, {"m": one}, **options)["m"]["auc"] for one in seeds]
    assert found["m"]["seeds"]["auc"] == [one["value"] for one in alone]
    assert found["m"]["auc"]["value"] == pytest.approx(np.mean(found["m"]["seeds"]["auc"]))
    draws = [
        bootstrap(label, query, {"m": one}, 2, ["auc"], None, 200, 0)["m"]["auc"][0, 1:]
        for one in seeds
    ]
    ends = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
    assert [found["m"]["auc"][end] for end in ("low", "high")] == pytest.approx(ends)
    # Seeds err apart: their mean is surer than each of them.
    assert ends[1] - ends[0] < np.mean([one["high"] - one["low"] for one in alone])
    (compared,) = compare_scores(
        label, query, {"m": seeds, "a": score}, [("m", "a")], ["auc"], **options
    )
    assert compared["difference"] == pytest.approx(
        found["m"]["auc"]["value"] - found["a"]["auc"]["value"]
    )
    with pytest.raises(ValueError, match=r"'m' has scores \(2, 3, "):
        evaluate_scores(label, query, {"m": np.zeros((2, 3, len(score)))}, **options)


def test_the_seed_alone_decides_the_intervals() -> None:
    label, query, score = _rows(np.random.default_rng(4))
    order = np.random.default_rng(0).permutation(len(label))
    options = {"positive_threshold": 2, "resamples": 40}
    first = evaluate_scores(label, query, {"m": score}, **options)["m"]["auc"]
    shuffled = evaluate_scores(label[order], query[order], {"m": score[order]}, **options)
    other = evaluate_scores(label, query, {"m": score}, seed=1, **options)["m"]["auc"]
    assert shuffled["m"]["auc"] == pytest.approx(first)
    assert other["low"] != first["low"]


def test_undefined_metrics_are_none() -> None:
    found = evaluate_scores(
        [1, 0, 0],
        ["a", "b", "c"],
        {"m": [3, 2, 1], "flat": [1, 1, 1]},
        positive_threshold=1,
        teacher="flat",
        resamples=20,
    )
    assert found["m"]["auc"]["value"] == 1
    for metric in ("gauc", "pair_accuracy", "spearman_to_teacher"):
        assert found["m"][metric] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(("threshold", "side"), [(4, "negative"), (1, "positive")])
def test_one_class_says_what_to_set(threshold: float, side: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluate_scores(
            [1.5, 3, np.nan], ["a", "a", "b"], {"m": [1, 2, 3]}, positive_threshold=threshold
        )
    message = str(caught.value)
    assert side in message
    assert f"positive_threshold {threshold}" in message
    assert "from 1.5 to 3" in message
    assert "data.positive_threshold" in message
    assert "\n" not in message


def test_missing_scores_labels_and_names_are_named() -> None:
    with pytest.raises(UserError, match="'m' has no finite score for 1 of 2"):
        evaluate_scores([1, 0], ["a", "a"], {"m": [1, np.nan]}, positive_threshold=1)
    with pytest.raises(UserError, match="no row to evaluate has a label"):
        evaluate_scores([np.nan], ["a"], {"m": [1]}, positive_threshold=1)
    with pytest.raises(ValueError, match=re.escape("no metric named 'auk'")):
        compare_scores(
            [1, 0], ["a", "a"], {"m": [1, 2]}, [("m", "m")], ["auk"], positive_threshold=1
        )


def test_latency_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds of the calls after the warm-up; the clock is the test's own."""
    now, calls = [0.0], []

    def call() -> None:
        calls.append(1)
        now[0] += 9.0 if len(calls) <= 2 else 0.001 * (len(calls) - 2)

    monkeypatch.setattr("kdmatch.evaluation.latency.time.perf_counter", lambda: now[0])
    found = latency_ms(call, repeats=5, warmup=2)
    assert len(calls) == 7
    assert found == pytest.approx({"p50": 3.0, "p95": 4.8, "p99": 4.96})


def test_needs_neither_tensorflow_nor_keras() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'torch', 'jax']));"
        "import kdmatch.evaluation.evaluate, kdmatch.evaluation.model_card,"
        "kdmatch.evaluation.table, kdmatch.evaluation.latency"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
