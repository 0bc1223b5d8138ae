"""Searches end to end, on a tiny run."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from kdmatch.errors import UserError

MakeRun = Callable[..., Any]


def test_a_search_leaves_trials_a_winner_and_a_report(run: MakeRun) -> None:
    from kdmatch.pipeline.config.loader import load_config

    tiny = run()
    before = (tiny.root / "config.yaml").read_bytes()
    found = tiny.search(verify=2)["textcnn"]
    folder = tiny.folder
    tiny.assert_each_trial_once(4)
    rows = tiny.trials()
    best = max(rows, key=lambda row: float(row["auc"]))
    assert (found["best"], found["value"]) == (best["trial"], float(best["auc"]))
    assert float(rows[0]["training.learning_rate"]) == 2e-3  # the config's own come first
    best_trial = json.loads((folder / f"trial_{best['trial']}" / "trial.json").read_text("utf-8"))
    assert best_trial["score"] == found["value"]

    # The best two and the config's own values were trained on all rows, and the best of them won.
    verified = found["verify"]
    assert [row["rank_sample"] for row in verified] == list(range(1, len(verified) + 1))
    assert verified[0]["trial"] == found["best"]
    assert [row["trial"] for row in verified if row["own"]] == [rows[0]["trial"]]
    (winner,) = (row for row in verified if row["rank_full"] == 1)
    assert winner["full"] == max(row["full"] for row in verified)
    trial = json.loads((folder / f"trial_{winner['trial']}" / "trial.json").read_text("utf-8"))
    values = trial["hyperparameters"]["values"]
    refit = load_config(tiny.config, include=[folder / "best_hyperparameters.yaml"])
    losses, student = refit.distillation_of("textcnn"), refit.student("textcnn")
    for name, value in values.items():
        section, _, key = name.partition(".")
        if section == "distillation":
            assert getattr(losses, key) == value
        elif section == "training":
            assert getattr(student.training, key) == value
        elif section == "arguments":
            taken = student.arguments[key]
            assert value in (taken, json.dumps(taken))

    page = (tiny.root / "search" / "report.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert "distillation.alpha" in page
    assert list(folder.glob("trial_*/tensorboard/*tfevents*"))
    assert not list(folder.glob("trial_*/*.h5"))
    assert (tiny.root / "config.yaml").read_bytes() == before

    again = tiny.search()["textcnn"]
    assert again["best"] == found["best"]
    tiny.assert_each_trial_once(4)
    tiny.config.write_text(tiny.config.read_text().replace("trials: 4", "trials: 5"))
    tiny.search()
    tiny.assert_each_trial_once(5)
    tiny.config.write_text(tiny.config.read_text().replace("sample: 0.4", "sample: 0.5"))
    with pytest.raises(UserError, match="holds a search with other settings or data"):
        tiny.search()


def test_hyperband_goes_on_from_shorter_trials(run: MakeRun) -> None:
    tiny = run(tuner="hyperband", trials=6, objective="gauc")
    tiny.search()
    folder = tiny.folder
    epochs = []
    for path in sorted(folder.glob("trial_*/trial.json")):
        values = json.loads(path.read_text("utf-8"))["hyperparameters"]["values"]
        history = (path.parent / "history.csv").read_text("utf-8").splitlines()
        assert "valid_gauc" in history[0]
        assert len(history) - 1 == values["tuner/epochs"]
        epochs.append(values["tuner/epochs"])
        if "tuner/trial_id" in values:
            before = folder / f"trial_{values['tuner/trial_id']}" / "history.csv"
            assert history[: values["tuner/initial_epoch"] + 1] == before.read_text().splitlines()
    assert set(epochs) == {1, 3}
    assert not list(folder.glob("trial_*/checkpoint.npz"))


def test_a_failing_trial_is_kept_with_its_reason_and_the_search_goes_on(run: MakeRun) -> None:
    tiny = run(trials=5, space={"arguments.filters": {"choices": [8, -1]}})
    tiny.search()
    rows = tiny.trials()
    failed = [row for row in rows if row["status"] == "failed"]
    assert failed
    assert len(rows) == 5
    assert all(row["arguments.filters"] == "-1" for row in failed)
    assert all("filters" in row["reason"] and "Traceback" not in row["reason"] for row in failed)
    assert all(row["auc"] for row in rows if row["status"] != "failed")
    kept = tiny.folder / f"trial_{failed[0]['trial']}" / "trial.json"
    assert json.loads(kept.read_text("utf-8"))["status"] == "FAILED"


def test_where_nothing_succeeds_the_reason_is_said(run: MakeRun) -> None:
    tiny = run(trials=1, space={"arguments.filters": {"choices": [-1]}})
    with pytest.raises(UserError, match=r"none of 1 trials succeeded; the last failed: .*filters"):
        tiny.search()


def test_the_yaml_of_the_winner_says_where_it_comes_from(run: MakeRun) -> None:
    tiny = run(trials=1)
    tiny.search()
    text = (tiny.folder / "best_hyperparameters.yaml").read_text("utf-8")
    assert text.startswith("# textcnn: trial 0 (1 finished) on tiny: auc 0.")
    assert "trained on 0.4 of the training queries" in text
    assert set(yaml.safe_load(text)) == {"students"}


def test_the_sample_is_of_whole_queries(scored: Path) -> None:
    from kdmatch.search.sample import sample_pairs

    root = scored / "run"
    pairs, queries = sample_pairs(root, "words", 0.4, 0)
    train = pq.read_table(root / "data" / "train.parquet")
    transfer = pq.read_table(root / "transfer" / "pairs.parquet")
    rows = [query in set(queries) for query in train.column("query_id").to_pylist()]
    texts = set(train.filter(np.array(rows)).column("query").to_pylist())
    unlabelled = sum(query in texts for query in transfer.column("query").to_pylist())
    assert 0 < len(queries) < len(set(train.column("query_id").to_pylist()))
    assert len(pairs) == sum(rows) + unlabelled
    assert int(np.isnan(pairs.label).sum()) == unlabelled
    assert set(pairs.group[np.isnan(pairs.label)]) <= set(pairs.group[~np.isnan(pairs.label)])
    assert sample_pairs(root, "words", 0.4, 0)[1] == queries
    assert sample_pairs(root, "words", 0.4, 1)[1] != queries
    with pytest.raises(UserError, match="queries holds none; raise the sample"):
        sample_pairs(root, "words", 1e-9, 0)


def test_mistakes_are_one_line(run: MakeRun) -> None:
    tiny = run()
    shutil.rmtree(tiny.root / "search", ignore_errors=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--listen 127.0.0.1:{port}: .*in use"):
            tiny.search(listen=("127.0.0.1", port), workers=2)
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.search.search import search
    from kdmatch.search.worker import parse_address

    with pytest.raises(UserError, match="--student 'albert': this config has textcnn"):
        search(load_config(tiny.config), tiny.root, ["albert"], Console(quiet=True))
    with pytest.raises(UserError, match="--join '8600': write it as host:port"):
        parse_address("8600", "--join")


VARIED = ("arguments.filters", "arguments.widths", "distillation.soft")


@pytest.mark.slow
def test_memory_does_not_grow_from_trial_to_trial(run: MakeRun) -> None:
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.search.space import space_of
    from kdmatch.search.trial import Rung, TrialTrainer

    tiny = run(steps=3, epochs=1)
    config = load_config(tiny.config)
    space = space_of(config, "textcnn")
    varied = {p.name: p.labels for p in space if p.name in VARIED}
    trainer = TrialTrainer(config, "textcnn", space, tiny.root)

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    megabytes = []
    for i in range(11):
        values = {name: labels[i % len(labels)] for name, labels in varied.items()}
        trainer.train(values, tiny.root / "search" / "memory" / f"trial_{i}", Rung(1))
        megabytes.append(resident())
    print("MiB after trials 4 to 11:", [round(m) for m in megabytes[3:]])
    assert megabytes[10] - megabytes[3] < 19
