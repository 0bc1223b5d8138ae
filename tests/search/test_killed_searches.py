"""Searches and workers that are killed, on a tiny run."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRun = Callable[..., Any]


def wait_for(there: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    deadline = time.monotonic() + 400
    while not (found := there()):
        assert process.poll() is None, "the search ended too soon"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.slow
def test_killed_it_goes_on_and_no_trial_is_run_twice(run: MakeRun) -> None:
    tiny = run()
    folder = tiny.folder
    process = tiny.start()
    try:
        wait_for(lambda: (folder / "trial_1" / "history.csv").exists(), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    first = (folder / "trial_0" / "history.csv").stat().st_mtime_ns
    again = tiny.start()
    assert again.wait(timeout=500) == 0
    tiny.assert_each_trial_once(4)
    assert (folder / "trial_0" / "history.csv").stat().st_mtime_ns == first


def worker_with_a_trial(folder: Path, chief: int) -> tuple[int, str] | None:
    """A local worker's process and the trial that it runs."""
    try:
        oracle = json.loads((folder / "oracle.json").read_text("utf-8"))
        children = Path(f"/proc/{chief}/task/{chief}/children").read_text().split()
        for name, trial in oracle["ongoing_trials"].items():
            for child in children:
                given = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                if f"KERASTUNER_TUNER_ID={name}".encode() in given:
                    return None if trial in oracle["end_order"] else (int(child), trial)
    except FileNotFoundError:
        pass
    return None


@pytest.mark.slow
def test_a_worker_that_dies_is_started_again_and_its_trial_comes_back(run: MakeRun) -> None:
    tiny = run()
    folder = tiny.folder
    process = tiny.start("--workers", "2", stdout=subprocess.PIPE)
    try:
        worker, trial = wait_for(lambda: worker_with_a_trial(folder, process.pid), process)
        os.kill(worker, signal.SIGKILL)
        killed = time.time()
        said = process.communicate(timeout=500)[0].decode()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert said.count("died (SIGKILL); starting it again") == 1
    assert (folder / f"trial_{trial}" / "history.csv").stat().st_mtime > killed
    tiny.assert_each_trial_once(4)


@pytest.mark.slow
def test_a_chief_that_is_killed_takes_its_workers_along_and_the_search_goes_on(
    run: MakeRun,
) -> None:
    tiny = run(trials=3)
    folder = tiny.folder
    process = tiny.start("--workers", "1", "--listen", "127.0.0.1:0")
    try:
        worker, _ = wait_for(lambda: worker_with_a_trial(folder, process.pid), process)
    finally:
        process.kill()
        process.wait()
    tiny.search()
    tiny.assert_each_trial_once(3)
    deadline = time.monotonic() + 60
    while is_alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    tiny.assert_each_trial_once(3)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_worker_joins_from_outside(run: MakeRun, free_port: int) -> None:
    tiny = run(trials=2)
    worker = tiny.start("--join", f"127.0.0.1:{free_port}")
    try:
        tiny.search(workers=0, listen=("127.0.0.1", free_port))
        assert worker.wait(timeout=100) == 0
    finally:
        worker.kill()
        worker.wait()
    tiny.assert_each_trial_once(2)
