"""KerasTuner's oracles, made safe to kill, with a budget of hours and the defaults tried first."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle
from keras_tuner.src.engine import conditions

from kdmatch.files import write_json
from kdmatch.pipeline.config.search import SearchConfig

# KerasTuner 1.4.8 prints the values of each condition that it sends over gRPC.
conditions.__dict__["print"] = lambda *values: None

FAILURES_IN_A_ROW = 10
DEFAULT_TRIALS = 60


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


class BayesianSearch(SafeOracle, BayesianOptimizationOracle):
    """Gaussian process with upper confidence bound; a point tried before is drawn anew.

    A trial that failed counts as the worst that did not. KerasTuner passes over it, and would
    ask for the same point, or for one just beside it, again and again.
    """

    def _vectorize_trials(self) -> tuple[np.ndarray, np.ndarray]:
        scores = [t.score for t in self.trials.values() if t.status == TrialStatus.COMPLETED]
        failed = [t for t in self.trials.values() if t.status == TrialStatus.FAILED]
        if not scores:
            return super()._vectorize_trials()
        worst = (max if self.objective.direction == "min" else min)(scores)
        for trial in failed:
            trial.status, trial.score = TrialStatus.COMPLETED, worst
        try:
            return super()._vectorize_trials()
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        found = super().populate_space(trial_id)
        if found["values"] and self._duplicate(found["values"]):
            return self._random_populate_space()
        return found


class HyperbandSearch(SafeOracle, HyperbandOracle):
    """Many short trials, the best of them carried on."""


class RandomSearch(SafeOracle, RandomSearchOracle):
    """Values drawn from the ranges."""


def make_oracle(
    search: SearchConfig,
    space: keras_tuner.HyperParameters,
    on_end: Callable[[], None] = lambda: None,
) -> SafeOracle:
    """The oracle that a config asks for.

    Bayesian optimization draws a quarter of the trials at random first (at
    most KerasTuner's three a dimension, which could be all of them), and takes
    a twentieth of the variance for noise, since two seeds of one setting
    differ by about as much.
    """
    trials = search.trials or (None if search.hours else DEFAULT_TRIALS)
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(search.objective, "max"),
        "hyperparameters": space,
        "seed": search.seed + 1,  # KerasTuner takes 0 for no seed
        "allow_new_entries": False,
        "max_retries_per_trial": 2,
        "max_consecutive_failed_trials": 10**9,
    }
    oracle: SafeOracle
    if search.tuner == "hyperband":
        oracle = HyperbandSearch(max_epochs=search.epochs, hyperband_iterations=10**6, **common)
        oracle.max_trials = trials
    elif search.tuner == "random":
        oracle = RandomSearch(max_trials=trials, **common)
    else:
        dimensions = len(space.space) - 1
        points = min(3 * dimensions, max(4, (trials or 4 * dimensions) // 4))
        oracle = BayesianSearch(max_trials=trials, num_initial_points=points, alpha=0.05, **common)
    oracle.prepare(dict(space.values), search.hours, on_end)
    return oracle
