"""Bayesian optimization that knows what its trials' scores are worth."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from keras_tuner.engine.hyperparameters import Choice
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from kdmatch.search.callbacks import STOPPED, read_values
from kdmatch.search.safe_oracle import SafeOracle, counting_as_completed

# Lower scores than the median by so many times the upper half's spread are all as bad.
_FLOOR_SPREADS = 3.0
_LEAST_SPREAD = 1e-3
# Of a process that knows its own noise and lengths; KerasTuner's knows neither and takes 2.6.
_CONFIDENCE = 1.0
_RANDOM, _NEAR_BEST, _BEST, _STEPS = 2000, 200, 5, (0.05, 0.15, 0.3)


class BayesianSearch(SafeOracle, BayesianOptimizationOracle):
    """Gaussian process with upper confidence bound; a point tried before is not tried again.

    Each parameter has a length of its own, for most matter little, and the noise of a score is
    estimated. The next point is the best of many that could be tried as they are: random ones and
    neighbours of the best trials, choices chosen and what does not count at its default.
    KerasTuner's process has one length for all parameters, and rounds what it finds between
    points.

    KerasTuner's own also believes every score. Here a trial that the median stopped
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

    def _make_gpr(self) -> GaussianProcessRegressor:
        lengths = np.ones(len(self._nonfixed_space()))
        kernel = Matern(nu=2.5, length_scale=lengths, length_scale_bounds=(0.1, 20.0))
        return GaussianProcessRegressor(
            kernel=kernel + WhiteKernel(0.05, (1e-3, 0.5)),
            n_restarts_optimizer=2,
            normalize_y=True,
            alpha=1e-6,
            random_state=self.seed,
        )

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        completed = sum(t.status == TrialStatus.COMPLETED for t in self.trials.values())
        if completed < self.num_initial_points:
            return super().populate_space(trial_id)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            # A length or the noise at its bound is no fault. Also fits, for trials that run.
            x, y = map(np.nan_to_num, self._vectorize_trials())
            self.gpr.fit(x, y)
        best = x[np.argsort(self.gpr.predict(x), kind="stable")[:_BEST]]
        points = self._candidates(best, np.random.default_rng([self.seed, len(self.trials)]))
        mean, deviation = self.gpr.predict(points, return_std=True)
        for point in points[np.argsort(mean - _CONFIDENCE * deviation)]:
            values = self._vector_to_values(point)
            if not self._duplicate(values):
                return {"status": TrialStatus.RUNNING, "values": values}
        return self._random_populate_space()

    def _candidates(self, best: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Points that could be tried, `(many, parameters)` in [0, 1]: random, and near the best."""
        space = self._nonfixed_space()
        is_choice = np.array([isinstance(one, Choice) for one in space])
        parts = [generator.random((_RANDOM, len(space)))]
        for centre in best:
            for step in _STEPS:
                shape = (_NEAR_BEST, len(space))
                moved = generator.random(shape) < 0.5
                near = np.clip(centre + moved * step * generator.normal(size=shape), 0.0, 1.0)
                drawn = np.where(generator.random(shape) < step, generator.random(shape), centre)
                parts.append(np.where(is_choice, drawn, near))
        points = np.concatenate(parts)
        for i in np.flatnonzero(is_choice):
            points[:, i] = _middle(points[:, i], len(space[i].values))
        return self._without_what_does_not_count(points)

    def _without_what_does_not_count(self, points: np.ndarray) -> np.ndarray:
        """A parameter has its default where its parent's choice leaves it out, as in trials."""
        space = self._nonfixed_space()
        column = {parameter.name: i for i, parameter in enumerate(space)}
        for i, parameter in enumerate(space):
            for condition in parameter.conditions:
                parent = space[column[condition.name]]
                wanted = [parent.value_to_prob(value) for value in condition.values]
                counts = np.isclose(points[:, column[condition.name], None], wanted).any(axis=1)
                points[~counts, i] = parameter.value_to_prob(parameter.default)
        return points


def _middle(share: np.ndarray, choices: int) -> np.ndarray:
    """The middle of the choice's part of [0, 1] that a share lies in."""
    return (np.minimum(np.floor(share * choices), choices - 1) + 0.5) / choices
