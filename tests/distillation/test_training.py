"""A whole training: history, best weights, interruption, collapse."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.ids import PairIds
from kdmatch.distillation.callbacks import averaged_weights
from kdmatch.distillation.distiller import Distiller
from kdmatch.distillation.options import HardLoss
from kdmatch.distillation.training import Schedule, fit_distiller, predict_logits
from kdmatch.errors import CollapsedRunError, UserError
from kdmatch.models.matcher import with_logits
from kdmatch.models.textcnn import TextCnnMatcher

SCHEDULE = Schedule(
    steps=32,
    batch_size=24,
    learning_rate=5e-3,
    warmup=0.1,
    weight_decay=0.01,
    clip_norm=1.0,
    average=0.9,
    validate_every=8,
    patience=10,
    unlabelled_share=0.25,
    rows_per_query=6,
)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    """XLA takes longer for these shapes than the tests; `test_distiller` trains with it."""
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr("keras.src.trainers.trainer.model_supports_jit", lambda model: False)


@pytest.fixture
def pairs(random_pairs) -> ScoredPairs:
    return random_pairs(24, 6, unlabelled=48, longest=8)


@pytest.fixture
def valid(random_pairs) -> ScoredPairs:
    return random_pairs(10, 6, seed=1, longest=8)


def distiller(hard: HardLoss = "both") -> Distiller:
    keras.utils.set_random_seed(0)
    student = TextCnnMatcher(
        vocabulary_size=40, embedding_dim=8, filters=4, widths=(1, 2), head_dim=8, dropout=0.1
    )
    return Distiller(student, hard=hard)


def correlation(valid: ScoredPairs) -> Callable[[np.ndarray], float]:
    return lambda logits: float(np.corrcoef(logits, valid.label)[0, 1])


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as lines:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]


def test_history_and_best_weights(pairs, valid, tmp_path):
    seen: list[np.ndarray] = []
    values = iter([0.1, 0.7, 0.3, 0.5])

    def metric(logits: np.ndarray) -> float:
        seen.append(logits)
        return next(values)

    steps = []
    model = distiller()
    best = fit_distiller(
        model,
        pairs,
        SCHEDULE,
        valid.ids,
        metric,
        tmp_path / "run",
        advance=lambda step, message: steps.append(step),
    )
    assert best == 0.7
    assert sorted(set(steps)) == list(range(1, 33))
    kept = predict_logits(with_logits(model.student), valid.ids)
    assert kept == pytest.approx(seen[1], abs=1e-6)  # not the last epoch's
    assert np.abs(kept - seen[3]).max() > 1e-4
    rows = history(tmp_path / "run")
    assert list(rows[0]) == [
        "step",
        "seconds",
        "loss",
        "soft_loss",
        "hard_loss",
        "relevance_loss",
        "valid_auc",
        "learning_rate",
    ]
    assert [row["step"] for row in rows] == [8, 16, 24, 32]
    assert [row["valid_auc"] for row in rows] == [0.1, 0.7, 0.3, 0.5]
    assert all(row["loss"] > row["hard_loss"] > 0 for row in rows)
    assert rows[-1]["learning_rate"] == pytest.approx(0, abs=1e-6)
    assert 0 < rows[1]["learning_rate"] <= 5e-3
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


class Killed(Exception):
    pass


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_an_interrupted_run_ends_as_it_would_have(pairs, valid, tmp_path, average):
    schedule = replace(SCHEDULE, average=average)
    whole = distiller()
    best = fit_distiller(whole, pairs, schedule, valid.ids, correlation(valid), tmp_path / "whole")

    def die(step: int, message: str) -> None:
        if step == 20:  # in the third epoch
            raise Killed

    torn = tmp_path / "torn"
    with pytest.raises(Killed):
        fit_distiller(
            distiller(), pairs, schedule, valid.ids, correlation(valid), torn, advance=die
        )
    assert len(history(torn)) == 2
    resumed, steps = distiller(), []
    again = fit_distiller(
        resumed,
        pairs,
        schedule,
        valid.ids,
        correlation(valid),
        torn,
        advance=lambda step, message: steps.append(step),
    )
    assert set(steps) - {16} == set(range(17, 33))
    assert again == pytest.approx(best, abs=1e-6)
    for one, other in zip(whole.student.get_weights(), resumed.student.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    for one, other in zip(history(tmp_path / "whole"), history(torn), strict=True):
        del one["seconds"], other["seconds"]
        assert one == pytest.approx(other, abs=1e-5)

    finished = distiller()  # called once more there is nothing left to do
    before = (torn / "history.csv").read_text()
    assert fit_distiller(
        finished, pairs, schedule, valid.ids, correlation(valid), torn, advance=die
    ) == pytest.approx(best)
    assert (torn / "history.csv").read_text() == before
    for one, other in zip(whole.student.get_weights(), finished.student.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_the_moving_average_stands_in_only_while_it_is_validated(pairs):
    model = distiller()
    model.compile(
        optimizer=keras.optimizers.SGD(1e-3, use_ema=True, ema_momentum=0.5), jit_compile=False
    )
    batch = pairs.batch(np.arange(24))
    first = model.student.get_layer("logit").kernel
    raw = []
    for _ in range(3):
        model.train_on_batch(*batch)
        raw.append(keras.ops.convert_to_numpy(first))
    average = 0.25 * raw[0] + 0.25 * raw[1] + 0.5 * raw[2]
    with averaged_weights(model):
        assert keras.ops.convert_to_numpy(first) == pytest.approx(average, abs=1e-6)
        assert abs(average - raw[-1]).max() > 1e-5
    assert (keras.ops.convert_to_numpy(first) == raw[-1]).all()


def test_it_stops_when_nothing_improves(pairs, valid, tmp_path):
    values = iter([0.5, 0.6, 0.6, 0.4, 0.9])
    schedule = replace(SCHEDULE, steps=40, patience=2)
    best = fit_distiller(
        distiller(), pairs, schedule, valid.ids, lambda logits: next(values), tmp_path
    )
    assert best == 0.6
    assert len(history(tmp_path)) == 4
    # Called again it stays stopped, and asks for no further value.
    shutil.copy(tmp_path / "history.csv", tmp_path / "before.csv")
    assert (
        fit_distiller(
            distiller(), pairs, schedule, valid.ids, lambda logits: next(values), tmp_path
        )
        == 0.6
    )
    assert (tmp_path / "before.csv").read_text() == (tmp_path / "history.csv").read_text()
    assert next(values) == 0.9


def test_a_run_that_collapses_says_what_to_change(pairs, valid, tmp_path):
    model = distiller(hard="hinge")
    logit = model.student.get_layer("logit")
    logit.set_weights([np.zeros((8, 1)), np.array([0.3])])
    still = replace(SCHEDULE, learning_rate=0.0, weight_decay=0.0)
    with pytest.raises(CollapsedRunError, match=r"epoch 1.*0\.2913.*learning_rate") as caught:
        fit_distiller(model, pairs, still, valid.ids, correlation(valid), tmp_path / "a")
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)
    assert "training.hard: pointwise" in str(caught.value)
    model = distiller(hard="pointwise")
    model.student.get_layer("logit").set_weights([np.full((8, 1), np.nan), np.zeros(1)])
    with pytest.raises(CollapsedRunError, match=r"diverged in epoch 1.*learning_rate") as caught:
        fit_distiller(model, pairs, still, valid.ids, correlation(valid), tmp_path / "b")
    assert "training.hard" not in str(caught.value)


def test_logits_come_in_the_rows_order_whatever_the_batch(valid):
    scorer = with_logits(distiller().student)
    everything = keras.ops.convert_to_numpy(scorer(valid.ids.pad(np.arange(60)))["logit"])
    for tokens in (8, 200, 100_000):
        logits = predict_logits(scorer, valid.ids, batch_tokens=tokens)
        assert logits == pytest.approx(everything, abs=1e-6)


def test_one_short_row_makes_no_batch_of_long_ones_large():
    lengths = np.array([3] + [400] * 50, np.int32)
    values = np.ones(lengths.sum(), np.int32)
    ids = PairIds(
        {"query_ids": np.ones(len(lengths), np.int32), "document_ids": values},
        {"query_ids": np.ones(len(lengths), np.int32), "document_ids": lengths},
    )
    seen: list[int] = []

    class Scorer:
        def predict_on_batch(self, inputs):
            rows, width = inputs["document_ids"].shape
            seen.append(rows * width)
            return {"logit": np.arange(rows, dtype=np.float32)}

    predict_logits(Scorer(), ids, batch_tokens=4096)
    assert max(seen) <= 4096
    assert len(seen) > 2
