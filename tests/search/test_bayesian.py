"""Bayesian search: what it makes of scores, and that it finds what chance does not."""

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus

from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.search.bayesian import BayesianSearch
from kdmatch.search.oracles import make_oracle

from .oracles import end, make, run_one


def test_bayesian_search_finds_what_chance_does_not(tmp_path: Path) -> None:
    oracle = make(tmp_path, tuner="bayesian", trials=16)
    best = max(run_one(oracle).hyperparameters.values["alpha"] for _ in range(16))
    assert best > 0.98


def test_bayesian_search_leaves_a_region_where_trials_fail(tmp_path: Path) -> None:
    """The objective rises up to where every training collapses."""
    oracle = make(tmp_path, tuner="bayesian", trials=40)
    alphas = []
    for _ in range(40):
        trial = oracle.create_trial("t")
        alphas.append(trial.hyperparameters.values["alpha"])
        if alphas[-1] > 0.8:
            trial.status, trial.message = TrialStatus.FAILED, "collapsed"
        else:
            oracle.update_trial(trial.trial_id, {"auc": alphas[-1]})
            trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    assert not oracle.gave_up
    tried = alphas[12:]
    assert sum(alpha > 0.8 for alpha in tried) < len(tried) / 3
    assert max(alpha for alpha in tried if alpha <= 0.8) > 0.7
    statuses = [trial.status for trial in oracle.trials.values()]
    assert statuses.count(TrialStatus.FAILED) == sum(alpha > 0.8 for alpha in alphas)


def test_bayesian_search_sees_what_a_stopped_trial_might_have_reached(tmp_path: Path) -> None:
    oracle = make(tmp_path, tuner="bayesian", trials=20)
    assert isinstance(oracle, BayesianSearch)
    for last in (0.73, 0.74, 0.75):
        end(oracle, "t", [0.60, 0.70, last])
    end(oracle, "t", [0.59], stopped=True)
    end(oracle, "t", [0.5, 0.5, 0.5])
    run_one(oracle, fail=True)
    worth = {trial.trial_id: score for trial, score in oracle._worth().items()}
    assert [worth[f"{i:02}"] for i in range(3)] == [0.73, 0.74, 0.75]
    assert worth["03"] == pytest.approx(0.59 + 0.135)  # what others gained since
    assert worth["04"] == pytest.approx(0.73 - 3 * 0.01)  # the floor
    assert worth["05"] == pytest.approx(worth["04"] - 0.01)  # failed: worse than all
    x, y = oracle._vectorize_trials()
    assert len(x) == len(y) == 6
    assert [oracle.trials[f"{i:02}"].score for i in (3, 4, 5)] == [0.59, 0.5, None]


def test_bayesian_search_predicts_running_trials_from_ended_ones(
    tmp_path: Path, monkeypatch
) -> None:
    oracle = make(tmp_path, tuner="bayesian", trials=20)
    for _ in range(4):
        run_one(oracle)
    for worker in ("a", "b"):
        oracle.create_trial(worker)
    assert isinstance(oracle, BayesianSearch)
    scores = [trial.score for trial in oracle.trials.values() if trial.score is not None]
    fit, held = oracle.gpr.fit, []

    def fit_and_look(*arguments: Any) -> Any:
        held.append(len(oracle.trials))  # what a worker's call would find meanwhile
        return fit(*arguments)

    monkeypatch.setattr(oracle.gpr, "fit", fit_and_look)
    _, y = oracle._vectorize_trials()
    assert (len(y), held) == (6, [6])
    # Not 0 plus 1, what a process says that has seen nothing.
    assert all(-max(scores) - 0.5 < predicted < -min(scores) + 0.5 for predicted in y[4:])
    assert len(oracle.trials) == 6


def test_where_the_upper_half_ties_lower_scores_still_differ(tmp_path: Path) -> None:
    """Coarse metrics tie; then there is no spread to measure a floor by."""
    oracle = make(tmp_path, tuner="bayesian", trials=20)
    assert isinstance(oracle, BayesianSearch)
    for last in (0.2, 0.5, 0.9, 0.9, 0.9, 0.9):
        end(oracle, "t", [last])
    run_one(oracle, fail=True)
    worth = [worth for _, worth in sorted(oracle._worth().items(), key=lambda x: x[0].trial_id)]
    assert worth[:6] == [0.2, 0.5, 0.9, 0.9, 0.9, 0.9]
    assert worth[6] < 0.2


def test_bayesian_search_weighs_points_that_can_be_tried(tmp_path: Path) -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("soft", ["mse", "ranknet", "listwise"])
    space.Float("rate", 1e-4, 4e-3, default=1e-3, sampling="log")
    space.Float("temperature", 0.5, 4.0, parent_name="soft", parent_values=["ranknet", "listwise"])
    space.Int("filters", 64, 256)
    oracle = make_oracle(SearchConfig(tuner="bayesian", trials=60), space)
    assert isinstance(oracle, BayesianSearch)
    best = np.array([[0.5, 0.3, 0.9, 0.2], [1 / 6, 1.0, 0.4, 0.0]])
    points = oracle._candidates(best, np.random.default_rng(0))
    assert points.min() >= 0
    assert points.max() <= 1
    assert set(np.round(points[:, 0], 6)) == {0.166667, 0.5, 0.833333}
    does_not_count = np.isclose(points[:, 0], 1 / 6)
    default = oracle._nonfixed_space()[2].value_to_prob(0.5)
    assert (points[does_not_count, 2] == default).all()
    assert np.unique(points[~does_not_count, 2]).size > 1000
    for point in points[::500]:
        values = oracle._vector_to_values(point)
        assert ("temperature" in values) == (values["soft"] != "mse")
    near = np.linalg.norm(points[:, None] - best, axis=2).min(axis=1) < 0.1
    assert near[2000:].mean() > 5 * near[:2000].mean()


@pytest.mark.parametrize("tuner", ["bayesian", "random"])
def test_bayesian_search_finds_out_which_parameters_matter(tmp_path: Path, tuner: str) -> None:
    """Two of six do, and one choice; scores are noisy. Chance stays far below."""
    space = keras_tuner.HyperParameters()
    for name in "abcdef":
        space.Float(name, 0.0, 1.0)
    space.Choice("kind", ["x", "y", "z"])
    oracle = make_oracle(SearchConfig(tuner=tuner, trials=28), space)
    oracle._set_project_dir(str(tmp_path), "study")
    noise, reached = np.random.default_rng(0), []
    for _ in range(28):
        trial = oracle.create_trial("t")
        at = trial.hyperparameters.values
        reached.append(1 - (at["b"] - 0.7) ** 2 - (at["f"] - 0.2) ** 2 - 0.3 * (at["kind"] != "y"))
        oracle.update_trial(trial.trial_id, {"auc": reached[-1] + noise.normal(0, 0.01)})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    late = np.median(reached[16:])
    assert late > 0.95 if tuner == "bayesian" else late < 0.8
