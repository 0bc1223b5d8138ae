"""Promotion and rollback: version labels moved so that no request fails.

Clients ask for `stable` or `canary`. TF Serving refuses a label for a version
that is not loaded, and a version that is dropped while a label still points at
it is gone for those who ask by label. So a move has three steps: load the new
version beside the old one, move the label, drop what has no label any more.
`previous` keeps the version that `stable` had, loaded, for a rollback at once.
A `canary` that has become `stable` goes where `stable` goes, until it is given
a version of its own again: clients that ask for it are always answered.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kdmatch.errors import UserError
from kdmatch.serving.management import await_version, reload_config
from kdmatch.serving.model_config import find_model, read_config, write_config

STABLE, CANARY, PREVIOUS = "stable", "canary", "previous"
_ROLLBACK_SECONDS = 60.0


@dataclass(frozen=True)
class Change:
    """What a promotion or rollback did.

    Attributes:
        moved: bool. False where the version has only been listed for loading.
        before, after: version numbers by label.
        versions: versions that the file lists now.
    """

    moved: bool
    before: Mapping[str, int]
    after: Mapping[str, int]
    versions: tuple[int, ...]

    @property
    def unlabelled(self) -> int | None:
        """The version that clients without version and label get, if it is not `stable`."""
        highest = max(self.versions)
        return highest if self.after.get(STABLE) not in (None, highest) else None


def promote(
    path: Path,
    model: str,
    version: int | None = None,
    label: str = STABLE,
    target: str | None = None,
    wait_seconds: float = 300.0,
    checks: Sequence[str] = (),
    loaded: bool = False,
) -> Change:
    """Point a label at a version.

    With `target` the server is told each step and asked whether the version is
    AVAILABLE before the label moves; if anything fails until then, file and
    server are put back. Without it the file alone changes, for servers that
    read it again by themselves: a version that is not listed yet is listed, and
    the label moves when this is called again and each server in `checks` says
    AVAILABLE. TF Serving sets labels before it loads: one that read of a label
    before it had its version would refuse the file, and all later ones.

    Args:
        path: a `models.config`.
        model: name of the model in it.
        version: int. The version; by default the one of `canary`.
        label: `stable` or `canary`.
        target: `host:port` of the server.
        wait_seconds: float. How long the version may take to load.
        checks: `host:port` of each server that reads the file; they are asked only.
        loaded: bool. It has been seen that all of them have the version: ask none.

    Returns:
        Change.

    Raises:
        UserError: if model, label or version are unknown, the model lists no versions or a
            canary comes before any `stable`, the version does not load, the server refuses,
            nobody says that a listed version is loaded, or another promotion or rollback is at
            work on the file.
    """
    with _alone(path, model) as (path, config, entry):
        after, version = _promoted(path, entry, model, version, label)

        def before_it_moves() -> None:
            if not checks and not loaded:
                raise UserError(
                    f"{path}: {model} version {version} is listed; its label moves once it is "
                    "loaded: give --check HOST:PORT for each server that reads the file, or "
                    "--loaded if you have seen it"
                )
            for server in checks:
                await_version(server, model, version, wait_seconds)

        return _move(path, config, entry, after, version, target, wait_seconds, before_it_moves)


def rollback(path: Path, model: str, target: str | None = None) -> Change:
    """Point `stable` back at the version it had before, and `previous` at this one.

    Raises:
        UserError: if there is no such version, the server refuses, or another
            promotion or rollback is at work on the file.
    """
    with _alone(path, model) as (path, config, entry):
        before = dict(entry.version_labels)
        if PREVIOUS not in before or STABLE not in before:
            raise UserError(f"{path}: {model} has no {PREVIOUS} version; nothing was promoted yet")
        after = {**_with_stable(before, before[PREVIOUS]), PREVIOUS: before[STABLE]}
        # `previous` is loaded: nothing drops it.
        return _move(
            path, config, entry, after, after[STABLE], target, _ROLLBACK_SECONDS, lambda: None
        )


@contextlib.contextmanager
def _alone(path: Path, model: str) -> Iterator[tuple[Path, Any, Any]]:
    """Hold the file from reading it to the last writing: two changes at once undo each other.

    Yields:
        the file itself, where `path` is a link to it; its config; the model's entry there.

    Raises:
        UserError: if another holds it, or there is no such file, or no such model in it.
    """
    path = path.resolve()
    read_config(path)  # a mistyped path leaves no lock behind
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{path}: another promotion or rollback is at work on this file; wait until it has "
            "ended, then look whether yours is still wanted"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be locked ({error.strerror}); check who may write in its folder"
        ) from error
    try:
        config = read_config(path)
        yield path, config, find_model(config, model, path)
    finally:
        lock.release()


def _promoted(
    path: Path, entry: Any, model: str, version: int | None, label: str
) -> tuple[dict[str, int], int]:
    """The labels after a promotion, and the version that gets one."""
    before = dict(entry.version_labels)
    if label not in (STABLE, CANARY):
        raise UserError(f"label {label!r} is unknown; choose {STABLE} or {CANARY}")
    policy = entry.model_version_policy
    if policy.WhichOneof("policy_choice") != "specific":
        raise UserError(
            f"{path}: {model} serves whichever versions it finds; list those that it serves now "
            f"under `specific`, and give the label {STABLE} to one"
        )
    if label == CANARY and STABLE not in before:
        raise UserError(
            f"{path}: {model} has no {STABLE} version, which a {CANARY} would leave unlisted; "
            f"promote the version that serves to {STABLE} first"
        )
    if version is None:
        version = before.get(CANARY)
        if version in (None, before.get(STABLE)) or label == CANARY:
            raise UserError(f"{path}: {model} has no {CANARY} to promote; give --version")
    if before.get(label) == version:
        raise UserError(f"{path}: {model}: version {version} is {label} already")
    folder = Path(entry.base_path)
    if folder.is_dir() and not (folder / str(version) / "saved_model.pb").is_file():
        raise UserError(f"{folder}: no complete version {version}; export it first")
    if label == CANARY:
        return {**before, CANARY: version}, version
    after = _with_stable(before, version)
    served = before.get(STABLE, max({*policy.specific.versions} - {version}, default=None))
    return after | ({} if served is None else {PREVIOUS: served}), version


def _with_stable(labels: Mapping[str, int], version: int) -> dict[str, int]:
    """The labels with another `stable`, and a `canary` that was the same with it."""
    alike = CANARY in labels and labels[CANARY] == labels.get(STABLE)
    return {**labels, STABLE: version} | ({CANARY: version} if alike else {})


def _move(
    path: Path,
    config: Any,
    entry: Any,
    after: dict[str, int],
    version: int,
    target: str | None,
    wait_seconds: float,
    before_it_moves: Callable[[], None],
) -> Change:
    before = dict(entry.version_labels)
    original = type(config).FromString(config.SerializeToString())
    listed = set(entry.model_version_policy.specific.versions)
    together = listed | set(before.values()) | set(after.values())
    kept = set(after.values())
    if target is None:
        moved = kept <= listed
        if moved:
            before_it_moves()
            _set_labels(entry, after)
        listing = kept if moved else together
        _list_versions(entry, listing)
        write_config(path, config)
        return Change(moved, before, after if moved else before, tuple(sorted(listing)))
    try:
        _list_versions(entry, together)
        write_config(path, config)
        reload_config(target, config)
        await_version(target, entry.name, version, wait_seconds)
        _set_labels(entry, after)
        reload_config(target, config)
        _list_versions(entry, kept)
        write_config(path, config)
    except BaseException as error:
        write_config(path, original)
        try:
            reload_config(target, original)
        except UserError as again:
            raise UserError(f"{error}; and the server could not be put back: {again}") from error
        raise
    try:
        reload_config(target, config)
    except UserError as error:
        raise UserError(
            f"{error}; {entry.name}'s labels have moved all the same, on the server and in {path}: "
            "only what has no label any more may be loaded still, until the next change"
        ) from error
    return Change(True, before, after, tuple(sorted(kept)))


def _list_versions(entry: Any, versions: set[int]) -> None:
    entry.model_version_policy.Clear()
    entry.model_version_policy.specific.versions.extend(sorted(versions))


def _set_labels(entry: Any, labels: Mapping[str, int]) -> None:
    entry.version_labels.clear()
    entry.version_labels.update(labels)
