"""The losses, by hand and against plain loops."""

import keras
import numpy as np
import pytest

from kdmatch.distillation.losses import exponential_scaling, grouped_hinge, masked_mse
from kdmatch.distillation.soft_losses import soft_loss

NAN = np.nan
SOFT = ("margin_mse", "ranknet", "listwise")


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def number(tensor) -> float:
    return float(keras.ops.convert_to_numpy(tensor))


def slow_hinge(score, label, group, weight, margin) -> float:
    total = pairs = 0.0
    for i in range(len(score)):
        for j in range(len(score)):
            if group[i] == group[j] and label[i] > label[j]:
                total += weight[i] * weight[j] * max(0.0, margin - (score[i] - score[j]))
                pairs += weight[i] * weight[j]
    return total / pairs if pairs else 0.0


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_only_the_ratio_of_weights_counts(scale: float) -> None:
    score, label = f32(0.1, 0.5, 0.2), f32(1.0, 0.0, 1.0)
    group, weight = np.zeros(3, int), f32(1.0, 2.0, 0.5)
    for loss in (
        lambda w: masked_mse(score, label, w),
        lambda w: grouped_hinge(score, label, group, w),
        *(lambda w, kind=kind: soft_loss(kind)(score, label, group, w, 1.0) for kind in SOFT),
    ):
        assert number(loss(weight * np.float32(scale))) == pytest.approx(
            number(loss(weight)), rel=1e-4
        )
        assert number(loss(weight)) > 0.01
        assert number(loss(np.zeros(3, np.float32))) == 0.0


@pytest.fixture(params=range(5))
def rows(request) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(request.param)
    label = generator.integers(0, 3, 24).astype(np.float32)
    label[generator.random(24) < 0.2] = NAN
    return {
        "score": np.tanh(generator.normal(size=24)).astype(np.float32),
        "label": label,
        "group": generator.integers(0, 5, 24),
        "weight": generator.uniform(0, 2, 24).astype(np.float32),
    }


def test_mse_by_hand():
    loss = masked_mse(f32(1, 2, 5), f32(0, NAN, 3), f32(1, 9, 3))
    assert number(loss) == pytest.approx((1 * 1 + 3 * 4) / 4)
    assert number(masked_mse(f32(1, 2), f32(NAN, NAN), f32(1, 1))) == 0
    assert number(masked_mse(f32(1, 2), f32(0, 0), f32(0, 0))) == 0


def test_hinge_by_hand():
    # Query 1: 0.7 - (0.5 - 0.1) = 0.3 and max(0, 0.7 - 0.9) = 0; query 2: one pair, 0.7 + 0.2.
    score, label = f32(0.5, 0.1, -0.4, 0.0, 0.2, 0.9), f32(2, 1, 1, 1, 0, NAN)
    group = np.array([1, 1, 1, 2, 2, 2])
    loss = grouped_hinge(score, label, group, np.ones(6, "float32"))
    assert number(loss) == pytest.approx((0.3 + 0 + 0.9) / 3)
    weighted = grouped_hinge(score, label, group, f32(1, 2, 1, 3, 1, 5))
    assert number(weighted) == pytest.approx((2 * 0.3 + 1 * 0 + 3 * 0.9) / (2 + 1 + 3))


def test_hinge_equals_a_loop(rows):
    assert number(grouped_hinge(**rows, margin=0.5)) == pytest.approx(
        slow_hinge(**rows, margin=0.5), rel=1e-5
    )


def test_the_order_of_rows_does_not_matter(rows):
    order = np.random.default_rng(9).permutation(24)
    turned = {name: column[order] for name, column in rows.items()}
    assert number(grouped_hinge(**turned)) == pytest.approx(number(grouped_hinge(**rows)), rel=1e-5)
    one, other = (number(masked_mse(r["score"], r["label"], r["weight"])) for r in (rows, turned))
    assert one == pytest.approx(other, rel=1e-5)


def test_a_row_of_weight_zero_is_as_good_as_absent(rows):
    rows["weight"][::3] = 0
    kept = {name: column[rows["weight"] > 0] for name, column in rows.items()}
    assert number(grouped_hinge(**rows)) == pytest.approx(number(grouped_hinge(**kept)), rel=1e-5)
    one, other = (number(masked_mse(r["score"], r["label"], r["weight"])) for r in (rows, kept))
    assert one == pytest.approx(other, rel=1e-5)


def test_hinge_is_zero_without_a_pair():
    ones = np.ones(3, "float32")
    for label, group in (
        (f32(1, 1, 1), [0, 0, 0]),
        (f32(0, 1, 2), [0, 1, 2]),
        (f32(1, NAN, NAN), [0] * 3),
    ):
        assert number(grouped_hinge(f32(0.1, 0.2, 0.3), label, np.array(group), ones)) == 0


def test_exponential_scaling_is_smooth_and_rises():
    assert number(exponential_scaling(f32(0.0)[0])) == 0
    assert number(exponential_scaling(f32(1.0)[0])) == pytest.approx(np.e - 1)
    assert number(exponential_scaling(f32(5.0)[0])) == pytest.approx(np.e**3 - 1 + 2 * np.e**3)
    at = np.linspace(0, 8, 801, dtype=np.float32)
    values = np.array([number(exponential_scaling(x)) for x in at])
    slopes = np.diff(values) / 0.01
    assert (slopes > 0.99).all()
    assert (np.diff(slopes) > -0.05).all()  # nowhere a kink downwards, float32 aside
    assert slopes[310:] == pytest.approx(np.e**3, rel=2e-3)  # a line beyond the bound
    assert np.isfinite(number(exponential_scaling(f32(1e4)[0])))
