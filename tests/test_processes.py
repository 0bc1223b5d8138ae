"""What a process leaves behind when it is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdmatch.processes import end_with_parent

PARENT = """
import multiprocessing
import time

from kdmatch.processes import end_with_parent


def work(ready):
    end_with_parent()
    ready.set()
    time.sleep(600)


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=work, args=(ready,), daemon=True)
    child.start()
    ready.wait()
    print(child.pid, flush=True)
    child.join()
"""


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, is_alive) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def test_a_process_without_a_parent_of_its_kind_is_told_so() -> None:
    with pytest.raises(RuntimeError, match="not spawned by another"):
        end_with_parent()
