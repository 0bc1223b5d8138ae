"""Soft losses over rows of one query, against plain loops."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from kdmatch.data.batches import ScoredPairs, TrainingBatches
from kdmatch.distillation.distiller import Distiller
from kdmatch.distillation.soft_losses import listwise_kl, margin_mse, soft_loss, soft_ranknet
from kdmatch.models.textcnn import TextCnnMatcher

BY_QUERY = ("margin_mse", "ranknet", "listwise")
Rows = dict[str, np.ndarray]


@pytest.fixture(params=range(3))
def rows(request: pytest.FixtureRequest) -> Rows:
    generator = np.random.default_rng(request.param)
    target = generator.normal(size=20).astype(np.float32)
    target[generator.random(20) < 0.2] = np.nan
    return {
        "logit": generator.normal(size=20).astype(np.float32),
        "target": target,
        "group": generator.integers(0, 6, 20),
        "weight": generator.uniform(0.1, 2, 20).astype(np.float32),
    }


def number(tensor: Any) -> float:
    return float(keras.ops.convert_to_numpy(tensor))


def mean_over_pairs(rows: Rows, cost: Callable[[float, float], float]) -> float:
    total = weights = 0.0
    s, t, group, weight = (rows[name] for name in ("logit", "target", "group", "weight"))
    for i in range(len(s)):
        for j in range(len(s)):
            if i != j and group[i] == group[j] and not math.isnan(t[i] + t[j]):
                both = float(weight[i] * weight[j])
                total += both * cost(float(s[i] - s[j]), float(t[i] - t[j]))
                weights += both
    return total / weights


def kl(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(np.sum(wanted * np.log(wanted / found)))


def softmax(values: np.ndarray) -> np.ndarray:
    return np.exp(values) / np.exp(values).sum()


def test_margin_mse_equals_a_loop(rows: Rows) -> None:
    expected = mean_over_pairs(rows, lambda s, t: (s - t) ** 2)
    assert number(margin_mse(**rows)) == pytest.approx(expected, rel=1e-4)


def test_ranknet_equals_a_loop(rows: Rows) -> None:
    def cost(s: float, t: float) -> float:
        above = [1 / (1 + math.exp(-x / 2.0)) for x in (t, s)]
        return 4 * kl(*(np.array([p, 1 - p]) for p in above))

    expected = mean_over_pairs(rows, cost)
    assert number(soft_ranknet(**rows, temperature=2.0)) == pytest.approx(expected, rel=1e-3)


def test_listwise_equals_a_loop(rows: Rows) -> None:
    total = weights = 0.0
    for group in range(6):
        inside = (rows["group"] == group) & ~np.isnan(rows["target"])
        if inside.sum() > 1:
            weight = float(rows["weight"][inside].mean())
            wanted, found = (softmax(rows[name][inside] / 0.5) for name in ("target", "logit"))
            total += weight * 0.25 * kl(wanted, found)
            weights += weight
    assert number(listwise_kl(**rows, temperature=0.5)) == pytest.approx(total / weights, rel=1e-3)


@pytest.mark.parametrize("kind", BY_QUERY)
def test_only_order_within_a_query_counts(rows: Rows, kind: str) -> None:
    loss = soft_loss(kind)
    level = np.arange(6, dtype=np.float32)[rows["group"]]
    agreeing = {**rows, "logit": np.nan_to_num(rows["target"]) + level}
    arguments = [agreeing[name] for name in ("logit", "target", "group", "weight")]
    assert number(loss(*arguments, 1.5)) == pytest.approx(0, abs=1e-5)
    turned = np.random.default_rng(0).permutation(20)
    here = [rows[name] for name in ("logit", "target", "group", "weight")]
    there = [array[turned] for array in here]
    assert number(loss(*there, 1.5)) == pytest.approx(number(loss(*here, 1.5)), rel=1e-4)
    assert number(loss(*here, 1.5)) > 0.01


@pytest.mark.parametrize("kind", BY_QUERY)
def test_nothing_to_compare_costs_nothing(kind: str) -> None:
    ones = np.ones(3, np.float32)
    for target, group in (([1.0, 2.0, 3.0], [0, 1, 2]), ([1.0, np.nan, np.nan], [0, 0, 0])):
        value = soft_loss(kind)(ones, np.array(target, np.float32), np.array(group), ones, 1.0)
        assert number(value) == 0


@pytest.mark.parametrize("kind", BY_QUERY)
def test_a_student_learns_the_order(random_pairs: Callable[..., ScoredPairs], kind: Any) -> None:
    keras.utils.set_random_seed(0)
    pairs = random_pairs(12, 4, unlabelled=24)
    pairs.group[48:] = np.repeat(np.arange(12), 2)
    student = TextCnnMatcher(40, embedding_dim=8, filters=8, kernels=3, head_dim=8, dropout=0.0)
    distiller = Distiller(student, 1.0, 0.0, 0.0, soft=kind, temperature=2.0, scaling="exp")
    distiller.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    batches = TrainingBatches(
        pairs, 24, unlabelled_share=0.4, steps=20, unlabelled_by_query=distiller.soft_by_query
    )
    history = distiller.fit(
        batches.for_fit(), steps_per_epoch=20, epochs=3, shuffle=False, verbose=0
    ).history
    assert history["soft_loss"][-1] < 0.5 * history["soft_loss"][0]
    assert np.isfinite(history["loss"]).all()


def test_unlabelled_rows_come_by_whole_queries_where_asked(
    random_pairs: Callable[..., ScoredPairs],
) -> None:
    pairs = random_pairs(4, 4, unlabelled=960)
    pairs.group[16:] = np.arange(960) // 6

    def companions(by_query: bool) -> float:
        batches = TrainingBatches(
            pairs, 32, unlabelled_share=0.75, steps=10, unlabelled_by_query=by_query
        )
        groups = [batches[i][1]["group"][np.isnan(batches[i][1]["label"])] for i in range(10)]
        return float(np.mean([len(group) / len(np.unique(group)) for group in groups]))

    assert companions(True) > 4
    assert companions(False) < 2


def test_settings_that_cannot_be() -> None:
    student = TextCnnMatcher(40, embedding_dim=8, filters=8, kernels=3, head_dim=8)
    with pytest.raises(ValueError, match="soft is 'kl'; choose one of mse, margin_mse"):
        Distiller(student, soft="kl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="temperature is 0"):
        Distiller(student, temperature=0)
