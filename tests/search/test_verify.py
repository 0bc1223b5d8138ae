"""The best trials on all rows: collapses kept, what is out of date dropped."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from keras_tuner.engine.trial import TrialStatus

from kdmatch.errors import CollapsedRunError, UserError
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import RunDirectory, Stage
from kdmatch.search import record, verify


@dataclass(frozen=True)
class FakeTrial:
    trial_id: str
    score: float
    hyperparameters: Any
    status: str = TrialStatus.COMPLETED


def trials(names: str) -> dict[str, FakeTrial]:
    """Trials of one letter each, the best on the sample first."""
    return {
        name: FakeTrial(name, 0.9 - i / 10, SimpleNamespace(values={"a": name}))
        for i, name in enumerate(names)
    }


def oracle_of(found: dict[str, FakeTrial], own: str) -> Any:
    """An oracle whose first trial, with the config's own values, is `own`."""
    return SimpleNamespace(trials=found, start_order=[own, *(set(found) - {own})])


def work_of(
    root: Path, values: dict[str, float | None], monkeypatch, own: str, objective: str = "auc"
) -> Any:
    """A run whose trials are worth `values` on all rows; None collapses."""

    def stage(work: Any, keys: dict[str, Any], student: str, seed: int, name: str) -> Stage:
        trial = name.rpartition("/")[2].removeprefix("trial_")
        value = values[trial]
        assert keys == ({} if trial == own else {"a": trial})

        def train(folder: Path, console: Console) -> dict[str, Any]:
            if value is None:
                raise CollapsedRunError("training collapsed in epoch 1")
            return {"valid_auc": value}

        return Stage(name, {"name": name}, [], train)

    monkeypatch.setattr(verify, "student_stage", stage)
    monkeypatch.setattr(verify, "with_overrides", lambda config, student, keys: keys)
    for module in (verify, record):
        monkeypatch.setattr(module, "overrides", lambda space, values: dict(values))
    monkeypatch.setattr(record, "own_values", lambda space: {"a": "the config's"})
    search = SimpleNamespace(objective="auc", sample=0.06, tuner="bayesian", seed=0)
    student = SimpleNamespace(training=SimpleNamespace(objective=objective))
    config = SimpleNamespace(search=search, seeds=[0], name="shop", student=lambda _: student)
    directory = RunDirectory(root, Console(quiet=True))
    return SimpleNamespace(config=config, root=root, directory=directory, jobs=1)


def best_yaml(root: Path) -> str:
    return (root / "search" / "albert" / "best_hyperparameters.yaml").read_text("utf-8")


def test_a_collapse_costs_its_row_only(tmp_path: Path, monkeypatch) -> None:
    work = work_of(tmp_path, {"4": 0.7, "1": None, "2": 0.8}, monkeypatch, own="4")
    oracle = oracle_of(trials("412"), own="4")
    rows = verify.verify_top(work, oracle, "albert", [], 3)
    assert [(row["trial"], row["full"], row["rank_full"]) for row in rows] == [
        ("4", 0.7, 2),
        ("1", None, 3),
        ("2", 0.8, 1),
    ]
    assert [row.get("reason") for row in rows] == [None, "training collapsed in epoch 1", None]
    file = tmp_path / "search" / "albert" / "verify.json"
    found = json.loads(file.read_text("utf-8"))
    assert found["trials"] == rows
    assert found["spearman"] == pytest.approx(-0.5)  # ranks 1, 2, 3 and 2, 3, 1
    assert verify.verify_top(work, oracle, "albert", [], 3) == rows
    text = best_yaml(tmp_path)
    assert "trial 2 (3 finished) on shop: auc 0.8000 on valid" in text
    assert "trained on all rows, where it is the best of 2 (" in text
    assert yaml.safe_load(text) == {"students": {"albert": {"a": "2"}}}


def test_the_configs_own_values_win_where_they_are_best_on_all_rows(
    tmp_path: Path, monkeypatch
) -> None:
    work = work_of(tmp_path, {"4": 0.7, "1": 0.72, "2": 0.8}, monkeypatch, own="2")
    rows = verify.verify_top(work, oracle_of(trials("412"), own="2"), "albert", [], 2)
    named = [("4", False), ("1", False), ("2", True)]
    assert [(row["trial"], row["own"]) for row in rows] == named
    text = best_yaml(tmp_path)
    assert "best of 3, and the config's own values" in text
    # Not those of the trial, which were moved into the ranges.
    assert yaml.safe_load(text) == {"students": {"albert": {"a": "the config's"}}}


