"""Stage keys: what makes a stage be done again; and one process at a time."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest

from kdmatch.errors import UserError
from kdmatch.pipeline.config.section import AddedLater, Section
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import LastStageDone, RunDirectory, Stage, require_done
from kdmatch.pipeline.stage_keys import files_named, stage_key


class Before(Section):
    steps: int = 3


class After(Section):
    steps: int = 3
    soft: Annotated[str, AddedLater()] = "mse"


class Outer(Section):
    inner: Section
    models: dict[str, Section]


def key(section: Section) -> str:
    return stage_key({"model": Outer(inner=section, models={"a": section})})


def test_a_field_added_later_changes_no_key_until_it_is_set() -> None:
    old: Any = key(Before(steps=5))
    assert key(After(steps=5)) == old
    assert key(After(steps=5, soft="mse")) == old
    assert key(After(steps=5, soft="listwise")) != old
    assert key(After(steps=6)) != old


def test_results_are_taken_away_while_what_they_come_from_is_done_again(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, Console(quiet=True))

    def do(steps: int) -> None:
        directory.stage("teacher", {"steps": steps}, [], lambda folder: None)

    do(1)
    (tmp_path / "metrics.json").write_text("{}")
    do(1)
    assert (tmp_path / "metrics.json").exists()
    do(2)
    assert not (tmp_path / "metrics.json").exists()


def test_an_ablation_or_search_leaves_a_runs_results(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, Console(quiet=True))
    (tmp_path / "metrics.json").write_text("{}")
    for name in ("ablation/albert/recipe/seed-0", "search/albert/verify/trial_0"):
        directory.stage(name, {}, [], lambda folder: None)
    assert (tmp_path / "metrics.json").exists()


def test_what_was_made_from_something_else_is_not_done(tmp_path: Path) -> None:
    def do(words: int, until: str = "") -> None:
        directory = RunDirectory(tmp_path, Console(quiet=True), until)
        directory.stage("text", {"words": words}, [], lambda folder: None)
        directory.stage("teacher", {}, ["text"], lambda folder: None)
        students = [
            Stage(f"students/{name}/seed-0", {}, ["teacher"], lambda folder, console: None)
            for name in ("albert", "textcnn")
        ]
        directory.stages(students)

    do(1)
    require_done(tmp_path, ["students/albert/seed-0"])
    with pytest.raises(LastStageDone):
        do(2, until="text")
    message = "teacher was made from another text than now stands there; call `kdmatch run`"
    with pytest.raises(UserError, match=message):
        require_done(tmp_path, ["students/albert/seed-0"])
    with pytest.raises(LastStageDone):
        do(2, until="teacher")
    with pytest.raises(UserError, match="students/albert/seed-0 was made from another teacher"):
        require_done(tmp_path, ["students/albert/seed-0"])
    do(2)
    require_done(tmp_path, ["students/albert/seed-0"])
    with pytest.raises(UserError, match="students/other is not done yet"):
        require_done(tmp_path, ["students/other"])


def test_files_that_a_config_names_are_known_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert = tmp_path / "bert"
    bert.mkdir()
    (bert / "config.json").write_text("{}")
    (tmp_path / "vocab.txt").write_text("[PAD]")

    def found(named: str | None) -> dict[str, str]:
        return files_named(named, files=("", "config.json"))

    before = found(str(bert))
    assert set(before) == {"config.json"}
    assert found(str(shutil.copytree(bert, tmp_path / "moved"))) == before
    (bert / "config.json").write_text("{} ")
    assert found(str(bert)) != before
    assert set(found(str(tmp_path / "vocab.txt"))) == {""}
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)  # what lies where one happens to stand is not named
    for nothing in ("package:x/y", "scratch", "", None):
        assert found(nothing) == {}


def test_a_stage_whose_old_files_cannot_go_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(tmp_path, Console(quiet=True))
    directory.stage("data", {"a": 1}, [], lambda folder: None)

    def stopped(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        RunDirectory(tmp_path, Console(quiet=True)).stage("data", {"a": 2}, [], lambda folder: None)
    monkeypatch.undo()
    again: list[Path] = []
    RunDirectory(tmp_path, Console(quiet=True)).stage("data", {"a": 1}, [], again.append)
    assert again == [tmp_path / "data"]


HOLDER = """
import sys, time
from pathlib import Path
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import RunDirectory

def work(folder):
    print("working", flush=True)
    time.sleep(600)

RunDirectory(Path(sys.argv[1]), Console(quiet=True)).stage("data", {"a": 1}, [], work)
"""


def test_a_second_process_is_refused_and_empties_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "working\n"
        (tmp_path / "data" / "half").write_text("of the other process")
        other = RunDirectory(tmp_path, Console(quiet=True))
        with pytest.raises(UserError, match="another process is at work"):
            other.stage("data", {"a": 2}, [], lambda folder: None)
        assert (tmp_path / "data" / "half").exists()
    finally:
        holder.kill()
        holder.wait()
    # The lock of a process that was killed is free.
    other.stage("data", {"a": 2}, [], lambda folder: None)
    assert (tmp_path / "data" / "done.json").exists()
