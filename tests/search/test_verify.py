"""The best trials on all rows: collapses kept, what is out of date dropped."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdmatch.errors import CollapsedRunError
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import RunDirectory, Stage
from kdmatch.search import verify


def work_of(root: Path, values: dict[str, float | None], monkeypatch) -> Any:
    """A run whose trials, best on the sample first, are worth `values`; None collapses."""

    def stage(work: Any, config: Any, student: str, seed: int, name: str, objective: str) -> Stage:
        value = values[name.rpartition("_")[2]]

        def train(folder: Path, console: Console) -> dict[str, Any]:
            if value is None:
                raise CollapsedRunError("training collapsed in epoch 1")
            return {f"valid_{objective}": value}

        return Stage(name, {"name": name}, [], train)

    trials = [
        SimpleNamespace(
            trial_id=name, score=0.9 - i / 10, hyperparameters=SimpleNamespace(values={})
        )
        for i, name in enumerate(values)
    ]
    monkeypatch.setattr(verify, "student_stage", stage)
    monkeypatch.setattr(verify, "finished_trials", lambda oracle: trials)
    monkeypatch.setattr(verify, "with_overrides", lambda *_: None)
    console = Console(quiet=True)
    config = SimpleNamespace(search=SimpleNamespace(objective="auc"), seeds=[0])
    directory = RunDirectory(root, console)
    return SimpleNamespace(config=config, root=root, directory=directory, jobs=1, trials=trials)


def test_a_collapse_costs_its_row_only(tmp_path: Path, monkeypatch) -> None:
    work = work_of(tmp_path, {"4": 0.7, "1": None, "2": 0.8}, monkeypatch)
    oracle: Any = None
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


def test_what_compares_trials_that_are_not_the_best_any_more_is_dropped(
    tmp_path: Path, monkeypatch
) -> None:
    work = work_of(tmp_path, {"4": 0.7, "1": 0.6, "2": 0.8}, monkeypatch)
    oracle: Any = None
    file = tmp_path / "search" / "albert" / "verify.json"
    verify.drop_stale(work, oracle, "albert")
    verify.verify_top(work, oracle, "albert", [], 2)
    verify.drop_stale(work, oracle, "albert")
    assert file.exists()
    work.trials.insert(1, SimpleNamespace(trial_id="7"))
    verify.drop_stale(work, oracle, "albert")
    assert not file.exists()
