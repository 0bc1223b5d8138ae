"""A worker: runs the trials that a chief gives out, here or on another machine."""

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import grpc

from kdmatch.errors import UserError
from kdmatch.pipeline.config import Config
from kdmatch.pipeline.console import Console
from kdmatch.search.oracles import make_oracle
from kdmatch.search.space import hyperparameters, space_of
from kdmatch.search.study import Study
from kdmatch.search.trial import TrialTrainer
from kdmatch.search.tuner import ChiefGoneError, StudentTuner

_PATIENCE = 60.0


def parse_address(address: str, option: str) -> tuple[str, int]:
    """`host:port` in its parts.

    >>> parse_address("10.0.0.5:8600", "--join")
    ('10.0.0.5', 8600)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(f"{option} {address!r}: write it as host:port, for example 10.0.0.5:8600")
    return host, int(port)


def join(config: Config, root: Path, address: str, console: Console) -> None:
    """Work for the chief at `address` until it has nothing left to do.

    The run directory is shared with the chief, or a copy of it: its `scores`
    must be there. A chief that searches several students gives out one after
    another; a worker that a chief started itself leaves with the first.

    Raises:
        UserError: if no chief answers, or it searches something else.
    """
    host, port = parse_address(address, "--join")
    own = "KERASTUNER_TUNER_ID" not in os.environ
    os.environ.setdefault("KERASTUNER_TUNER_ID", f"joined-{uuid.uuid4().hex[:8]}")
    os.environ["KERASTUNER_ORACLE_IP"], os.environ["KERASTUNER_ORACLE_PORT"] = host, str(port)
    if not _answers(host, port, _PATIENCE):
        raise UserError(
            f"--join {address}: no chief answers; start `kdmatch search CONFIG --listen "
            f"0.0.0.0:{port}` there first"
        )
    parent = os.getppid()

    def alive() -> None:
        if not own and os.getppid() != parent:
            sys.exit(1)  # the chief that started this process is gone
        if not _answers(host, port, _PATIENCE):
            raise ChiefGoneError

    while True:
        try:
            _work(config, root, address, console, alive)
        except (ChiefGoneError, grpc.RpcError):
            console.stage("search", f"the chief at {address} is gone")
            return
        if not own or not _answers(host, port, 10.0):
            return


def _work(
    config: Config, root: Path, address: str, console: Console, alive: Callable[[], None]
) -> None:
    from keras_tuner.src.distribute.oracle_client import OracleClient

    said = OracleClient(None).get_space().get("search")
    student, _, key = said.rpartition("-")
    if student not in config.students:
        raise UserError(f"--join {address}: it searches {student!r}, which this config lacks")
    study = Study.of(config, root, student)
    if study.key != key:
        raise UserError(
            f"--join {address}: its search is not of this config, data and version; join with the "
            "chief's own config and run directory"
        )
    space = space_of(config, student)
    oracle = make_oracle(config.search, hyperparameters(space, study.label))
    trainer = TrialTrainer(config, student, space, root)
    StudentTuner(oracle, trainer, study.folder, console, alive).search()


def _answers(host: str, port: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((host, port), timeout=2):
                return True
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.5)
