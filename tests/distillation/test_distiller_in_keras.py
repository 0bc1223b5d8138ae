"""The Distiller as a user of Keras meets it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from kdmatch.data.batches import TrainingBatches
from kdmatch.distillation.distiller import Distiller
from kdmatch.distillation.losses import grouped_hinge
from kdmatch.models.matcher import with_logits

from .small import PARTS, compiled, number, student, train, whole


def test_what_a_distiller_cannot_learn_from_is_named(pairs):
    x, y, _ = whole(pairs)
    given = {"batch_size": len(pairs), "verbose": 0}
    with pytest.raises(ValueError, match=r"y is .*give \{'label', 'group', 'scores'"):
        compiled(Distiller(student())).fit(x, y["label"], **given)
    with pytest.raises(ValueError, match="y is missing"):
        compiled(Distiller(student())).fit(x, **given)
    for compiled_with in ({"loss": "mse"}, {"metrics": ["mae"]}):
        with pytest.raises(ValueError, match="compiled without loss and metrics"):
            compiled(Distiller(student()), **compiled_with).fit(x, y, **given)


def test_a_plain_keras_model_is_a_student_too(pairs):
    """One input that is no mapping, a score `(batch, 1)`, a regularizer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    decay = keras.regularizers.L2(0.5)
    logit = keras.layers.Dense(1, name="logit", kernel_regularizer=decay)(inputs)
    matcher = keras.Model(inputs, keras.layers.Activation("tanh")(logit))
    x = np.random.default_rng(0).normal(size=(len(pairs), 6)).astype(np.float32)
    y = whole(pairs)[1]
    distiller = compiled(Distiller(matcher, alpha=0, gamma=0, scaling="none"))
    given = {"batch_size": len(pairs), "verbose": 0, "return_dict": True}
    found = distiller.evaluate(x, y, **given)
    scores = matcher.predict(x, verbose=0)[:, 0]
    weight = np.ones(len(pairs), np.float32)
    hinge = number(grouped_hinge(scores, y["label"], y["group"], weight))
    kernel = matcher.get_layer("logit").get_weights()[0]
    assert found["hard_loss"] == pytest.approx(hinge, rel=1e-5)
    assert found["loss"] == pytest.approx(hinge + 0.5 * (kernel**2).sum(), rel=1e-5)
    assert with_logits(matcher).predict(x, verbose=0)["score"].shape == (len(pairs),)
    two = keras.Model(inputs, [logit, logit])
    with pytest.raises(ValueError, match="must give one score"):
        Distiller(two)


def test_calling_the_distiller_is_calling_the_student(pairs):
    matcher = student()
    distiller = compiled(Distiller(matcher))
    inputs = pairs.ids.pad(np.arange(10))
    predicted = distiller.predict(inputs, verbose=0)
    assert predicted == pytest.approx(matcher.predict(inputs, verbose=0), abs=1e-6)
    assert predicted.shape == (10,)
    assert distiller.count_params() == matcher.count_params()
    assert len(distiller.trainable_weights) == len(matcher.trainable_weights)


def test_save_load_and_train_on(pairs, tmp_path):
    distiller = Distiller(student(dropout=0.0), beta=0.5, hard="both", margin=0.3)
    # Momentum is state to restore; unlike Adam it does not blow rounding up to a whole step.
    distiller.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9), jit_compile=False)
    batches = TrainingBatches(pairs, 16, steps=4)
    train(distiller, batches)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    inputs = pairs.ids.pad(np.arange(10))
    assert loaded.predict(inputs, verbose=0) == pytest.approx(
        distiller.predict(inputs, verbose=0), abs=1e-6
    )
    assert (loaded.beta, loaded.hard, loaded.margin) == (0.5, "both", 0.3)
    config = distiller.get_config()
    assert Distiller.from_config(config).beta == Distiller.from_config(config).beta == 0.5
    assert len(loaded.optimizer.variables) == len(distiller.optimizer.variables) > 9
    for one in (distiller, loaded):
        train(one, TrainingBatches(pairs, 16, steps=4, seed=5))
    assert loaded.predict(inputs, verbose=0) == pytest.approx(
        distiller.predict(inputs, verbose=0), abs=1e-5
    )
    distiller.save_weights(tmp_path / "own.weights.h5")
    fresh = Distiller(student(seed=8))
    fresh.load_weights(tmp_path / "own.weights.h5")
    assert fresh.predict(inputs, verbose=0) == pytest.approx(
        distiller.predict(inputs, verbose=0), abs=1e-6
    )


def test_keras_callbacks_work(pairs, tmp_path):
    seen = []
    distiller = compiled(Distiller(student()))
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs))),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", save_weights_only=True),
        keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9),
    ]
    batches = TrainingBatches(pairs, 16, steps=3)
    train(distiller, batches, epochs=5, callbacks=callbacks)
    assert len(seen) == 2  # stopped: nothing improves by 1e9
    assert set(seen[0]) == PARTS
    assert (tmp_path / "best.weights.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"alpha": -1}, "alpha=-1"),
        ({"scaling": "log"}, "'log'.*'exp'"),
        ({"hard": "listwise"}, "'listwise'.*'hinge'"),
        ({"alpha": 0, "beta": 0, "gamma": 0}, "nothing to learn from"),
    ],
)
def test_settings_that_cannot_be(arguments, part):
    with pytest.raises(ValueError, match=part):
        Distiller(student(), **arguments)


STEPS = """
import json, sys
import keras, numpy as np
from kdmatch.distillation.distiller import Distiller
from kdmatch.models.textcnn import TextCnnMatcher

matcher = TextCnnMatcher(
    vocabulary_size=20, embedding_dim=8, filters=4, widths=(1, 2), head_dim=8, dropout=0.0
)
generator = np.random.default_rng(0)
matcher.set_weights([generator.normal(0, 0.1, w.shape) for w in matcher.get_weights()])
distiller = Distiller(matcher, alpha=0.7, beta=1.3, gamma=0.4, hard="both")
distiller.compile(optimizer=keras.optimizers.SGD(0.02))
losses = []
for step in range(3):
    x = {n: generator.integers(1, 20, (12, 8)).astype("int32") for n in matcher.input_names}
    label = generator.integers(0, 3, 12).astype("float32")
    label[10:] = np.nan
    scores = {n: generator.normal(size=12).astype("float32") for n in ("teacher", "gbdt")}
    y = {"label": label, "group": np.arange(12, dtype="int32") // 4, "scores": scores}
    weight = generator.uniform(0.5, 2, 12).astype("float32")
    losses.append(
        distiller.train_on_batch(x, y, sample_weight=weight, return_dict=True)
    )
    distiller.reset_metrics()
losses = [{name: float(value) for name, value in logs.items()} for logs in losses]
print(json.dumps({"backend": keras.backend.backend(), "losses": losses}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("tensorflow") is None or find_spec("jax") is None, reason="needs both backends"
)
def test_both_backends_train_alike():
    runs = []
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        assert runs[-1]["backend"] == backend
    for one, other in zip(runs[0]["losses"], runs[1]["losses"], strict=True):
        assert set(one) == PARTS
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)
