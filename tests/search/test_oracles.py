"""The oracles: safe to kill between any two writes, with a budget, the defaults first."""

import json
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import Trial, TrialStatus

from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.search.bayesian import BayesianSearch
from kdmatch.search.oracles import make_oracle
from kdmatch.search.record import with_own_values
from kdmatch.search.safe_oracle import FAILURES_IN_A_ROW, SafeOracle


def make(folder: Path, **search: Any) -> SafeOracle:
    space = keras_tuner.HyperParameters()
    space.Fixed("search", "albert-0")
    space.Float("alpha", 0.0, 1.0, default=0.25)
    space.Choice("hard", ["hinge", "both"], default="both")
    oracle = make_oracle(SearchConfig(**search), space)
    oracle._set_project_dir(str(folder), "study")
    if (folder / "study" / "oracle.json").exists():
        oracle.reload()
    return oracle


def run_one(oracle: SafeOracle, tuner: str = "t", fail: bool = False) -> Trial:
    trial = oracle.create_trial(tuner)
    if trial.status == TrialStatus.RUNNING:
        if fail:
            trial.status, trial.message = TrialStatus.FAILED, "no luck"
        else:
            value = trial.hyperparameters.values["alpha"]
            oracle.update_trial(trial.trial_id, {"auc": value})
            trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    return trial


@pytest.mark.parametrize("tuner", ["bayesian", "hyperband", "random"])
def test_the_first_trial_has_the_configs_own_values(tmp_path: Path, tuner: str) -> None:
    oracle = make(tmp_path, tuner=tuner, trials=8)
    trials = [run_one(oracle) for _ in range(9)]
    assert trials[0].hyperparameters.values["alpha"] == 0.25
    assert trials[0].hyperparameters.values["hard"] == "both"
    assert ("tuner/epochs" in trials[0].hyperparameters.values) == (tuner == "hyperband")
    assert [trial.status for trial in trials[-2:]] == [TrialStatus.COMPLETED, TrialStatus.STOPPED]
    assert len({trial.trial_id for trial in trials[:8]}) == 8


@pytest.mark.parametrize("broken", ["before oracle.json", "before the trial left", "never"])
def test_killed_between_writes_it_goes_on_with_each_trial_once(tmp_path: Path, broken: str) -> None:
    oracle = make(tmp_path, tuner="random", trials=4)
    run_one(oracle)
    state = tmp_path / "study" / "oracle.json"
    old = state.read_text()
    if broken == "before the trial left":
        trial = oracle.create_trial("t")
        before_end = json.loads(state.read_text())
        oracle.update_trial(trial.trial_id, {"auc": 0.5})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
        state.write_text(json.dumps(before_end))
    else:
        oracle.create_trial("t")
        if broken == "before oracle.json":
            state.write_text(old)
    again = make(tmp_path, tuner="random", trials=4)
    trials = [run_one(again) for _ in range(4)]
    ran = [trial.trial_id for trial in trials if trial.status == TrialStatus.COMPLETED]
    assert sorted(again.end_order) == ["0", "1", "2", "3"]
    assert ran == (["2", "3"] if broken == "before the trial left" else ["1", "2", "3"])
    assert {t.status for t in again.trials.values()} == {TrialStatus.COMPLETED}


def test_no_trial_begins_after_the_hours(tmp_path: Path) -> None:
    oracle = make(tmp_path, hours=1)
    assert run_one(oracle).status == TrialStatus.COMPLETED
    oracle._spent = 3601.0
    assert run_one(oracle).status == TrialStatus.STOPPED
    oracle.save()
    assert run_one(make(tmp_path, hours=1)).status == TrialStatus.STOPPED
    assert run_one(make(tmp_path, hours=2)).status == TrialStatus.COMPLETED


