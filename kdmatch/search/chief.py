"""The chief: gives out trials over gRPC and watches over its local workers."""

import signal
import socket
import time
from collections import Counter
from concurrent import futures
from pathlib import Path

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos

from kdmatch.errors import UserError
from kdmatch.pipeline.console import Console
from kdmatch.search.crew import Worker
from kdmatch.search.safe_oracle import SafeOracle
from kdmatch.search.servicer import Servicer

LOST_AFTER = 300.0
START_WITHIN = 1800.0
_LINGER = 3.0
_DEATHS_AT_START = 3


class Chief:
    """Gives out the trials of one study after another at one address, for as long as it is open.

    Between two studies a worker that asks is told that there is nothing to do,
    and may wait.

    Args:
        address: host and port to listen at; port 0 takes a free one.
        workers: int. Local workers of each study, 0 to wait for others to join.
    """

    def __init__(self, address: tuple[str, int], workers: int) -> None:
        self.address, self.workers = address, workers
        self.port = 0
        self._joined = False
        self._servicer = Servicer()
        # Not one thread, as KerasTuner's own, which a long proposal would fill; and no sharing of
        # a port with another chief.
        self._server = grpc.server(
            futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)]
        )
        protos.get_service_grpc().add_OracleServicer_to_server(self._servicer, self._server)

    def __enter__(self) -> "Chief":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._joined and kind is None:
            time.sleep(_LINGER)  # so that workers from elsewhere hear that all is done
        self._server.stop(grace=1).wait()

    def serve(self, oracle: SafeOracle, command: list[str], folder: Path, console: Console) -> None:
        """Give out trials until the oracle has none left and all begun ones have ended.

        A local worker that dies or hangs is started again and gets its trial
        back; a trial over which that happens twice has failed. A trial whose
        worker elsewhere has not been heard of for `LOST_AFTER` seconds goes to
        another.

        Args:
            oracle: SafeOracle, reloaded.
            command: what a local worker runs; `--join host:port` is appended.
            folder: Path for `worker-….log`.
            console: Console.

        Raises:
            UserError: if the port is in use, or workers cannot start.
        """
        self._servicer.begin(oracle)
        if not self.port:
            self._listen()
        host = self.address[0]
        console.stage("search", f"chief at {host}:{self.port}, {self.workers} local workers")
        here = "127.0.0.1" if host in ("0.0.0.0", "::", "[::]") else host
        joining = [*command, "--join", f"{here}:{self.port}"]
        crew = [Worker(i, joining, self.workers, folder) for i in range(self.workers)]
        try:
            _supervise(oracle, self._servicer, crew, console)
        finally:
            self._servicer.open = False
            self._joined = bool(set(self._servicer.heard) - {worker.name for worker in crew})
            for worker in crew:
                worker.stop()

    def _listen(self) -> None:
        host, port = self.address
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise UserError(
                f"--listen {host}:{port}: cannot be listened at; choose another port, or 0"
            ) from error
        self._server.start()


def check_port(address: tuple[str, int]) -> None:
    """Whether a chief could listen at an address.

    Raises:
        UserError: if it could not.
    """
    host, port = address
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Else a port would count as taken for a minute after its chief was killed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise UserError(
                f"--listen {host}:{port}: {error.strerror}; choose another port, or 0"
            ) from error


def _supervise(
    oracle: SafeOracle, servicer: Servicer, crew: list[Worker], console: Console
) -> None:
    deaths: Counter[str] = Counter()
    at_start = ended = 0
    for worker in crew:
        worker.start()
    while True:
        time.sleep(0.2)
        if servicer.error is not None:
            raise servicer.error
        if ended != len(oracle.end_order):
            at_start, ended = 0, len(oracle.end_order)
        for worker in crew:
            _kill_if_silent(worker, oracle, servicer, console)
            code = worker.ended()
            trial = oracle.ongoing_trials.get(worker.name)
            if code is None or (code == 0 and trial is None):
                continue
            at_start = at_start + 1 if trial is None else 0
            if at_start >= _DEATHS_AT_START:
                raise UserError(
                    f"{worker.log}: workers end before their first trial: {worker.said}"
                )
            if trial is not None:
                deaths[trial.trial_id] += 1
                if deaths[trial.trial_id] > 1:
                    why = f"its worker died twice ({_why(code)})"
                    _end(servicer, worker.name, trial, TrialStatus.FAILED, why)
            console.stage("search", f"{worker.name} died ({_why(code)}); starting it again")
            worker.start()
        local = {worker.name for worker in crew}
        for name, trial in dict(oracle.ongoing_trials).items():
            last = servicer.heard.setdefault(name, time.monotonic())
            if name not in local and time.monotonic() - last > LOST_AFTER:
                console.stage("search", f"trial {trial.trial_id}: nothing heard of {name}")
                _end(servicer, name, trial, TrialStatus.INVALID, f"{name} was lost")
                oracle.tuner_ids.discard(name)
        if any(worker.running for worker in crew) or oracle.ongoing_trials:
            continue
        if oracle.waiting and crew:
            crew[0].start()
        elif _has_ended(oracle, servicer, bool(crew)):
            return


def _has_ended(oracle: SafeOracle, servicer: Servicer, crew: bool) -> bool:
    """Close the study if no trial is left; a call that comes between finds it closed or runs on."""
    with servicer.lock:
        told = crew or servicer.stop_triggered
        if oracle.ongoing_trials or oracle.waiting or not (told or oracle.exhausted):
            return False
        servicer.open = False
        return True


def _kill_if_silent(
    worker: Worker, oracle: SafeOracle, servicer: Servicer, console: Console
) -> None:
    if not worker.running:
        return
    holds = worker.name in oracle.ongoing_trials
    silent = time.monotonic() - max(worker.started, servicer.heard.get(worker.name, 0.0))
    if silent > (LOST_AFTER if holds else START_WITHIN):
        console.stage("search", f"{worker.name} hangs: nothing heard of it for {silent:.0f} s")
        worker.kill()


def _end(servicer: Servicer, name: str, trial: Trial, status: str, message: str) -> None:
    """End a trial in the place of the worker that runs it, if it still does."""
    with servicer.lock:
        if servicer.oracle.holds(name, trial.trial_id):
            ended = Trial(trial.hyperparameters, trial.trial_id, status, message)
            servicer.oracle.end_trial(ended)


def _why(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
