"""A worker: runs the trials that a chief gives out, here or on another machine."""

import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdmatch.errors import UserError
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.search.client import PATIENCE, ChiefClient, ChiefGoneError
from kdmatch.search.oracles import make_oracle
from kdmatch.search.space import hyperparameters, space_of
from kdmatch.search.study import Study
from kdmatch.search.trial import TrialTrainer
from kdmatch.search.tuner import StudentTuner

_OF_A_STARTED_WORKER = 45.0  # its chief is on this machine
_AFTER_A_STUDY = 5.0
_BETWEEN_STUDIES = 2.0


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

    The run directory is shared with the chief. One that searches several
    students gives out one after another, and this waits between them; a
    worker that a chief started itself leaves with the first, and ends with
    status 1 if its chief is gone before.

    Raises:
        UserError: if no chief answers, or it searches something else.
    """
    parse_address(address, "--join")
    if started := os.environ.get("KERASTUNER_TUNER_ID"):
        parent = os.getppid()

        def alive() -> None:
            if os.getppid() != parent:
                raise ChiefGoneError("the chief that started this worker is gone")

        worker = _Worker(config, root, address, console, started, alive, _OF_A_STARTED_WORKER)
        try:
            worker.tuner(worker.client().searched()).search()
        except ChiefGoneError as error:
            console.stage("search", f"the chief at {address} is gone: {error}")
            sys.exit(1)
    else:
        name = f"joined-{uuid.uuid4().hex[:8]}"
        _join_from_elsewhere(_Worker(config, root, address, console, name, lambda: None))


@dataclass(frozen=True)
class _Worker:
    """Who works for a chief, and on what."""

    config: Config
    root: Path
    address: str
    console: Console
    name: str
    alive: Callable[[], None]
    patience: float | None = None

    def client(self, label: str = "", oracle: Any = None) -> ChiefClient:
        address = parse_address(self.address, "--join")
        return ChiefClient(address, self.name, label, oracle, self.patience)

    def tuner(self, label: str) -> StudentTuner:
        """One for the study that the chief searches; reads its rows."""
        student, _, key = label.rpartition("-")
        if student not in self.config.students:
            raise UserError(
                f"--join {self.address}: it searches {student!r}, which this config lacks"
            )
        study = Study.of(self.config, self.root, student)
        if study.key != key:
            raise UserError(
                f"--join {self.address}: its search is not of this config, data and version; join "
                "with the chief's own config and run directory"
            )
        space = space_of(self.config, student)
        oracle = make_oracle(self.config.search, hyperparameters(space, label))
        trainer = TrialTrainer(self.config, student, space, self.root)
        chief = self.client(label, oracle)
        return StudentTuner(oracle, trainer, study.folder, self.console, chief, self.alive)


def _join_from_elsewhere(worker: _Worker) -> None:
    asking, label, patience = worker.client(), "", PATIENCE
    while True:
        try:
            searched = asking.searched(patience)
        except ChiefGoneError as error:
            if not label:
                port = parse_address(worker.address, "--join")[1]
                raise UserError(
                    f"--join {worker.address}: no chief answers; start `kdmatch search CONFIG "
                    f"--listen 0.0.0.0:{port}` there first"
                ) from error
            if patience == PATIENCE:
                worker.console.stage("search", f"the chief at {worker.address} is gone")
            return
        if searched != label:
            tuner = worker.tuner(searched)
            label = searched
        try:
            tuner.search()
        except ChiefGoneError:  # it was killed, or searches the next student by now
            patience = PATIENCE
        else:
            patience = _AFTER_A_STUDY
            time.sleep(_BETWEEN_STUDIES)
