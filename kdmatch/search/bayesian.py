"""Bayesian optimization that knows what its trials' scores are worth."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle

from kdmatch.search.callbacks import STOPPED, read_values
from kdmatch.search.safe_oracle import SafeOracle, counting_as_completed

# Lower scores than the median by so many times the upper half's spread are all as bad.
_FLOOR_SPREADS = 3.0
_LEAST_SPREAD = 1e-3


class BayesianSearch(SafeOracle, BayesianOptimizationOracle):
    """Gaussian process with upper confidence bound; a point tried before is drawn anew.

    KerasTuner's own believes every score. Here a trial that the median stopped
    has what others gained after that epoch on top (it was cut short, not worse
    by so much); scores far below the median count as a floor, for outliers would
    flatten all differences that matter; and a trial that failed counts as worse than the
    worst, where KerasTuner passes over it and would ask for the same point
    again and again. Trials that run, on other workers, are predicted from those
    that ended.
    """

    def _vectorize_trials(self) -> tuple[np.ndarray, np.ndarray]:
        worth = self._worth()
        if not worth:
            return super()._vectorize_trials()
        running = set(self.ongoing_trials.values())
        vectorize = BayesianOptimizationOracle._vectorize_trials
        view = copy.copy(self)  # others ask this one for its trials meanwhile
        with counting_as_completed(worth):
            view.trials = {name: one for name, one in self.trials.items() if one in worth}
            x, y = vectorize(view)
            if running:
                self.gpr.fit(x, y)  # by which KerasTuner predicts those that run
                view.trials |= {n: one for n, one in self.trials.items() if one in running}
                x, y = vectorize(view)
        return x, y

    def _worth(self) -> dict[Trial, float]:
        """The ended trials' scores as the process should see them."""
        running = set(self.ongoing_trials.values())
        ended = [trial for trial in self.trials.values() if trial not in running]
        completed = [trial for trial in ended if trial.status == TrialStatus.COMPLETED]
        stopped = {t for t in completed if (self._folder(t) / STOPPED).exists()}
        curves = {trial: self._curve(trial) for trial in completed}
        full = [trial for trial in completed if trial not in stopped]
        worth: dict[Trial, float] = {}
        for trial in completed:
            epochs = len(curves[trial])
            gains = [t.score - max(curves[t][:epochs]) for t in full if len(curves[t]) > epochs > 0]
            worth[trial] = trial.score + (np.median(gains) if trial in stopped and gains else 0.0)
        if worth:
            middle, upper = np.quantile(list(worth.values()), [0.5, 0.75])
            spread = upper - middle
            if spread > 0:  # else the upper half ties, and says nothing of how low is too low
                floor = middle - _FLOOR_SPREADS * spread
                worth = {trial: max(score, floor) for trial, score in worth.items()}
            failed = [trial for trial in ended if trial.status == TrialStatus.FAILED]
            worth |= dict.fromkeys(failed, min(worth.values()) - max(spread, _LEAST_SPREAD))
        return worth

    def _folder(self, trial: Trial) -> Path:
        return Path(self._get_trial_dir(trial.trial_id))

    def _curve(self, trial: Trial) -> list[float]:
        return read_values(self._folder(trial) / "history.csv", f"valid_{self.objective.name}")

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        found = super().populate_space(trial_id)
        if found["values"] and self._duplicate(found["values"]):
            return self._random_populate_space()
        return found
