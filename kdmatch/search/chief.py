"""The chief: gives out trials over gRPC and watches over its local workers."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from kdmatch.errors import UserError
from kdmatch.pipeline.console import Console
from kdmatch.search.oracles import SafeOracle

LOST_AFTER = 300.0
_LINGER = 3.0
_DEATHS_AT_START = 3


class _Servicer(OracleServicer):
    """KerasTuner's service, which also notes when each trial was last heard of."""

    def __init__(self, oracle: SafeOracle) -> None:
        super().__init__(oracle)
        self.heard: dict[str, float] = {}

    def CreateTrial(self, request: Any, context: Any) -> Any:
        response = super().CreateTrial(request, context)
        self.heard[response.trial.trial_id] = time.monotonic()
        return response

    def GetTrial(self, request: Any, context: Any) -> Any:
        self.heard[request.trial_id] = time.monotonic()
        return super().GetTrial(request, context)


def serve(
    oracle: SafeOracle,
    address: tuple[str, int],
    command: list[str],
    workers: int,
    folder: Path,
    console: Console,
) -> None:
    """Give out trials until the oracle has none left and all begun ones have ended.

    A local worker that dies is started again and gets its trial back; a trial
    over which two die has failed. A trial that a worker elsewhere has not been
    heard of with for `LOST_AFTER` seconds goes to another worker.

    Args:
        oracle: SafeOracle, reloaded.
        address: host and port to listen at; port 0 takes a free one.
        command: what a local worker runs; `--join host:port` is appended.
        workers: int. Local workers, 0 to wait for others to join.
        folder: Path for `worker-….log`.
        console: Console.

    Raises:
        UserError: if the port is in use, or workers cannot start.
    """
    with _server(oracle, address) as (servicer, port):
        host = "127.0.0.1" if address[0] in ("0.0.0.0", "::", "[::]") else address[0]
        console.stage("search", f"chief at {address[0]}:{port}, {workers} local workers")
        crew = [
            _Worker(i, [*command, "--join", f"{host}:{port}"], workers, folder)
            for i in range(workers)
        ]
        try:
            _supervise(oracle, servicer, crew, console)
            time.sleep(0.0 if crew else _LINGER)
        finally:
            for worker in crew:
                worker.stop()


def _supervise(
    oracle: SafeOracle, servicer: _Servicer, crew: list["_Worker"], console: Console
) -> None:
    deaths: Counter[str] = Counter()
    at_start = 0
    for worker in crew:
        worker.start()
    while True:
        time.sleep(0.2)
        ongoing = dict(oracle.ongoing_trials)
        for worker in crew:
            code = worker.died()
            if code is None:
                continue
            trial = ongoing.get(worker.name)
            at_start = at_start + 1 if trial is None else 0
            if at_start >= _DEATHS_AT_START:
                raise UserError(
                    f"{worker.log}: workers end before their first trial: {worker.said}"
                )
            if trial is not None:
                deaths[trial.trial_id] += 1
                if deaths[trial.trial_id] > 1:
                    _end(oracle, trial, TrialStatus.FAILED, f"its worker died twice ({_why(code)})")
            console.stage("search", f"{worker.name} died ({_why(code)}); starting it again")
            worker.start()
        local = {worker.name for worker in crew}
        for name, trial in ongoing.items():
            last = servicer.heard.setdefault(trial.trial_id, time.monotonic())
            if name not in local and time.monotonic() - last > LOST_AFTER:
                console.stage("search", f"trial {trial.trial_id}: nothing heard of {name}")
                _end(oracle, trial, TrialStatus.INVALID, f"{name} was lost")
                oracle.tuner_ids.discard(name)
        idle = not any(worker.running for worker in crew)
        if idle and not oracle.ongoing_trials:
            if oracle.waiting and crew:
                crew[0].start()
            elif not oracle.waiting and (crew or servicer.stop_triggered):
                return


def _end(oracle: SafeOracle, trial: Trial, status: str, message: str) -> None:
    ended = Trial(trial.hyperparameters, trial.trial_id, status, message)
    oracle.end_trial(ended)


def _why(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


@contextmanager
def _server(oracle: SafeOracle, address: tuple[str, int]) -> Iterator[tuple[_Servicer, int]]:
    host, port = address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise UserError(
                f"--listen {host}:{port}: {error.strerror}; choose another port, or 0"
            ) from error
    servicer = _Servicer(oracle)
    # One thread, as KerasTuner's own; and no sharing of a port with another chief.
    server = grpc.server(futures.ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{host}:{port}")
    server.start()
    try:
        yield servicer, port
    finally:
        server.stop(grace=1).wait()


class _Worker:
    """A local worker process, its output in a file."""

    def __init__(self, number: int, command: list[str], workers: int, folder: Path) -> None:
        self.name = f"worker-{number}"
        self.log = folder / f"{self.name}.log"
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
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment
            )

    def died(self) -> int | None:
        """Its exit status if it ended other than by having nothing left to do; told once."""
        code = self._process.poll() if self._process is not None else None
        if code:
            self._process = None
        return code or None

    def stop(self) -> None:
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def worker_command(config: Path, root: Path) -> list[str]:
    """What a local worker runs, but for the chief's address."""
    return [sys.executable, "-m", "kdmatch", "search", str(config), "--out", str(root)]
