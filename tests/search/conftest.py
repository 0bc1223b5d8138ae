"""A tiny run as far as the teachers' scores, which searches go on from."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("tensorflow_text")


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `config.yaml` and `run/`; tests copy it."""
    from kdmatch.data.quickstart import generate
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import prepare_students

    folder = tmp_path_factory.mktemp("scored")
    files = generate(folder / "data", queries=60, seed=3)

    def training(steps: int) -> dict[str, Any]:
        return {
            "steps": steps,
            "validate_every": 10,
            "learning_rate": 2e-3,
            "batch_size": 16,
            "average": 0.0,
        }

    untold = {"match_details": False, "match_coverage": False}
    config = {
        "name": "tiny",
        "data": {name: str(files[name]) for name in ("train", "valid", "test")}
        | {"positive_threshold": 2},
        "text": {
            "language": "en",
            "wordpiece": {"max_query_tokens": 12, "max_tokens": 32},
            "words": {"dimension": 16, "epochs": 1},
        },
        "gbdt": {"folds": 2, "params": {"num_rounds": 20}, "dimension": 0},
        "transfer": {"per_query": 3},
        "teacher": {"preset": "bert_2l_64", "arguments": untold, "training": training(10)},
        "students": {
            "textcnn": {
                "preset": "textcnn_64",
                "start": "vectors",
                "arguments": {"filters": 8, **untold},
                "training": training(20),
            },
        },
        "search": {
            "sample": 0.4,
            "trials": 4,
            "steps": 6,
            "epochs": 3,
            "tuner": "random",
            "space": {"arguments.filters": {"choices": [4, 8]}},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    prepare_students(load_config(folder / "config.yaml"), folder / "run", Console(quiet=True))
    return folder


@dataclass(frozen=True)
class TinySearch:
    """A copy of the tiny run, and the config that is searched."""

    config: Path
    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "search" / "textcnn"

    def search(self, **arguments: Any) -> dict[str, Any]:
        from kdmatch.pipeline.config.loader import load_config
        from kdmatch.pipeline.console import Console
        from kdmatch.search.search import search

        return search(load_config(self.config), self.root, [], Console(quiet=True), **arguments)

    def start(self, *options: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """The same from the command line, in a process of its own."""
        command = [sys.executable, "-m", "kdmatch", "search", str(self.config)]
        return subprocess.Popen(
            [*command, "--out", str(self.root), *options],
            stdout=stdout,
            env={name: v for name, v in os.environ.items() if not name.startswith("KERASTUNER")},
        )

    def trials(self) -> list[dict[str, str]]:
        with (self.folder / "trials.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def assert_each_trial_once(self, count: int) -> None:
        oracle = json.loads((self.folder / "oracle.json").read_text("utf-8"))
        assert sorted(oracle["end_order"]) == sorted(oracle["start_order"])
        assert len(set(oracle["end_order"])) == len(oracle["end_order"]) == count
        rows = self.trials()
        assert len(rows) == count
        assert {row["status"] for row in rows} <= {"completed", "stopped"}
        values = [tuple(v for k, v in row.items() if "." in k) for row in rows]
        assert len(set(values)) == count
        assert len(list(self.folder.glob("trial_*/trial.json"))) == count


@pytest.fixture
def run(scored: Path, tmp_path: Path) -> Callable[..., TinySearch]:
    """Makes a copy of the run and a config with other search settings."""

    def make(**search: Any) -> TinySearch:
        root = shutil.copytree(scored / "run", tmp_path / "run")
        config = yaml.safe_load((scored / "config.yaml").read_text("utf-8"))
        config["search"] |= search
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return TinySearch(tmp_path / "config.yaml", root)

    return make


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
