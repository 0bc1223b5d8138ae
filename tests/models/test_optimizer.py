"""The optimizer of every training: schedule, decay, clipping, average."""

import keras
import numpy as np
import pytest

from kdmatch.models.optimizer import adamw


def step(gradients: dict[str, float], steps: int = 1, **arguments: float) -> dict[str, np.ndarray]:
    """Weights of ones after equal steps, by name."""
    variables = [keras.Variable(np.ones(4, np.float32), name=name) for name in gradients]
    optimizer = adamw(steps=100, learning_rate=0.1, warmup=0.01, **arguments)
    optimizer.build(variables)
    for _ in range(steps):
        optimizer.apply(
            [keras.ops.full((4,), value) for value in gradients.values()],
            trainable_variables=variables,
        )
    if arguments.get("average"):
        optimizer.finalize_variable_values(variables)
    return {one.name: keras.ops.convert_to_numpy(one) for one in variables}


def test_decay_is_of_kernels_alone():
    names = ("kernel", "embeddings", "bias", "gamma", "beta")
    found = step(dict.fromkeys(names, 0.0), steps=3, weight_decay=0.5)
    for name in ("kernel", "embeddings"):
        assert (found[name] < 0.96).all()
    for name in ("bias", "gamma", "beta"):
        assert (found[name] == 1).all()


def test_the_whole_gradient_is_clipped():
    """Adam forgets the size of a gradient, but not how sizes change from step to step."""
    variable = keras.Variable(np.ones(4, np.float32), name="kernel")
    optimizer = adamw(steps=100, learning_rate=0.1, clip_norm=1.0, weight_decay=0.0)
    optimizer.build([variable])
    optimizer.apply([keras.ops.full((4,), 100.0)], trainable_variables=[variable])
    (momentum,) = [one for one in optimizer.variables if "momentum" in one.path]
    # (1 − β₁) times a gradient of norm 1
    assert np.linalg.norm(keras.ops.convert_to_numpy(momentum)) == pytest.approx(0.1, rel=1e-4)


def test_the_average_lags_behind_the_weights():
    plain = step({"kernel": 1.0}, steps=10, weight_decay=0.0)["kernel"]
    average = step({"kernel": 1.0}, steps=10, weight_decay=0.0, average=0.9)["kernel"]
    assert (plain < average).all()
    assert (average < 1).all()
