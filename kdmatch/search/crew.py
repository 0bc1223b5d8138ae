"""A chief's local workers: processes that are watched."""

import os
import subprocess
import sys
import time
from pathlib import Path


class Worker:
    """A local worker process, its output in a file."""

    def __init__(self, number: int, command: list[str], workers: int, folder: Path) -> None:
        # A worker that outlives a chief that was killed must not pass for one of the next chief's.
        self.name = f"worker-{number}-{os.getpid()}"
        self.log = folder / f"worker-{number}.log"
        self.started = 0.0
        self._command = command
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        self._environment = {
            "TF_NUM_INTRAOP_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            **os.environ,
            "KERASTUNER_TUNER_ID": self.name,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"

    def start(self) -> None:
        self.started = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment
            )

    def ended(self) -> int | None:
        """Its exit status, told once."""
        code = self._process.poll() if self._process is not None else None
        if code is not None:
            self._process = None
        return code

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def worker_command(config: Path, root: Path) -> list[str]:
    """What a local worker runs, but for the chief's address."""
    return [sys.executable, "-m", "kdmatch", "search", str(config), "--out", str(root)]
