"""The oracles: safe to kill between any two writes, with a budget, the defaults first."""

import json
from pathlib import Path

import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial, TrialStatus

from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.search.oracles import make_oracle
from kdmatch.search.record import with_own_values
from kdmatch.search.safe_oracle import FAILURES_IN_A_ROW

from .oracles import end, make, run_one


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
