"""The Distiller as a user of Keras meets it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from kdmatch.data.batches import ScoredPairs, TrainingBatches
from kdmatch.distillation.distiller import Distiller
from kdmatch.distillation.losses import exponential_scaling, grouped_hinge, masked_mse
from kdmatch.models.matcher import with_logits
from kdmatch.models.textcnn import TextCnnMatcher

PARTS = {"loss", "soft_loss", "hard_loss", "relevance_loss"}


def student(dropout: float = 0.1, seed: int = 0) -> TextCnnMatcher:
    keras.utils.set_random_seed(seed)
    return TextCnnMatcher(
        vocabulary_size=40, embedding_dim=8, filters=4, widths=(1, 2), head_dim=8, dropout=dropout
    )


def compiled(distiller: Distiller, **arguments) -> Distiller:
    # Compiling ahead for each of many shapes would take longer than the tests.
    distiller.compile(optimizer=keras.optimizers.Adam(5e-3), **{"jit_compile": False, **arguments})
    return distiller


def train(distiller: Distiller, batches: TrainingBatches, **arguments) -> dict[str, list[float]]:
    return distiller.fit(
        batches.for_fit(), steps_per_epoch=len(batches), shuffle=False, verbose=0, **arguments
    ).history


@pytest.fixture
def pairs(random_pairs) -> ScoredPairs:
    return random_pairs(24, 6, unlabelled=48)


def whole(pairs: ScoredPairs) -> tuple:
    return pairs.batch(np.arange(len(pairs)))


def number(tensor) -> float:
    return float(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("arguments", [{}, {"jit_compile": True}, {"steps_per_execution": 5}])
def test_fit_lowers_every_loss(pairs, random_pairs, arguments):
    if arguments.get("jit_compile"):
        pairs = random_pairs(24, 6, unlabelled=48, longest=8)  # one shape
    distiller = compiled(Distiller(student(dropout=0.0), hard="both"), **arguments)
    x, y, weight = whole(pairs)
    before = distiller.evaluate(
        x, y, sample_weight=weight, batch_size=len(pairs), verbose=0, return_dict=True
    )
    batches = TrainingBatches(pairs, 32, unlabelled_share=0.25, steps=20)
    history = train(distiller, batches, epochs=5)
    assert set(history) == PARTS
    assert all(len(values) == 5 for values in history.values())
    after = distiller.evaluate(
        x, y, sample_weight=weight, batch_size=len(pairs), verbose=0, return_dict=True
    )
    assert all(after[name] < before[name] for name in PARTS)


@pytest.mark.parametrize("hard", ["hinge", "pointwise", "both"])
@pytest.mark.parametrize("scaling", ["exp", "none"])
def test_the_loss_is_the_weighted_sum(pairs, hard, scaling):
    matcher = student()
    distiller = compiled(
        Distiller(matcher, alpha=0.5, beta=2.0, gamma=0.25, margin=0.4, scaling=scaling, hard=hard)
    )
    x, y, _ = whole(pairs)
    weight = np.random.default_rng(0).uniform(0, 2, len(pairs)).astype(np.float32)
    both = with_logits(matcher)(x)
    logit, score = both["logit"], both["score"]
    soft = number(masked_mse(logit, y["scores"]["teacher"], weight))
    relevance = number(masked_mse(logit, y["scores"]["gbdt"], weight))
    hinge = number(grouped_hinge(score, y["label"], y["group"], weight, 0.4))
    pointwise = number(masked_mse(logit, y["label"], weight))
    expected_hard = {"hinge": hinge, "pointwise": pointwise, "both": hinge + pointwise}[hard]
    total = 0.5 * soft + 2.0 * expected_hard + 0.25 * relevance
    if scaling == "exp":
        total = number(exponential_scaling(np.float32(total)))
    got = distiller.evaluate(
        x, y, sample_weight=weight, batch_size=len(pairs), verbose=0, return_dict=True
    )
    assert got == pytest.approx(
        {"loss": total, "soft_loss": soft, "hard_loss": expected_hard, "relevance_loss": relevance},
        rel=1e-4,
    )


def test_labels_alone_need_no_scores(pairs):
    pairs.scores = {}
    batches = TrainingBatches(pairs, 16, steps=3)
    history = train(compiled(Distiller(student(), alpha=0, gamma=0)), batches)
    assert history["hard_loss"][0] > 0
    assert history["loss"][0] == pytest.approx(np.expm1(history["hard_loss"][0]), rel=0.05)
    distiller = compiled(Distiller(student(), alpha=1, gamma=0, soft_score="bert"))
    with pytest.raises(ValueError, match=r"no score 'bert'.*soft loss"):
        train(distiller, batches)


@pytest.mark.parametrize("soft", ["mse", "listwise"])
def test_columns_of_a_data_frame_are_flattened(pairs, soft):
    """Against a logit `(batch,)` a column `(batch, 1)` would be broadcast to a square."""
    x, y, weight = whole(pairs)
    weight = np.random.default_rng(0).uniform(0, 2, len(pairs)).astype(np.float32)
    distiller = compiled(Distiller(student(), hard="both", soft=soft))
    given = {"batch_size": len(pairs), "verbose": 0, "return_dict": True}
    wanted = distiller.evaluate(x, y, sample_weight=weight, **given)
    columns = keras.tree.map_structure(lambda one: np.asarray(one, np.float64)[:, None], y)
    columns["group"] = y["group"][:, None]
    found = distiller.evaluate(x, columns, sample_weight=weight[:, None], **given)
    assert found == pytest.approx(wanted, rel=1e-6)
    y["scores"]["gbdt"] = np.zeros((len(pairs), 2), np.float32)
    with pytest.raises(ValueError, match=r"scores\['gbdt'\] has shape \(\d+, 2\)"):
        distiller.evaluate(x, y, **given)


@pytest.mark.parametrize(
    ("arguments", "lacks", "said"),
    [
        ({}, "label", "has no 'label' .it has group, scores.*hard loss"),
        ({"hard": "hinge"}, "group", "has no 'group'.*hard loss"),
        ({"beta": 0, "soft": "listwise"}, "group", "has no 'group'.*soft loss"),
        ({}, "scores", "has no score 'teacher' .it has nothing.*soft loss"),
        ({"beta": 0}, "label", None),
        ({"hard": "pointwise"}, "group", None),
        ({"alpha": 0, "gamma": 0}, "scores", None),
    ],
)
def test_only_what_a_loss_reads_must_be_there(pairs, arguments, lacks, said):
    x, y, _ = whole(pairs)
    y = {name: value for name, value in y.items() if name != lacks}
    distiller = compiled(Distiller(student(), **arguments))
    given = {"batch_size": len(pairs), "verbose": 0}
    if said is None:
        assert distiller.fit(x, y, **given).history["loss"][0] > 0
    else:
        with pytest.raises(ValueError, match=said):
            distiller.fit(x, y, **given)


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


def test_losses_are_means_over_batches_in_evaluation_too(pairs):
    x, y, _ = whole(pairs)
    distiller = compiled(Distiller(student(), alpha=0, gamma=0, scaling="none"))
    rows = slice(0, 144 // 4 * 4 - 20)  # the last batch is a short one
    x, y = (keras.tree.map_structure(lambda one: one[rows], part) for part in (x, y))
    found = distiller.evaluate(x, y, batch_size=48, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(found["hard_loss"], rel=1e-6)


def test_a_loss_without_weight_is_still_shown(pairs):
    batches = TrainingBatches(pairs, 16, steps=2)
    history = train(compiled(Distiller(student(), alpha=0, gamma=0)), batches)
    assert history["soft_loss"][0] > 0


def test_rows_without_labels_or_scores_do_no_harm(pairs):
    rows = np.flatnonzero(np.isnan(pairs.label))
    pairs.scores["teacher"][rows] = np.nan
    pairs.scores["gbdt"][rows[1:]] = np.nan
    x, y, weight = pairs.batch(rows)
    matcher = student()
    distiller = compiled(Distiller(matcher, hard="both"))
    distiller.fit(x, y, sample_weight=weight, batch_size=len(rows), epochs=2, verbose=0)
    assert all(np.isfinite(w).all() for w in matcher.get_weights())
    before = matcher.get_weights()
    pairs.scores["gbdt"][rows] = np.nan  # nothing at all to learn from
    x, y, weight = pairs.batch(rows)
    logs = compiled(Distiller(matcher)).fit(
        x, y, sample_weight=weight, batch_size=len(rows), verbose=0
    )
    assert logs.history["loss"] == [0.0]
    for one, other in zip(before, matcher.get_weights(), strict=True):
        assert (one == other).all()


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