def test_where_all_collapse_on_all_rows_the_samples_best_is_not_recommended(
    tmp_path: Path, monkeypatch
) -> None:
    work = work_of(tmp_path, {"4": None, "1": None}, monkeypatch, own="4")
    oracle = oracle_of(trials("41"), own="4")
    folder = tmp_path / "search" / "albert"
    folder.mkdir(parents=True)
    record.write_best(oracle, folder, work.config, "albert", [])
    assert "trial 4" in best_yaml(tmp_path)
    with pytest.raises(UserError, match="collapses with each of the best 2 trials: training coll"):
        verify.verify_top(work, oracle, "albert", [], 2)
    assert not (tmp_path / "search" / "albert" / "best_hyperparameters.yaml").exists()
    # Nor is it when the search is called again.
    record.write_best(oracle, tmp_path / "search" / "albert", work.config, "albert", [])
    assert not (tmp_path / "search" / "albert" / "best_hyperparameters.yaml").exists()


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("failed", [True, False])
def test_the_configs_own_values_are_trained_whatever_became_of_their_trial(
    tmp_path: Path, monkeypatch, failed: bool, count: int
) -> None:
    """The first trial failed, or had others than the config's, which its range lacks.

    So it is where fewer trials were finished than are to be verified.
    """
    work = work_of(tmp_path, {"4": 0.7, "1": 0.72, "own": 0.8}, monkeypatch, own="own")
    found = trials("41")
    first = "4"
    if failed:
        values = SimpleNamespace(values={"a": "0"})
        found["0"] = FakeTrial("0", 0.0, values, TrialStatus.FAILED)
        first = "0"
    space = [] if failed else [SimpleNamespace(is_moved=True)]
    rows = verify.verify_top(work, oracle_of(found, own=first), "albert", space, count)
    assert [(row["trial"], row["sample"], row["full"], row["own"]) for row in rows] == [
        ("4", 0.9, 0.7, False),
        ("1", 0.8, 0.72, False),
        (None, None, 0.8, True),
    ]
    text = best_yaml(tmp_path)
    assert text.startswith("# albert: the config's own values (2 finished) on shop: auc 0.8000")
    assert yaml.safe_load(text) == {"students": {"albert": {"a": "the config's"}}}


def test_the_refit_keeps_weights_by_the_objective_of_the_search(
    tmp_path: Path, monkeypatch
) -> None:
    work = work_of(tmp_path, {}, monkeypatch, own="4", objective="map")
    folder = tmp_path / "search" / "albert"
    folder.mkdir(parents=True)
    record.write_best(oracle_of(trials("41"), own="4"), folder, work.config, "albert", [])
    section = yaml.safe_load(best_yaml(tmp_path))["students"]["albert"]
    assert section == {"a": "4", "training": {"objective": "auc"}}


def test_what_compares_trials_that_are_not_the_best_any_more_is_dropped(
    tmp_path: Path, monkeypatch
) -> None:
    work = work_of(tmp_path, {"4": 0.7, "1": 0.6, "2": 0.8}, monkeypatch, own="2")
    oracle = oracle_of(trials("412"), own="2")
    folder = tmp_path / "search" / "albert"

    def write() -> str:
        record.write_best(oracle, folder, work.config, "albert", [])
        return best_yaml(tmp_path)

    verify.verify_top(work, oracle, "albert", [], 2)
    assert "trial 2 (3 finished)" in write()
    assert (folder / "verify.json").exists()
    # As it was written before the config's own values were verified too.
    old = json.loads((folder / "verify.json").read_text("utf-8"))
    rows = [{k: v for k, v in row.items() if k != "own"} for row in old["trials"][:2]]
    (folder / "verify.json").write_text(json.dumps({"trials": rows}))
    assert "trial 4 (3 finished)" in write()
    oracle.trials["7"] = FakeTrial("7", 0.89, SimpleNamespace(values={"a": "7"}))
    assert "trial 4 (4 finished) on shop: auc 0.9000 on valid,\n# trained on 0.06 of" in write()
    assert not (folder / "verify.json").exists()
