"""The run directory: complete, resumable, honest about what is done."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from kdmatch.errors import UserError

STUDENTS = ("albert", "textcnn", "cnn_attention")


def quality(run: Path) -> dict[str, Any]:
    """The metrics without latency, which no two runs share."""
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    for model in metrics["models"].values():
        del model["latency_ms"]
    return metrics


def test_a_run_leaves_the_whole_record(finished_run: Path) -> None:
    metrics = json.loads((finished_run / "metrics.json").read_text("utf-8"))
    expected = {
        "gbdt",
        "teacher",
        "teacher_cnn",
        "teachers",
        *STUDENTS,
        *(f"{name}_control" for name in STUDENTS),
    }
    assert set(metrics["models"]) == expected
    assert metrics["models"]["albert"]["latency_ms"]["p50"] > 0
    assert metrics["models"]["albert"]["parameters"] < metrics["models"]["teacher"]["parameters"]
    compared = {(row["a"], row["b"]) for row in metrics["comparisons"]}
    assert {("albert", "teacher"), ("albert", "albert_control")} <= compared
    for name in ("config.yaml", "report.html", "model_card.md"):
        assert (finished_run / name).stat().st_size > 100
    for name in ("teacher", *STUDENTS):
        assert (finished_run / "export" / name / "1" / "saved_model.pb").is_file()
    history = (finished_run / "students" / "albert" / "seed-0" / "history.csv").read_text("utf-8")
    assert [line.split(",")[0] for line in history.splitlines()] == ["step", "10", "20"]


def test_the_log_without_labels_keeps_its_clicks(finished_run: Path) -> None:
    pairs = pq.read_table(finished_run / "transfer" / "pairs.parquet")
    train = pq.read_table(finished_run / "data" / "train.parquet").to_pylist()
    log: dict[tuple[str, str], float] = {}
    for row in pq.read_table(finished_run / "data" / "unlabelled.parquet").to_pylist():
        log.setdefault((row["query"], row["document"]), row["f_click_rate"])
    for row in train:
        log.pop((row["query"], row["document"]), None)
    assert pairs.num_rows > len(log) > 0
    shown = pairs.slice(pairs.num_rows - len(log))
    assert shown["f_click_rate"].to_pylist() == list(log.values())
    neighbours = pairs.slice(0, pairs.num_rows - len(log))
    assert neighbours["f_click_rate"].null_count == neighbours.num_rows
    assert pairs["label"].null_count == pairs.num_rows


def test_a_student_knows_its_vocabulary(finished_run: Path) -> None:
    from kdmatch.models.registry import load_matcher

    student = load_matcher(finished_run / "students" / "albert" / "seed-0")
    vocabulary = (finished_run / "text" / "wordpiece" / "vocabulary.txt").read_text("utf-8")
    ids = np.arange(len(vocabulary.split("\n")))[None]
    stems, rarity, roles = (np.asarray(table)[0] for table in student.traits(ids))
    assert stems[:5].tolist() == [0] * 5
    assert (stems != ids[0]).any()
    assert len(set(roles.tolist())) > 1
    assert len(np.unique(rarity)) > 10
    vectors, continues = student.spelling.tables()
    assert vectors.any()
    assert continues.tolist() == [token.startswith("##") for token in vocabulary.split("\n")]


def test_called_again_it_does_nothing(finished_run: Path, tiny: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.run import Console, run

    copy = shutil.copytree(finished_run, tmp_path / "run")
    said: dict[str, str] = {}

    class Ear(Console):
        def stage(self, name: str, message: str) -> None:
            said[name] = message

    run(load_config(tiny), copy, Ear(quiet=True))
    assert {m for name, m in said.items() if name != "report"} == {"already done"}


def test_a_run_stops_after_the_stage_it_was_told(
    finished_run: Path, tiny: Path, tmp_path: Path
) -> None:
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import run

    copy = shutil.copytree(finished_run, tmp_path / "run")
    said: list[str] = []

    class Ear(Console):
        def stage(self, name: str, message: str) -> None:
            said.append(name)

    for until, last in (
        ("text", "text"),
        ("scores", "scores"),
        ("students", "students/textcnn_control/seed-0"),
    ):
        said.clear()
        run(load_config(tiny), copy, Ear(quiet=True), until=until)
        assert said[-1] == last
    with pytest.raises(UserError, match="--until student: no such stage; choose one of data, "):
        run(load_config(tiny), tmp_path / "never", Console(quiet=True), until="student")
    assert not (tmp_path / "never").exists()


def start(config: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kdmatch", "run", str(config), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
    )


def kill_in(stage: str, config: Path, out: Path, ready: str = "started.json") -> None:
    """SIGKILL a run as soon as a file of the stage is there."""
    process = start(config, out)
    deadline = time.monotonic() + 240
    folder = out / stage
    try:
        while not (folder / ready).exists():
            assert process.poll() is None, f"the run ended before {stage}"
            assert time.monotonic() < deadline, f"{stage} never began"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert not (folder / "done.json").exists()


@pytest.mark.slow
def test_killed_in_any_stage_it_goes_on_and_ends_with_the_same_metrics(
    finished_run: Path, tiny: Path, tmp_path: Path
) -> None:
    # One student of the finished run's, for its training is what takes long.
    settings = yaml.safe_load(tiny.read_text("utf-8"))
    settings["students"] = {"albert": settings["students"]["albert"]}
    config, out = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    kill_in("text", config, out)
    kill_in("gbdt", config, out)
    kill_in("teacher", config, out, ready="checkpoint.npz")
    kill_in("students/albert/seed-0", config, out, ready="checkpoint.npz")
    kill_in("export/albert", config, out)
    assert not list((out / "export" / "albert").glob("[0-9]*"))
    kill_in("evaluate", config, out)
    assert start(config, out).wait(timeout=300) == 0
    before, after = quality(finished_run)["models"], quality(out)["models"]
    assert {"gbdt", "teacher", "albert", "albert_control"} <= set(after)
    for name, model in after.items():
        for metric in ("auc", "ndcg@10"):
            assert model[metric]["value"] == pytest.approx(
                before[name][metric]["value"], abs=1e-4
            ), f"{name} {metric}"
