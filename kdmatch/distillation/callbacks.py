"""What happens at the end of an epoch: validation, collapse check, checkpoint, history."""

import contextlib
import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdmatch.distillation.options import HardLoss
from kdmatch.errors import CollapsedRunError
from kdmatch.files import whole

LOSSES = ("loss", "soft_loss", "hard_loss", "relevance_loss")


class Validation(keras.callbacks.Callback):
    """Scores the validation rows after each epoch and keeps the best weights.

    Args:
        score: callable returning the student's logits `(n,)` on the rows.
        metric: callable from those logits to the number to make large.
        patience: int. Epochs without a better value before training stops.
        name: str. Of the metric, in the logs.

    Attributes:
        best: float. Best value so far.
        best_weights: list of arrays, the student's weights then.
    """

    def __init__(
        self,
        score: Callable[[], np.ndarray],
        metric: Callable[[np.ndarray], float],
        patience: int,
        name: str = "valid_auc",
    ) -> None:
        super().__init__()
        self.score, self.metric, self.patience, self.name = score, metric, patience, name
        self.best, self.waited = -np.inf, 0
        self.best_weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with averaged_weights(self.model):
            logits = self.score()
            weights = self.model.student.get_weights()
        raise_if_collapsed(logits, epoch, logs or {}, self.model.hard)
        value = self.metric(logits)
        if logs is not None:
            logs[self.name] = value
        if value > self.best:
            self.best, self.waited, self.best_weights = value, 0, weights
        else:
            self.waited += 1
            if self.waited >= self.patience:
                self.model.stop_training = True


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """The optimizer's moving average in the place of the weights, where it keeps one.

    Reference:
        Polyak and Juditsky, "Acceleration of stochastic approximation by
        averaging", 1992.
    """
    if not model.optimizer.use_ema:
        yield
        return
    variables = model.optimizer._trainable_variables
    averages = model.optimizer._model_variables_moving_average
    kept = [keras.ops.convert_to_numpy(variable) for variable in variables]
    for variable, average in zip(variables, averages, strict=True):
        # By way of numpy: on JAX the two would share a buffer, which predicting gives away.
        variable.assign(keras.ops.convert_to_numpy(average))
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def raise_if_collapsed(
    logits: np.ndarray, epoch: int, logs: dict[str, Any], hard: HardLoss = "hinge"
) -> None:
    """Stop a run whose model scores all pairs alike, or not at all.

    Raises:
        CollapsedRunError: with what to change, given the hard loss it was trained by.
    """
    mend = "lower training.learning_rate or lengthen training.warmup"
    if hard == "hinge":
        mend += ", or set training.hard: pointwise or both"
    if not np.isfinite(logits).all():
        raise CollapsedRunError(f"training diverged in epoch {epoch + 1} (a score is NaN); {mend}")
    scores = np.tanh(logits)
    if len(scores) > 1 and scores.std() < 1e-3:
        raise CollapsedRunError(
            f"training collapsed in epoch {epoch + 1}: all scores are {scores.mean():.4f} "
            f"(hard loss {logs.get('hard_loss', float('nan')):.4f}); {mend}"
        )


class Checkpoint(keras.callbacks.Callback):
    """Everything needed to go on exactly, written atomically after each epoch.

    Holds the distiller's variables (dropout's seeds among them), the
    optimizer's, the validation's best weights, and the history so far.

    Args:
        path: Path of the `.npz`.
        validation: Validation, whose state is kept too.
        history: History, likewise.
    """

    def __init__(self, path: Path, validation: Validation, history: "History") -> None:
        super().__init__()
        self.path, self.validation, self.history = path, validation, history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        arrays = {f"model/{i}": v.numpy() for i, v in enumerate(self._variables("model"))}
        arrays |= {f"optimizer/{i}": v.numpy() for i, v in enumerate(self._variables("optimizer"))}
        arrays |= {f"best/{i}": v for i, v in enumerate(self.validation.best_weights)}
        state = {
            "epoch": epoch + 1,
            "best": float(self.validation.best),
            "waited": self.validation.waited,
            "stopped": bool(self.model.stop_training),
            "history": self.history.rows,
        }
        with whole(self.path) as partial:
            np.savez(partial, state=np.array(json.dumps(state)), **arrays)  # type: ignore[arg-type]

    def restore(self, model: keras.Model) -> tuple[int, bool]:
        """Load the checkpoint into `model`, if there is one.

        Returns:
            epoch to go on with, and whether training had already stopped.
        """
        if not self.path.exists():
            return 0, False
        self.set_model(model)
        model.optimizer.build(model.trainable_variables)
        with np.load(self.path) as arrays:
            state = json.loads(str(arrays["state"]))
            for part in ("model", "optimizer"):
                for i, variable in enumerate(self._variables(part)):
                    variable.assign(arrays[f"{part}/{i}"])
            count = sum(name.startswith("best/") for name in arrays.files)
            self.validation.best_weights = [arrays[f"best/{i}"] for i in range(count)]
        self.validation.best, self.validation.waited = state["best"], state["waited"]
        self.history.rows = state["history"]
        return state["epoch"], state["stopped"]

    def _variables(self, part: str) -> list[Any]:
        return self.model.variables if part == "model" else self.model.optimizer.variables


class History(keras.callbacks.Callback):
    """`history.csv`: one line an epoch: step, seconds, `LOSSES`, metric, learning_rate.

    Args:
        path: Path of the file.
        steps: int. Steps of an epoch.
        metric: str. Name of the validation metric in the logs.
    """

    def __init__(self, path: Path, steps: int, metric: str = "valid_auc") -> None:
        super().__init__()
        self.path, self.steps = path, steps
        self.columns = ("step", "seconds", *LOSSES, metric, "learning_rate")
        self.rows: list[dict[str, float]] = []
        self._begun = time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        before = self.rows[-1]["seconds"] if self.rows else 0.0
        self._begun = time.monotonic() - before

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row = {name: float(value) for name, value in (logs or {}).items() if name in self.columns}
        row["step"] = (epoch + 1) * self.steps
        row["seconds"] = round(time.monotonic() - self._begun, 2)
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rows.append(row)
        with self.path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)


class Progress(keras.callbacks.Callback):
    """Reports each finished step, for a progress bar.

    Args:
        advance: callable of (steps done, one line of metrics).
        metric: str. Name of the validation metric in the logs.
    """

    def __init__(self, advance: Callable[[int, str], None], metric: str = "valid_auc") -> None:
        super().__init__()
        self.advance, self.metric, self._epoch, self._said = advance, metric, 0, ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        steps = self.params["steps"] or 1
        self.advance(self._epoch * steps + batch + 1, self._said)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        name = self.metric.removeprefix("valid_")
        self._said = f"valid {'AUC' if name == 'auc' else name} {(logs or {})[self.metric]:.4f}"
        self.advance((epoch + 1) * (self.params["steps"] or 1), self._said)
