"""A search, its report and the workers that join it, with trainings that cost nothing."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import pytest

from kdmatch.errors import UserError
from kdmatch.files import read_json, write_json
from kdmatch.pipeline.config.loader import parse_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.pipeline.console import Console
from kdmatch.search import worker
from kdmatch.search.client import ChiefClient, ChiefGoneError
from kdmatch.search.oracles import make_oracle
from kdmatch.search.safe_oracle import SafeOracle
from kdmatch.search.tuner import StudentTuner

QUIET = Console(quiet=True)


def config(trials: int = 3) -> Config:
    raw = {
        "name": "x",
        "data": {"train": "train.parquet"},
        "teacher": {"preset": "bert_2l_64"},
        "students": {"albert": {"preset": "albert_1l_64"}, "textcnn": {"preset": "textcnn_64"}},
        "search": {"tuner": "random", "trials": trials},
    }
    return parse_config(raw, "test")


class StubTrainer:
    """A trainer whose trials are worth their alpha at once."""

    made: list[str]
    trained: list[tuple[str, str]]
    queries = ("q",)

    def __init__(self, config: Config, student: str, space: Any, root: Path) -> None:
        self.config, self.student = config, student
        self.made.append(student)

    def steps(self, epochs: int) -> int:
        return epochs

    def train(self, values: dict[str, Any], folder: Path, *_: Any) -> dict[str, Any]:
        self.trained.append((self.student, folder.parent.name))
        value = values["distillation.alpha"]
        return {"value": value, "values": [value], "stopped": False}


@pytest.fixture(autouse=True)
def _stubs(monkeypatch) -> None:
    monkeypatch.setattr(StubTrainer, "made", [], raising=False)
    monkeypatch.setattr(StubTrainer, "trained", [], raising=False)
    monkeypatch.delenv("KERASTUNER_TUNER_ID", raising=False)


@pytest.fixture
def searches(tmp_path: Path, monkeypatch) -> Any:
    """The module of `search`, with stubs for the run, the trainings and the report."""
    from kdmatch.search import search as search_module

    (tmp_path / "scores").mkdir()
    write_json(tmp_path / "scores" / "done.json", {"key": "k"})
    work = SimpleNamespace(root=tmp_path, console=QUIET)
    monkeypatch.setattr(search_module, "prepare_students", lambda *_: work)
    monkeypatch.setattr(search_module, "write_search_report", lambda *_: "")
    monkeypatch.setattr(search_module, "TrialTrainer", StubTrainer)
    return search_module


def test_after_many_failures_a_search_says_what_to_do_and_goes_on(
    searches: Any, tmp_path: Path, monkeypatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(StubTrainer, "train", fail)
        said = r"10 trials in a row failed.*no memory; mend that and call the same command again"
        with pytest.raises(UserError, match=said):
            searches.search(config(12), tmp_path, ["albert"], QUIET)
    found = searches.search(config(12), tmp_path, ["albert"], QUIET)["albert"]
    assert (found["trials"], len(StubTrainer.trained), found["first"]) == (12, 2, None)


def test_short_trials_and_values_at_an_end_of_their_range_are_said(
    searches: Any, tmp_path: Path, monkeypatch
) -> None:
    heard: list[str] = []
    listening = Console(quiet=True)
    monkeypatch.setattr(listening, "stage", lambda _, said: heard.append(said))
    monkeypatch.setattr(searches, "at_ends", lambda *_: {"training.learning_rate": 4e-3})
    monkeypatch.setattr(searches, "verify_top", lambda *_: [])
    searches.search(config(), tmp_path, ["albert"], listening)
    said = "\n".join(heard)
    assert "albert: at an end of its range stands training.learning_rate (0.004)" in said
    # √0.06 of 2,000 in nine equal parts.
    assert "trials took 486 steps, the training takes 2,000" in said
    heard.clear()
    searches.search(config(), tmp_path, ["albert"], listening, verify=2)
    assert "trials took" not in "\n".join(heard)


def test_a_joined_worker_trains_the_student_that_is_searched_and_waits_between_two(
    searches: Any, tmp_path: Path, monkeypatch, free_port: int
) -> None:
    def verify(work: Any, oracle: SafeOracle, *_: Any) -> list[Any]:
        jobs.append(work.jobs)
        oracle._spent += 1000
        time.sleep(2)
        return []

    jobs: list[int] = []
    monkeypatch.setattr(searches, "verify_top", verify)
    monkeypatch.setattr(worker, "_AFTER_A_STUDY", 0.5)
    monkeypatch.setattr(worker, "_BETWEEN_STUDIES", 0.2)
    joined = type("Joined", (StubTrainer,), {"made": [], "trained": []})
    monkeypatch.setattr(worker, "TrialTrainer", joined)
    with ThreadPoolExecutor() as pool:
        searching = pool.submit(
            searches.search, config(), tmp_path, [], QUIET, 0, ("127.0.0.1", free_port), 5
        )
        worker.join(config(), tmp_path, f"127.0.0.1:{free_port}", QUIET)
        found = searching.result(timeout=30)
    assert joined.made == ["albert", "textcnn"]
    assert joined.trained == [("albert", "albert")] * 3 + [("textcnn", "textcnn")] * 3
    assert {name: one["trials"] for name, one in found.items()} == {"albert": 3, "textcnn": 3}
    assert all(one["seconds"] < 1000 for one in found.values())
    assert jobs == [1, 1]


def test_a_chief_that_is_gone_ends_the_search_and_not_the_trial(tmp_path: Path) -> None:
    class Trainer(StubTrainer):
        def train(self, *arguments: Any) -> dict[str, Any]:
            raise ChiefGoneError

    space = keras_tuner.HyperParameters()
    space.Float("alpha", 0.0, 1.0)
    oracle = make_oracle(SearchConfig(tuner="random", trials=1), space)
    oracle._set_project_dir(str(tmp_path), "study")
    trainer: Any = Trainer(config(), "albert", [], tmp_path)
    with pytest.raises(ChiefGoneError):
        StudentTuner(oracle, trainer, tmp_path / "albert", QUIET).search()
    assert oracle.holds("tuner0", "0")


def test_the_report_is_there_before_the_verification(
    searches: Any, tmp_path: Path, monkeypatch
) -> None:
    def verify(*_: Any) -> None:
        order.append("verification")
        raise KeyboardInterrupt

    order: list[str] = []
    monkeypatch.setattr(searches, "write_search_report", lambda *_: order.append("report"))
    monkeypatch.setattr(searches, "verify_top", verify)
    with pytest.raises(KeyboardInterrupt):
        searches.search(config(), tmp_path, ["albert"], QUIET, verify=2)
    assert order == ["report", "verification"]
    found = read_json(tmp_path / "search" / "albert" / "search.json")
    assert found["result"]["trials"] == 3


def test_a_port_in_use_is_said_before_the_teachers_are_trained(
    searches: Any, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(searches, "prepare_students", lambda *_: pytest.fail("too late"))
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(UserError, match=r"--listen 127\.0\.0\.1:.*in use"),
    ):
        searches.search(
            config(), tmp_path, [], QUIET, listen=("127.0.0.1", server.getsockname()[1])
        )


def test_a_started_worker_whose_chief_is_gone_ends_with_status_1(
    tmp_path: Path, monkeypatch, free_port: int
) -> None:
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-0-1")
    monkeypatch.setattr(worker, "_OF_A_STARTED_WORKER", 0.5)
    monkeypatch.setattr(ChiefClient, "searched", lambda self: self.get_space())
    with pytest.raises(SystemExit) as ended:
        worker.join(config(), tmp_path, f"127.0.0.1:{free_port}", QUIET)
    assert ended.value.code == 1


def test_what_the_joined_search_decides_is_refused_with_join() -> None:
    from kdmatch.cli_search import search

    with pytest.raises(UserError, match="--join: --student, --workers, --verify-top: the search"):
        search(Path("x.yaml"), Path("run"), student="a", workers=2, verify_top=5, join="host:1")
