"""The chief and its workers over a real socket, with trials that cost nothing."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial, TrialStatus

from kdmatch.errors import UserError
from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.pipeline.console import Console
from kdmatch.search import chief as chief_module
from kdmatch.search import client
from kdmatch.search.chief import Chief, check_port
from kdmatch.search.client import ChiefClient, ChiefGoneError
from kdmatch.search.oracles import make_oracle
from kdmatch.search.safe_oracle import SafeOracle

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


def test_a_heart_beats_while_another_worker_waits_for_a_proposal(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(chief_module, "_LINGER", 0.0)
    oracle = make(tmp_path, trials=2)
    propose, proposing, beaten = oracle.populate_space, threading.Event(), threading.Event()

    def slow(trial_id: str) -> dict[str, Any]:
        if trial_id != "0":
            proposing.set()
            assert beaten.wait(20)
        return propose(trial_id)

    monkeypatch.setattr(oracle, "populate_space", slow)
    port, served = serve(oracle)
    address = ("127.0.0.1", port)
    one, other = (ChiefClient(address, name, LABEL, oracle, 10.0) for name in ("one", "other"))
    trial = one.create_trial("one")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.create_trial, "other")
        assert proposing.wait(10)
        assert one.get_trial(trial.trial_id).trial_id == trial.trial_id
        beaten.set()
        complete(other, waiting.result())
    complete(one, trial)
    served.result(timeout=10)
    assert len(oracle.end_order) == 2


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


def test_a_chief_that_is_gone_is_not_waited_for_long(
    tmp_path: Path, monkeypatch, free_port: int
) -> None:
    oracle = make(tmp_path / "here", trials=1)
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    begun = time.monotonic()
    with pytest.raises(ChiefGoneError):
        ChiefClient(("127.0.0.1", free_port), "w", LABEL, oracle).create_trial("w")
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
