"""Calls in worker processes: what comes back, what goes wrong, and that none is left behind."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from kdmatch.errors import UserError
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import RunDirectory, Stage
from kdmatch.pipeline.side_by_side import shares_of_cores, side_by_side


class Heard(Console):
    """A console that remembers."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[tuple[str, str]] = []

    def stage(self, name: str, message: str) -> None:
        self.lines.append((name, message))


def cores(folder: Path, console: Console) -> tuple[int, list[int]]:
    console.stage("cores", "told")
    with console.progress("training", 2) as advance:
        advance(1, "half")
    (folder / str(os.getpid())).touch()
    until = time.monotonic() + 120
    while len(list(folder.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)  # until the other worker has taken the other call
    return os.getpid(), sorted(os.sched_getaffinity(0))


def write(text: str, folder: Path, console: Console) -> dict[str, str]:
    (folder / "text").write_text(text)
    return {"wrote": text}


def mistake(console: Console) -> None:
    raise UserError("alpha is 0: raise it")


def die(console: Console) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be dealt out here")
def test_each_call_has_a_process_and_a_share_of_the_cores(tmp_path: Path) -> None:
    console, call = Heard(), partial(cores, tmp_path)
    results = dict(side_by_side({"a": call, "b": call}, 2, console))
    assert len({process for process, _ in results.values()} | {os.getpid()}) == 3
    mine = sorted(os.sched_getaffinity(0))
    taken = sorted(core for _, share in results.values() for core in share)
    assert taken == (mine if len(mine) > 1 else mine * 2)
    assert console.lines.count(("cores", "told")) == 2
    assert console.lines.count(("training", "step 1 of 2, half")) == 2


def test_cores_are_dealt_out_to_all() -> None:
    shares = shares_of_cores(3)
    assert all(shares)
    assert len(shares) == 3


def test_a_users_mistake_comes_back_as_it_is_and_what_was_done_is_kept(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, Console(quiet=True))
    stages = [Stage("students/wrong", {}, [], _fail_stage), Stage("students/slow", {}, [], _slow)]
    stages += [Stage(f"students/{i}", {}, [], partial(write, str(i))) for i in range(6)]
    with pytest.raises(UserError, match="alpha is 0: raise it"):
        directory.stages(stages, jobs=2)
    done = {found.parent.name for found in tmp_path.glob("students/*/done.json")}
    assert done == {"slow"}


def _fail_stage(folder: Path, console: Console) -> None:
    mistake(console)


def _slow(folder: Path, console: Console) -> None:
    time.sleep(3)


def test_stages_are_done_once_and_alike_in_one_process_or_two(tmp_path: Path) -> None:
    for jobs in (1, 2):
        root = tmp_path / str(jobs)
        root.mkdir()
        stages = [Stage(name, {"name": name}, [], partial(write, name)) for name in ("a", "b")]
        RunDirectory(root, Console(quiet=True)).stages(stages, jobs)
        console = Heard()
        RunDirectory(root, console).stages(stages, jobs)
        assert console.lines == [("a", "already done"), ("b", "already done")]
    assert (tmp_path / "1" / "b" / "text").read_text() == "b"
    assert (tmp_path / "2" / "b" / "text").read_text() == "b"


def test_a_killed_worker_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"one of a was killed.*smaller --jobs"):
        list(side_by_side({"a": die}, 1, Console(quiet=True)))


PARENT = """
import sys, time
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.side_by_side import side_by_side
sys.path.insert(0, sys.argv[1])
from test_side_by_side import wait
list(side_by_side({"a": wait, "b": wait}, 2, Console()))
"""


def wait(console: Console) -> None:
    console.stage("worker", str(os.getpid()))
    time.sleep(600)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path, is_alive) -> None:
    script = tmp_path / "parent.py"
    script.write_text(f"if __name__ == '__main__':\n{PARENT.replace(chr(10), chr(10) + '    ')}")
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, str(script), here], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline().split()[1]) for _ in range(2)]
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.1)
