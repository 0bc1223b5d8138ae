"""How a trial ends before its last step, and how it says that it is alive."""

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

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
    """Calls `beat` between batches, every few seconds.

    Args:
        beat: callable.
        every: float. Seconds.
    """

    def __init__(self, beat: Callable[[], None], every: float = 5.0) -> None:
        super().__init__()
        self.beat, self.every, self._last = beat, every, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if time.monotonic() - self._last >= self.every:
            self.beat()
            self._last = time.monotonic()


def read_values(history: Path, metric: str) -> list[float]:
    """The objective after each epoch of a trial; what cannot be read is left out."""
    try:
        with history.open(encoding="utf-8", newline="") as file:
            return [float(row[metric]) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, TypeError):
        return []
