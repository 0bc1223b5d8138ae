"""The chief and its workers over a real socket, with trials that cost nothing."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial, TrialStatus

from kdmatch.errors import UserError
from kdmatch.files import read_json, write_json
from kdmatch.pipeline.config.loader import parse_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.pipeline.console import Console
from kdmatch.search import chief as chief_module
from kdmatch.search import client, worker
from kdmatch.search.chief import Chief, check_port
from kdmatch.search.client import ChiefClient, ChiefGoneError
from kdmatch.search.oracles import SafeOracle, make_oracle

QUIET = Console(quiet=True)
LABEL = "albert-0"


def make(folder: Path, **search: Any) -> SafeOracle:
    space = keras_tuner.HyperParameters()
    space.Fixed("search", LABEL)
    space.Float("alpha", 0.0, 1.0, default=0.25)
    oracle = make_oracle(SearchConfig(tuner="random", **search), space)
    oracle._set_project_dir(str(folder), "study")
    return oracle


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[int, "Future[None]"]]]:
    """Serves an oracle in a thread; gives the port and what the serving comes to."""
    with ThreadPoolExecutor() as pool:

        def begin(oracle: SafeOracle, script: str = "", workers: int = 0) -> tuple[int, Any]:
            chief = Chief(("127.0.0.1", 0), workers)

            def work() -> None:
                with chief:
                    chief.serve(oracle, [sys.executable, "-c", script], tmp_path, QUIET)

            served = pool.submit(work)
            while not chief.port:
                time.sleep(0.01)
            return chief.port, served

        yield begin


def complete(oracle: ChiefClient, trial: Trial) -> None:
    oracle.update_trial(trial.trial_id, {"auc": 0.7})
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def test_a_trial_that_was_handed_on_is_ended_by_who_runs_it_now(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(chief_module, "LOST_AFTER", 0.5)
    monkeypatch.setattr(chief_module, "_LINGER", 0.0)
    oracle = make(tmp_path, trials=1)
    port, served = serve(oracle)
    far, near = (ChiefClient(("127.0.0.1", port), name, LABEL, oracle) for name in ("far", "near"))
    lost = far.create_trial("far")
    while oracle.ongoing_trials:
        time.sleep(0.05)
    trial = near.create_trial("near")
    assert trial.trial_id == lost.trial_id
    lost.status = TrialStatus.INVALID
    for call in (far.end_trial, lambda late: far.update_trial(late.trial_id, {"auc": 0.1})):
        with pytest.raises(ChiefGoneError, match="another has the trial"):
            call(lost)
    assert oracle.holds("near", trial.trial_id)
    complete(near, trial)
    assert near.create_trial("near").status == TrialStatus.STOPPED
    served.result(timeout=10)
    assert (oracle.trials[trial.trial_id].score, oracle.end_order) == (0.7, [trial.trial_id])


def test_a_worker_of_another_study_gets_no_trial(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(chief_module, "_LINGER", 0.0)
    oracle = make(tmp_path, trials=1)
    port, served = serve(oracle)
    other = ChiefClient(("127.0.0.1", port), "w", "textcnn-0", oracle)
    with pytest.raises(ChiefGoneError, match="another study is searched"):
        other.create_trial("w")
    assert not oracle.trials
    assert other.searched() == LABEL
    own = ChiefClient(("127.0.0.1", port), "w", LABEL, oracle)
    complete(own, own.create_trial("w"))
    served.result(timeout=10)


def test_a_chief_that_is_gone_ends_the_search_and_not_the_trial(
    tmp_path: Path, monkeypatch
) -> None:
    from kdmatch.search.tuner import StudentTuner

    class Trainer(StubTrainer):
        def train(self, *arguments: Any) -> dict[str, Any]:
            raise ChiefGoneError

    oracle = make(tmp_path / "here", trials=1)
    trainer: Any = Trainer(config(), "albert", [], tmp_path)
    tuner = StudentTuner(oracle, trainer, tmp_path / "albert", QUIET)
    with pytest.raises(ChiefGoneError):
        tuner.search()
    assert oracle.holds("tuner0", "0")

    monkeypatch.setattr(client, "PATIENCE", 0.5)
    begun = time.monotonic()
    with pytest.raises(ChiefGoneError):
        ChiefClient(("127.0.0.1", free_port()), "w", LABEL, oracle).create_trial("w")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("runs", "why"), [("sys.exit(0)", "exit status 0"), ("time.sleep(99)", "SIGKILL")]
)
def test_a_worker_that_leaves_with_its_trial_or_hangs_does_not_keep_the_chief(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch, runs: str, why: str
) -> None:
    monkeypatch.setattr(chief_module, "LOST_AFTER", 2.0)
    script = (
        "import pathlib, sys, time\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "count.touch(); count.write_text(count.read_text() + 'x')\n"
        f"if len(count.read_text()) < 3:\n time.sleep(0.5); {runs}"
    )
    oracle = make(tmp_path, trials=1)
    name = f"worker-0-{os.getpid()}"
    trial = oracle.create_trial(name)  # before it does itself
    _, served = serve(oracle, script, workers=1)
    served.result(timeout=15)
    ended = oracle.trials[trial.trial_id]
    assert (ended.status, ended.message) == ("FAILED", f"its worker died twice ({why})")


@pytest.mark.parametrize("left", ["nothing", "a lost trial, no time"])
def test_a_chief_without_workers_leaves_when_nothing_is_left(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch, left: str
) -> None:
    monkeypatch.setattr(chief_module, "LOST_AFTER", 0.3)
    oracle = make(tmp_path, trials=1, hours=1)
    trial = oracle.create_trial("far")
    if left == "nothing":
        oracle.update_trial(trial.trial_id, {"auc": 0.7})
        trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    else:
        oracle._spent = 3601.0
    serve(oracle)[1].result(timeout=10)


def test_what_goes_wrong_in_a_call_ends_the_chief(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch
) -> None:
    def full() -> None:
        raise OSError("no space left on device")

    oracle = make(tmp_path, trials=1)
    oracle.on_end = full
    port, served = serve(oracle)
    own = ChiefClient(("127.0.0.1", port), "w", LABEL, oracle)
    trial = own.create_trial("w")
    with pytest.raises(ChiefGoneError, match="no space left"):
        complete(own, trial)
    with pytest.raises(OSError, match="no space left"):
        served.result(timeout=10)


def test_a_port_is_free_again_once_its_chief_was_killed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as there:
            server.accept()[0].close()  # who closes first waits
            there.recv(1)
        with pytest.raises(UserError, match=f"--listen 127.0.0.1:{port}: .*in use"):
            check_port(("127.0.0.1", port))
    check_port(("127.0.0.1", port))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


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


def test_a_joined_worker_trains_the_student_that_is_searched_and_waits_between_two(
    searches: Any, tmp_path: Path, monkeypatch
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
    port = free_port()
    with ThreadPoolExecutor() as pool:
        searching = pool.submit(
            searches.search, config(), tmp_path, [], QUIET, 0, ("127.0.0.1", port), 5
        )
        worker.join(config(), tmp_path, f"127.0.0.1:{port}", QUIET)
        found = searching.result(timeout=30)
    assert joined.made == ["albert", "textcnn"]
    assert joined.trained == [("albert", "albert")] * 3 + [("textcnn", "textcnn")] * 3
    assert {name: one["trials"] for name, one in found.items()} == {"albert": 3, "textcnn": 3}
    assert all(one["seconds"] < 1000 for one in found.values())
    assert jobs == [1, 1]


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
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-0-1")
    monkeypatch.setattr(worker, "_OF_A_STARTED_WORKER", 0.5)
    monkeypatch.setattr(ChiefClient, "searched", lambda self: self.get_space())
    with pytest.raises(SystemExit) as ended:
        worker.join(config(), tmp_path, f"127.0.0.1:{free_port()}", QUIET)
    assert ended.value.code == 1


def test_what_the_joined_search_decides_is_refused_with_join() -> None:
    from kdmatch.cli_search import search

    with pytest.raises(UserError, match="--join: --student, --workers, --verify-top: the search"):
        search(Path("x.yaml"), Path("run"), student="a", workers=2, verify_top=5, join="host:1")


def test_a_heart_beats_through_a_long_validation_and_not_through_a_hang() -> None:
    from kdmatch.search.callbacks import Heartbeat

    beats: list[float] = []
    with Heartbeat(lambda: beats.append(time.monotonic()), every=0.05, silent_after=0.5):
        time.sleep(1.2)  # no batch ends
    assert len(beats) > 3
    assert beats[-1] - beats[0] < 0.6

    def gone() -> None:
        raise ChiefGoneError

    def train(heart: Heartbeat) -> None:
        while True:
            heart.on_train_batch_end(0)

    with pytest.raises(ChiefGoneError), Heartbeat(gone, every=0.01):
        time.sleep(0.2)
    heart = Heartbeat(gone, every=0.01)
    with pytest.raises(ChiefGoneError), heart:
        train(heart)
