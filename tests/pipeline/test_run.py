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
    log = pq.read_table(finished_run / "data" / "unlabelled.parquet")
    assert pairs.num_rows > log.num_rows > 0
    shown = pairs.slice(pairs.num_rows - log.num_rows)
    assert shown["f_click_rate"].to_pylist() == log["f_click_rate"].to_pylist()
    neighbours = pairs.slice(0, pairs.num_rows - log.num_rows)
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


def test_called_again_it_does_nothing_and_a_changed_config_only_what_follows(
    finished_run: Path, tiny: Path, tmp_path: Path
) -> None:
    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.run import Console, run

    copy = shutil.copytree(finished_run, tmp_path / "run")
    said: dict[str, str] = {}

    class Ear(Console):
        def stage(self, name: str, message: str) -> None:
            said[name] = message

    run(load_config(tiny), copy, Ear(quiet=True))
    assert {m for name, m in said.items() if name != "report"} == {"already done"}
    said.clear()
    run(load_config(tiny, ["gbdt.folds=3"]), copy, Ear(quiet=True), until="gbdt")
    assert said["text"] == said["transfer"] == "already done"
    assert said["gbdt"].startswith("done in")
    assert "teacher" not in said


def test_a_run_stops_after_the_stage_it_was_told(
    finished_run: Path, tiny: Path, tmp_path: Path
) -> None:
    from kdmatch.pipeline.config_loader import load_config
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


def test_one_class_and_shared_queries_are_refused(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.run import Console, run

    quiet = Console(quiet=True)
    with pytest.raises(
        UserError, match=r"only one class.*positive_threshold.*change the threshold"
    ):
        run(load_config(tiny, ["data.positive_threshold=9"]), tmp_path / "a", quiet, until="data")
    config = load_config(tiny)
    with pytest.raises(UserError, match=r"query_id .* stands in train and in test"):
        run(
            load_config(tiny, [f"data.test={config.data.train}"]),
            tmp_path / "b",
            quiet,
            until="data",
        )
    assert not (tmp_path / "b" / "data" / "done.json").exists()
    bare = tmp_path / "bare.parquet"
    pq.write_table(pq.read_table(config.data.test).drop_columns(["label"]), bare)
    with pytest.raises(UserError, match="test: no row has a label"):
        run(load_config(tiny, [f"data.test={bare}"]), tmp_path / "c", quiet, until="data")


def test_splits_are_made_where_only_train_is_given(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.data.rows import Rows
    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.run import Console, run

    overrides = ["data.valid=null", "data.test=null", "data.split=[0.2, 0.3]"]
    root = run(load_config(tiny, overrides), tmp_path / "run", Console(quiet=True), until="data")
    queries = [
        set(Rows.load(root / "data" / f"{split}.parquet").query_id.to_pylist())
        for split in ("train", "valid", "test")
    ]
    assert all(queries)
    assert not queries[0] & queries[1]
    assert not queries[0] & queries[2]
    assert not queries[1] & queries[2]


def test_queries_of_valid_and_test_are_learned_from_nowhere(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.data.splits import query_key
    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.data_stage import corpus_texts, make_transfer, prepare_tables

    config = load_config(tiny)
    held_out = {
        split: pq.read_table(getattr(config.data, split)).column("query")[0].as_py()
        for split in ("valid", "test")
    }
    log, corpus = tmp_path / "log.jsonl", tmp_path / "corpus.txt"
    queries = [held_out["valid"], f" {held_out['test'].upper()}", "nobody's query"]
    log.write_text(
        "".join(json.dumps({"query": one, "document": f"of {one}"}) + "\n" for one in queries)
    )
    corpus.write_text("\n".join([held_out["test"], f"{held_out['test']} more"]))
    said: list[str] = []

    class Ear(Console):
        def stage(self, name: str, message: str) -> None:
            said.append(message)

    config = load_config(tiny, [f"data.unlabelled=[{log}]", f"data.corpus=[{corpus}]"])
    notes = prepare_tables(config, tmp_path, Ear(quiet=True))
    assert notes["rows"]["unlabelled"] == 1
    assert notes["unlabelled_rows_of_held_out_queries"] == 2
    assert said == ["2 rows of data.unlabelled left out: their queries stand in valid or test"]
    (tmp_path / "transfer").mkdir()
    make_transfer(config, tmp_path, tmp_path / "transfer")
    asked = pq.read_table(tmp_path / "transfer" / "pairs.parquet").column("query").to_pylist()
    assert "nobody's query" in asked
    keys = set(map(query_key, held_out.values()))
    assert not keys & set(map(query_key, asked))
    texts = list(corpus_texts(config, tmp_path))
    assert f"{held_out['test']} more" in texts
    assert not keys & set(map(query_key, texts))


def test_made_up_queries_join_the_transfer_rows(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.data.rows import Rows
    from kdmatch.data.splits import query_key
    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.run import Console, run

    settings = ["transfer.made=0.5", "transfer.per_made=2", "data.unlabelled=[]"]
    config = load_config(tiny, settings)
    root = run(config, tmp_path / "run", Console(quiet=True), until="transfer")
    pairs = Rows.load(root / "transfer" / "pairs.parquet")
    asked, valid, test = (
        set(map(query_key, Rows.load(root / "data" / f"{split}.parquet").query.to_pylist()))
        for split in ("train", "valid", "test")
    )
    made = [query for query in pairs.query.to_pylist() if query_key(query) not in asked]
    assert len(set(made)) == round(0.5 * len(asked))
    assert len(made) == 2 * len(set(made))
    assert not set(map(query_key, made)) & (valid | test)
    assert len(pairs) - len(made) == 3 * len(asked)


def test_texts_in_which_no_word_repeats_train_a_gbdt(tiny: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.teacher_stage import train_gbdt

    words = [f"{a}{b}" for a in "abcdefghijkl" for b in "mnopqrstuvwx"]
    for k, split in enumerate(("train", "valid", "test")):
        own = words[40 * k : 40 * k + 40]
        columns = {
            "query_id": [f"{split}{i // 2}" for i in range(20)],
            "query": [own[i - i % 2] for i in range(20)],
            "document": [f"{own[20 + i]} {own[20 + i]}x" for i in range(20)],
            "label": pa.array([float(i % 2) for i in range(20)], pa.float32()),
            "weight": pa.array([1.0] * 20, pa.float32()),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{split}.parquet")
    config = load_config(tiny, ["gbdt.dimension=8"])
    assert train_gbdt(config, tmp_path, tmp_path / "gbdt")["features"] > 10


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "texts.zst",
            b"\x28\xb5\x2f\xfd\x00\x00",
            "not text; data.corpus takes text, plain or as .xz",
        ),
        ("texts.gz", b"plain text", "cannot be read .*gzip"),
    ],
)
def test_a_corpus_that_is_not_text_is_said_at_once(
    tiny: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.run import Console, run

    (tmp_path / name).write_bytes(content)
    config = load_config(tiny, [f"data.corpus=[{tmp_path / name}]"])
    with pytest.raises(UserError, match=f"{name}: {message}"):
        run(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_query_with_one_document_trains(tiny: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.run import Console, run

    config = load_config(tiny)
    table = pq.read_table(config.data.train)
    first = table.column("query_id").to_pylist()
    keep = [i for i, query in enumerate(first) if i == 0 or query != first[0]]
    lonely = tmp_path / "train.parquet"
    pq.write_table(table.take(keep), lonely)
    root = run(
        load_config(tiny, [f"data.train={lonely}"]),
        tmp_path / "run",
        Console(quiet=True),
        "teacher",
    )
    assert (root / "teacher" / "model.weights.h5").is_file()
