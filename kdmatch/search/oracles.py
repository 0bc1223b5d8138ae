"""KerasTuner's oracles as a config asks for them."""

import math
from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import HyperbandOracle, RandomSearchOracle

from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.search.bayesian import BayesianSearch
from kdmatch.search.safe_oracle import SafeOracle, counting_as_completed

DEFAULT_TRIALS = 60


class HyperbandSearch(SafeOracle, HyperbandOracle):
    """Many short trials, the best of them carried on.

    A trial that failed counts as the worst of its rung; KerasTuner would wait for it, and
    carry none of its bracket to the end.
    """

    def begin_at(self, epochs: int) -> None:
        """Make the shortest rung so many epochs long; before the first trial."""
        self.min_epochs = epochs
        self._current_bracket = self._get_num_brackets() - 1
        self._brackets: list[dict[str, Any]] = []
        self._start_new_bracket()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        failed = [t for t in self.trials.values() if t.status == TrialStatus.FAILED]
        with counting_as_completed(dict.fromkeys(failed, -math.inf)):
            return super().populate_space(trial_id)


class RandomSearch(SafeOracle, RandomSearchOracle):
    """Values drawn from the ranges."""


def make_oracle(
    search: SearchConfig,
    space: keras_tuner.HyperParameters,
    on_end: Callable[[], None] = lambda: None,
) -> SafeOracle:
    """The oracle that a config asks for.

    Bayesian optimization draws a quarter of the trials at random first (at most KerasTuner's three
    a dimension, which could be all of them). No rung of Hyperband is shorter than the longest
    warm-up, or it would prefer short ones.
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
        warmup = [one.max_value for one in space.space if one.name == "training.warmup"]
        oracle.begin_at(max(1, math.ceil(search.epochs * max(warmup, default=0.0))))
        oracle.max_trials = trials
    elif search.tuner == "random":
        oracle = RandomSearch(max_trials=trials, **common)
    else:
        dimensions = len(space.space) - 1
        points = min(3 * dimensions, max(4, (trials or 4 * dimensions) // 4))
        oracle = BayesianSearch(max_trials=trials, num_initial_points=points, **common)
    oracle.prepare(dict(space.values), search.hours, on_end)
    return oracle