def test_failures_are_kept_and_only_many_in_a_row_end_the_search(tmp_path: Path) -> None:
    oracle = make(tmp_path, tuner="random", trials=100)
    for fail in (True, False, True, True):
        run_one(oracle, fail=fail)
    kept = json.loads((tmp_path / "study" / "trial_000" / "trial.json").read_text())
    assert (kept["status"], kept["message"]) == ("FAILED", "no luck")
    assert not oracle.gave_up
    while not oracle.gave_up:
        assert run_one(oracle, fail=True).status == TrialStatus.FAILED
    assert len(oracle.trials) == 2 + FAILURES_IN_A_ROW
    assert run_one(oracle).status == TrialStatus.STOPPED
    again = make(tmp_path, tuner="random", trials=100)  # the cause may be mended by now
    assert not again.gave_up
    assert run_one(again).status == TrialStatus.COMPLETED


def test_a_lost_trial_is_handed_on(tmp_path: Path) -> None:
    oracle = make(tmp_path, tuner="random", trials=1)
    lost = oracle.create_trial("far")
    oracle.end_trial(Trial(lost.hyperparameters, lost.trial_id, TrialStatus.INVALID, "lost"))
    assert oracle.waiting
    assert not oracle.exhausted
    again = oracle.create_trial("near")
    assert again.trial_id == lost.trial_id
    assert oracle.holds("near", again.trial_id)
    assert not oracle.holds("far", again.trial_id)
    oracle.update_trial(again.trial_id, {"auc": 0.7})
    again.status = TrialStatus.COMPLETED
    oracle.end_trial(again)
    assert oracle.exhausted
    assert oracle.end_order == [again.trial_id]


def test_what_hyperband_carried_on_stands_for_the_configs_own_values(tmp_path: Path) -> None:
    oracle = make(tmp_path, tuner="hyperband", trials=8)
    first = run_one(oracle)
    run_one(oracle)
    values = {**first.hyperparameters.values, "tuner/epochs": 9, "tuner/trial_id": first.trial_id}
    carried = Trial(first.hyperparameters.copy(), "7", TrialStatus.COMPLETED)
    carried.hyperparameters.values = values
    oracle.trials["7"] = carried
    oracle.start_order.append("7")
    assert with_own_values(oracle) is carried
    carried.status = TrialStatus.FAILED
    assert with_own_values(oracle) is oracle.trials[first.trial_id]
    oracle.trials[first.trial_id].status = TrialStatus.FAILED
    assert with_own_values(oracle) is None


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


def test_hyperband_carries_on_past_failed_trials(tmp_path: Path) -> None:
    """Two failures in the first rung of a bracket; KerasTuner would never end that bracket."""
    oracle = make(tmp_path, tuner="hyperband", trials=30)
    epochs = []
    for i in range(30):
        trial = run_one(oracle, fail=i in (3, 4))
        epochs.append(trial.hyperparameters.values["tuner/epochs"])
    assert epochs.count(9) >= 3
    last = [t for t in oracle.trials.values() if t.hyperparameters.values["tuner/epochs"] == 9]
    assert all(t.status == TrialStatus.COMPLETED for t in last)
    failed = [t for t in oracle.trials.values() if t.status == TrialStatus.FAILED]
    assert [t.score for t in failed] == [None] * 2


def test_no_rung_of_hyperband_is_shorter_than_the_warm_up(tmp_path: Path) -> None:
    space = keras_tuner.HyperParameters()
    space.Fixed("search", "albert-0")
    space.Float("training.warmup", 0.0, 0.3)
    oracle = make_oracle(SearchConfig(tuner="hyperband", trials=20), space)
    oracle._set_project_dir(str(tmp_path), "study")
    trials = [end(oracle, "t", [0.7]) for _ in range(20)]
    assert {trial.hyperparameters.values["tuner/epochs"] for trial in trials} == {3, 9}


def end(oracle: SafeOracle, tuner: str, curve: list[float], stopped: bool = False) -> Trial:
    """A trial that leaves its curve, as a training does."""
    trial = oracle.create_trial(tuner)
    folder = Path(oracle._get_trial_dir(trial.trial_id))
    lines = "\n".join(["step,valid_auc", *(f"{i},{value}" for i, value in enumerate(curve))])
    (folder / "history.csv").write_text(lines)
    if stopped:
        (folder / "stopped.txt").write_text("by the median")
    oracle.update_trial(trial.trial_id, {"auc": max(curve)})
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
    return trial


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
