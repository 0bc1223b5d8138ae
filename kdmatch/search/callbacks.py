"""How a trial ends before its last step, and how it says that it is alive."""

import csv
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

STOPPED = "stopped.txt"  # in the folder of a trial that `MedianStop` ended
_FEWEST = 4


class MedianStop(keras.callbacks.Callback):
    """Stops a trial whose best value lies below the median of what others had by then.

    The others' values are the means of their epochs up to the same one.

    Args:
        others: callable returning each other trial's values, an epoch each.
        after: int. Epochs that every trial may have.
        metric: str. Name of the objective in the logs.

    Attributes:
        stopped: bool. Whether it stopped the trial.

    Reference:
        Golovin et al., "Google Vizier: a service for black-box optimization",
        2017.
    """

    def __init__(self, others: Callable[[], Sequence[Sequence[float]]], after: int, metric: str):
        super().__init__()
        self.others, self.after, self.metric = others, after, metric
        self.best, self.stopped = -np.inf, False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.best = max(self.best, (logs or {})[self.metric])
        epochs = epoch + 1
        if epochs < self.after:
            return
        means = [np.mean(seen[:epochs]) for seen in self.others() if len(seen) >= epochs]
        if len(means) >= _FEWEST and self.best < np.median(means):
            self.stopped = self.model.stop_training = True


class EpochLimit(keras.callbacks.Callback):
    """Stops after an epoch: a rung of Hyperband. The schedule stays that of the whole training.

    Args:
        epochs: int.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch + 1 >= self.epochs:
            self.model.stop_training = True


class Heartbeat(keras.callbacks.Callback):
    """Calls `beat` every few seconds from a thread, which lives as long as the context.

    A long validation does not silence it, a training that hangs does: no batch
    for `silent_after` seconds. What `beat` raises is raised after the next batch,
    or at the end.

    Args:
        beat: callable.
        every: float. Seconds.
        silent_after: float. Seconds.
    """

    def __init__(
        self, beat: Callable[[], None], every: float = 5.0, silent_after: float = 1800.0
    ) -> None:
        super().__init__()
        self.beat, self.every, self.silent_after = beat, every, silent_after
        self._over, self._moved = threading.Event(), time.monotonic()
        self._error: Exception | None = None

    def __enter__(self) -> "Heartbeat":
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        if kind is None:
            self._raise()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._moved = time.monotonic()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _beat(self) -> None:
        while self._error is None and not self._over.wait(self.every):
            if time.monotonic() - self._moved < self.silent_after:
                try:
                    self.beat()
                except Exception as error:
                    self._error = error


def read_values(history: Path, metric: str) -> list[float]:
    """The objective after each epoch of a trial; what cannot be read is left out."""
    try:
        with history.open(encoding="utf-8", newline="") as file:
            return [float(row[metric]) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, TypeError):
        return []
