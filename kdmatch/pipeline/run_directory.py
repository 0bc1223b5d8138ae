"""The run directory: one folder a stage, done when its `done.json` is there."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel

from kdmatch import __version__
from kdmatch.errors import UserError
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.section import AddedLater

RESULTS = ("metrics.json", "report.html", "model_card.md")


class RunDirectory:
    """Stages by name, skipped while what they were made from stays the same.

    A stage's key is a hash of its config, the keys of the stages before it
    and this package's version; a field marked `AddedLater` counts once it is
    set. A folder whose `started.json` has the same key is left in place, so
    that a stage can go on from its own checkpoints; any other is emptied
    first. `done.json` is written last. One process at a time does stages of a directory,
    and what the run found at its end (`RESULTS`) is taken away once one is done again.

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
        self._lock = FileLock(root / ".lock", timeout=0)
        self._console = console

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
        folder = self.root / name
        key = _key({"inputs": inputs, "after": [self.keys[other] for other in after]})
        self.keys[name] = key
        if _read_key(folder / "done.json") == key:
            self._console.stage(name, "already done")
            return folder
        with self.alone():
            self._do(name, folder, key, work)
        return folder

    def _do(
        self,
        name: str,
        folder: Path,
        key: str,
        work: Callable[[Path], dict[str, Any] | None],
    ) -> None:
        if _read_key(folder / "started.json") != key:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        for outdated in (folder / "done.json", *(self.root / name for name in RESULTS)):
            outdated.unlink(missing_ok=True)
        write_json(folder / "started.json", {"stage": name, "key": key})
        begun = time.monotonic()
        with self._console.working(name):
            notes = work(folder) or {}
        done = {
            "stage": name,
            "key": key,
            "seconds": round(time.monotonic() - begun, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **notes,
        }
        write_json(folder / "done.json", done)
        self._console.stage(name, f"done in {done['seconds']:.0f} s")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the directory's lock, which the system lets go when a process dies.

        Raises:
            UserError: if another process holds it.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(
                f"{self.root}: another process is at work in this run directory; "
                "wait until it has ended, or give this run another --out"
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    def _is_past(self, name: str) -> bool:
        def inside(stage: str) -> bool:
            return f"{stage}/".startswith(f"{self.until}/")

        return bool(self.until) and any(map(inside, self.keys)) and not inside(name)


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


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def write_json(path: Path, value: Any) -> None:
    """Write JSON, complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)


def file_hash(path: Path) -> str:
    """BLAKE2 of a file's bytes.

    Raises:
        UserError: if there is no such file.
    """
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _key(value: Any) -> str:
    def plain(item: Any) -> Any:
        return section_fields(item) if isinstance(item, BaseModel) else str(item)

    text = json.dumps([__version__, value], sort_keys=True, default=plain)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def section_fields(section: BaseModel) -> dict[str, Any]:
    """Fields of a config section, without those that were added later and hold their default."""
    fields = type(section).model_fields
    return {
        name: value
        for name, value in section
        if not any(isinstance(mark, AddedLater) for mark in fields[name].metadata)
        or value != fields[name].get_default(call_default_factory=True)
    }


def _read_key(path: Path) -> str | None:
    try:
        return json.loads(path.read_text("utf-8")).get("key")
    except (FileNotFoundError, json.JSONDecodeError):
        return None
