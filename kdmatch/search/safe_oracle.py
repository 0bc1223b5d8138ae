"""What KerasTuner's oracles lack: safe to kill, a budget of hours, the defaults tried first."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src.engine import conditions

from kdmatch.files import write_json

# KerasTuner 1.4.8 prints the values of each condition that it sends over gRPC.
conditions.__dict__["print"] = lambda *values: None

FAILURES_IN_A_ROW = 10


class SafeOracle(keras_tuner.Oracle):
    """What all three share, before the oracle class itself in a subclass's bases.

    Its files are written complete or not at all, and a reload mends what a
    kill between two of them left. The first trial has the config's own values.
    No trial begins once the hours are over or too many failed in a row.

    Attributes:
        first: values of the first trial.
        label: `Study.label` of the study whose trials these are.
        hours: budget of the search, all sessions together, or None.
        seconds: time of each ended trial, by its id.
        on_end: called after each trial.
    """

    trials: dict[str, Trial]
    first: dict[str, Any]
    hours: float | None
    on_end: Callable[[], None]

    def prepare(
        self, first: dict[str, Any], hours: float | None, on_end: Callable[[], None]
    ) -> None:
        """Set what the constructors of KerasTuner's oracles have no place for."""
        self.first, self.hours, self.on_end = first, hours, on_end
        self.seconds: dict[str, float] = {}
        self._spent, self._session = 0.0, time.monotonic()
        self._begun: dict[str, float] = {}
        self._ended_before = 0
        self.verbose = 0

    @property
    def label(self) -> str:
        return str(self.first["search"])

    @property
    def spent(self) -> float:
        """Seconds of all sessions of the search."""
        return self._spent + time.monotonic() - self._session

    @property
    def gave_up(self) -> bool:
        """Whether so many trials of this session failed in a row that the next would too."""
        ended = self.end_order[self._ended_before :]
        last = [self.trials[name].status for name in ended[-FAILURES_IN_A_ROW:]]
        return len(last) == FAILURES_IN_A_ROW and set(last) == {TrialStatus.FAILED}

    @property
    def waiting(self) -> bool:
        """Whether a trial that was begun waits for a worker."""
        return bool(self._retry_queue) and not self._over()

    @property
    def exhausted(self) -> bool:
        """Whether no trial would begin any more, whoever asks."""
        full = self.max_trials is not None and len(self.trials) >= self.max_trials
        return self._over() or (full and not self._retry_queue)

    def holds(self, tuner_id: str, trial_id: str) -> bool:
        """Whether a worker runs a trial; one that was thought lost does not any more."""
        trial = self.ongoing_trials.get(tuner_id)
        return trial is not None and trial.trial_id == trial_id

    def _over(self) -> bool:
        return self.gave_up or (self.hours is not None and self.spent >= 3600 * self.hours)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        found = super().populate_space(trial_id)
        if not self.trials and found["status"] == TrialStatus.RUNNING:
            rung = {name: v for name, v in found["values"].items() if name.startswith("tuner/")}
            found["values"] = {**self.first, **rung}
        return found

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        if tuner_id not in self.ongoing_trials and self._over():
            self.tuner_ids.discard(tuner_id)
            return Trial(self.get_space(), trial_id="none", status=TrialStatus.STOPPED)
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            self._begun[trial.trial_id] = time.monotonic()
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        reason = Path(self._get_trial_dir(trial.trial_id)) / "failed.txt"
        if trial.status == TrialStatus.FAILED and not trial.message and reason.exists():
            trial.message = reason.read_text("utf-8")  # KerasTuner's protocol does not carry it
        begun = self._begun.pop(trial.trial_id, time.monotonic())
        self.seconds[trial.trial_id] = round(time.monotonic() - begun, 2)
        super().end_trial(trial)
        self.on_end()

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "spent": self.spent, "seconds": self.seconds}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._spent, self._session = state["spent"], time.monotonic()
        self.seconds = state["seconds"]

    def save(self) -> None:
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        write_json(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def reload(self) -> None:
        super().reload()
        for name, trial in sorted(self.trials.items()):
            if name not in self.start_order:
                self.start_order.append(name)
            if trial.status == TrialStatus.RUNNING:
                if name not in self._retry_queue:
                    self._retry_queue.append(name)
            elif name in self._retry_queue and trial.status != TrialStatus.INVALID:
                self._retry_queue.remove(name)
                if name not in self.end_order:
                    self.end_order.append(name)
        self._ended_before = len(self.end_order)


@contextlib.contextmanager
def counting_as_completed(trials: Mapping[Trial, float]) -> Iterator[None]:
    """Trials that count, for a while, as completed with other scores than theirs."""
    kept = [(trial, trial.status, trial.score) for trial in trials]
    for trial, score in trials.items():
        trial.status, trial.score = TrialStatus.COMPLETED, score
    try:
        yield
    finally:
        for trial, status, score in kept:
            trial.status, trial.score = status, score
