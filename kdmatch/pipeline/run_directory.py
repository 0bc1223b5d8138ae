"""The run directory: one folder a stage, done when its `done.json` is there."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kdmatch.errors import UserError
from kdmatch.evaluation.run_record import BESIDE
from kdmatch.files import read_json, write_json, write_text
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.side_by_side import side_by_side
from kdmatch.pipeline.stage_keys import stage_key

RESULTS = ("metrics.json", "report.html", "model_card.md")


@dataclass(frozen=True)
class Stage:
    """A stage that other processes may do, so that all of it can be pickled.

    Attributes:
        name: folder below the root, slashes allowed.
        inputs: what the stage is made from (config sections, hashes of files).
        after: names of the stages whose artifacts it reads.
        work: callable of the folder and a Console; what it returns goes into `done.json`.
    """

    name: str
    inputs: Mapping[str, Any]
    after: list[str]
    work: Callable[[Path, Console], dict[str, Any] | None]


class RunDirectory:
    """Stages by name, skipped while what they were made from stays the same.

    A stage's key is a hash of its config, the keys of the stages before it
    and this package's version; a field marked `AddedLater` counts once it is
    set. A folder whose `started.json` has the same key is left in place, so
    that a stage can go on from its own checkpoints; any other is emptied
    first. `done.json` is written last. One process at a time does stages of a directory,
    and what the run found at its end (`RESULTS`) is taken away once one that it came
    from is done again.

    Args:
        root: Path of the directory.
        console: Console to say what is done.
        until: str. Raise `LastStageDone` after this stage or, where it is a folder of stages,
            before the first that comes after them.
    """

    def __init__(self, root: Path, console: Console, until: str = "") -> None:
        self.root = root
        self.until = until
        self.keys: dict[str, str] = {}
        self._made_from: dict[str, dict[str, str]] = {}
        self._lock = FileLock(root / ".lock")
        self._console = console

    def write_config(self, text: str) -> None:
        """Write `config.yaml`; results of another config than the one there are taken away."""
        path = self.root / "config.yaml"
        if path.is_file() and path.read_text("utf-8") != text:
            self._unlink_results()
        write_text(path, text)

    def stage(
        self,
        name: str,
        inputs: Mapping[str, Any],
        after: list[str],
        work: Callable[[Path], dict[str, Any] | None],
    ) -> Path:
        """Do the stage, unless it is done already.

        Args:
            name: str. Folder below the root, slashes allowed.
            inputs: mapping of what the stage is made from (config sections,
                hashes of files).
            after: names of the stages whose artifacts it reads.
            work: callable of the folder; what it returns goes into `done.json`.

        Returns:
            the stage's folder.

        Raises:
            UserError: if another process is doing a stage of this directory.
        """
        if self._is_past(name):
            raise LastStageDone
        if self._is_missing(name, inputs, after):
            self._do(name, work)
        return self.root / name

    def stages(self, stages: Sequence[Stage], jobs: int = 1) -> None:
        """Do stages that do not read one another, up to `jobs` of them at a time.

        With more than one job each is done in a process of its own, on its
        share of the cores; see `kdmatch.pipeline.side_by_side`. The first that
        fails ends the call, once those that had begun are done. Where some lie in
        `until`, only those are done.

        Args:
            stages: sequence of Stage.
            jobs: int. Processes at most; 1 does the stages here, in order.

        Raises:
            UserError: if another process is doing a stage of this directory.
        """
        last = [one for one in stages if self.until and self._is_inside(one.name)]
        if stages and not last and self._is_past(stages[0].name):
            raise LastStageDone
        missing = [
            one for one in last or stages if self._is_missing(one.name, one.inputs, one.after)
        ]
        if jobs == 1 or len(missing) < 2:
            for one in missing:
                self._do(one.name, one.work, self._console)
        else:
            with self.alone():
                calls = {
                    one.name: partial(_timed, one.work, self._begin(one.name)) for one in missing
                }
                for name, (seconds, notes) in side_by_side(calls, jobs, self._console):
                    self._end(name, seconds, notes)
        if last:
            raise LastStageDone

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage is done, from what it would be made from now."""
        key = self._key(stage.inputs, stage.after)
        return _read_key(self.root / stage.name / "done.json") == key

    def _key(self, inputs: Mapping[str, Any], after: list[str]) -> str:
        return stage_key({"inputs": inputs, "after": [self.keys[other] for other in after]})

    def _is_missing(self, name: str, inputs: Mapping[str, Any], after: list[str]) -> bool:
        key = self._key(inputs, after)
        self.keys[name] = key
        self._made_from[name] = {other: self.keys[other] for other in after}
        if _read_key(self.root / name / "done.json") != key:
            return True
        self._console.stage(name, "already done")
        return False

    def _do(self, name: str, work: Callable[..., dict[str, Any] | None], *more: Any) -> None:
        with self.alone():
            folder = self._begin(name)
            with self._console.working(name):
                self._end(name, *_timed(work, folder, *more))

    def _begin(self, name: str) -> Path:
        folder = self.root / name
        # First of all: a call that is stopped from here on leaves a stage that is not done.
        (folder / "done.json").unlink(missing_ok=True)
        if name.split("/")[0] not in BESIDE:
            self._unlink_results()
        if _read_key(folder / "started.json") != self.keys[name]:
            (folder / "started.json").unlink(missing_ok=True)
            if folder.exists():
                shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "started.json", {"stage": name, "key": self.keys[name]})
        return folder

    def _unlink_results(self) -> None:
        for result in RESULTS:
            (self.root / result).unlink(missing_ok=True)

    def _end(self, name: str, seconds: float, notes: dict[str, Any]) -> None:
        done = {
            "stage": name,
            "key": self.keys[name],
            "after": self._made_from[name],
            "seconds": round(seconds, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **notes,
        }
        write_json(self.root / name / "done.json", done)
        self._console.stage(name, f"done in {seconds:.0f} s")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the directory's lock, which the system lets go when a process dies.

        Raises:
            UserError: if another process holds it.
        """
        with alone(
            self._lock,
            f"{self.root}: another process is at work in this run directory; "
            "wait until it has ended, or give this run another --out",
        ):
            yield

    def _is_inside(self, name: str) -> bool:
        return f"{name}/".startswith(f"{self.until}/")

    def _is_past(self, name: str) -> bool:
        return (
            bool(self.until) and any(map(self._is_inside, self.keys)) and not self._is_inside(name)
        )


def _timed(
    work: Callable[..., dict[str, Any] | None], *arguments: Any
) -> tuple[float, dict[str, Any]]:
    """Seconds that the work took, and what it returned."""
    begun = time.monotonic()
    notes = work(*arguments) or {}
    return time.monotonic() - begun, notes


@contextlib.contextmanager
def alone(lock: FileLock, otherwise: str) -> Iterator[None]:
    """Hold a lock, or raise a UserError with `otherwise` if another process holds it."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(otherwise) from None
    try:
        yield
    finally:
        lock.release()


class LastStageDone(Exception):
    """The stage that a run was to stop after is done."""


def require_run(root: Path) -> Path:
    """`root`, if it is the directory of a run.

    Raises:
        UserError: otherwise.
    """
    if not (root / "config.yaml").is_file():
        raise UserError(
            f"{root}: not a run directory (config.yaml is missing); make one with "
            "`kdmatch run CONFIG --out DIRECTORY`"
        )
    return root


def require_done(root: Path, stages: Iterable[str]) -> None:
    """Check that stages of a run are done, and made from what now stands beside them.

    Raises:
        UserError: if one is not.
    """
    for name in stages:
        done = root / name / "done.json"
        if not done.is_file():
            raise UserError(f"{root}: {name} is not done yet; call `kdmatch run` first")
        made_from = read_json(done).get("after", {})
        for other, key in made_from.items():
            if _read_key(root / other / "done.json") != key:
                raise UserError(
                    f"{root}: {name} was made from another {other} than now stands there; call "
                    "`kdmatch run` first"
                )
        require_done(root, made_from)


def _read_key(path: Path) -> str | None:
    try:
        return json.loads(path.read_text("utf-8")).get("key")
    except (FileNotFoundError, json.JSONDecodeError):
        return None
