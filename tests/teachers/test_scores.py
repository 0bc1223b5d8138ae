"""One scale for all teachers."""

import json

import numpy as np
import pytest

from kdmatch.teachers.scores import Standard


def test_known_values_become_mean_0_and_deviation_1():
    values = np.array([3.0, 9.0, np.nan, -2.5, 4.0])
    scaled = Standard.of(values).apply(values)
    assert scaled.dtype == np.float32
    assert np.isnan(scaled).tolist() == [False, False, True, False, False]
    known = scaled[~np.isnan(scaled)]
    assert known.mean() == pytest.approx(0, abs=1e-6)
    assert known.std() == pytest.approx(1, abs=1e-6)
    assert (np.argsort(known) == np.argsort(values[[0, 1, 3, 4]])).all()


def test_equal_values_become_zero():
    standard = Standard.of(np.array([2.0, 2.0]))
    assert standard.apply(np.array([2.0, 3.0])).tolist() == [0.0, 1.0]


def test_equal_float32_values_become_zero_though_their_deviation_is_rounded():
    standard = Standard.of(np.full(1_000_000, 2.33, np.float32))
    assert np.abs(standard.apply(np.array([2.33, 2.34]))).max() < 0.011


def test_it_survives_json():
    standard = Standard.of(np.array([1.0, 2.0, 4.0], np.float32))
    assert Standard(**json.loads(json.dumps(standard.as_dict()))) == standard
