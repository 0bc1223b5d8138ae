"""Versions of a served model: `<base>/<version>/`, each complete or not there.

TF Serving loads a numeric directory the moment it sees one. A version is
therefore written under a hidden name beside its place, which TF Serving passes
over, and appears by one rename.
"""

import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdmatch.errors import UserError

_TEMPORARY = re.compile(r"^\.tmp-(?P<name>[a-z0-9]+)-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{8}$")

# Temporaries of this very process. Without it a restarted container, which
# often has the same host name and process id, would spare its own leftovers.
_active: set[Path] = set()


def list_versions(base: Path) -> list[int]:
    """Lists the complete versions under a model's directory, lowest first.

    Args:
        base: Path. `saved_models/<name>`; it need not exist.

    Returns:
        The numbers of the directories that hold a `saved_model.pb`.
    """
    return [n for n in _numbered(base) if (Path(base) / str(n) / "saved_model.pb").is_file()]


def latest_version(base: Path) -> int | None:
    """Returns the highest complete version, or None where there is none."""
    return max(list_versions(base), default=None)


def next_version(base: Path) -> int:
    """Returns the number after every version there is or is being written.

    An incomplete numeric directory counts: its number is taken.
    """
    writing = [match["name"] for path, match in _temporaries(base) if not _stale(path)]
    return max([*_numbered(base), *(int(n) for n in writing if n.isdecimal())], default=0) + 1


@contextmanager
def hidden_folder(base: Path, name: str) -> Iterator[Path]:
    """A folder under a model's directory to write something in, gone when the block ends.

    What killed processes of this machine left behind is removed first; what others are
    writing stays.

    Args:
        base: Path. Created if it is missing.
        name: str. What it becomes when the block renames it, letters and digits.
    """
    base.mkdir(parents=True, exist_ok=True)
    _remove_stale(base)
    host, token = socket.gethostname() or "host", secrets.token_hex(4)
    temporary = base / f".tmp-{name}-{host}-{os.getpid()}-{token}"
    _active.add(temporary)
    try:
        # Not mkdtemp: its mode 0700 would lock out a server run by another user.
        temporary.mkdir()
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _active.discard(temporary)


@contextmanager
def new_version(base: Path, version: int | None = None) -> Iterator[Path]:
    """Writes a version that becomes visible whole, by one rename, or never.

    What killed processes of this machine left behind is removed first. If the
    body raises, its directory is removed and nothing has appeared.

    Args:
        base: Path. `saved_models/<name>`, created if it is missing.
        version: int. At least 1; the next free number if None.

    Yields:
        A hidden directory on the same file system, to write the version in.

    Raises:
        UserError: if the version exists, or the body wrote no
            `saved_model.pb`.
    """
    base = Path(base)
    if version is not None and version < 1:
        raise UserError(f"{base}: version {version} is not a positive number")
    number = next_version(base) if version is None else version
    target = base / str(number)
    if target.exists():
        raise UserError(f"{target}: version {number} exists already; choose another number")

    with hidden_folder(base, str(number)) as temporary:
        yield temporary
        if not (temporary / "saved_model.pb").is_file():
            raise UserError(f"{target}: no saved_model.pb was written; nothing is published")
        _sync_tree(temporary)
        try:
            temporary.rename(target)
        except OSError as error:
            raise UserError(f"{target}: cannot be published ({error.strerror})") from error
        _sync(base)


def _numbered(base: Path) -> list[int]:
    base = Path(base)
    names = [path.name for path in base.iterdir() if path.is_dir()] if base.is_dir() else []
    return sorted(int(n) for n in names if n.isascii() and n.isdecimal() and str(int(n)) == n)


def _temporaries(base: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    if Path(base).is_dir():
        for path in Path(base).iterdir():
            if match := _TEMPORARY.match(path.name):
                yield path, match


def _stale(path: Path) -> bool:
    match = _TEMPORARY.match(path.name)
    if match is None or match["host"] != (socket.gethostname() or "host"):
        return False
    pid = int(match["pid"])
    if pid == os.getpid():
        return path not in _active
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def _remove_stale(base: Path) -> None:
    for path, _ in list(_temporaries(base)):
        if _stale(path):
            shutil.rmtree(path, ignore_errors=True)


def _sync_tree(directory: Path) -> None:
    for parent, _, files in os.walk(directory, topdown=False):
        for name in files:
            _sync(Path(parent, name))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
