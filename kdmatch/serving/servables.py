"""Models held in memory by the local server, and their exchange for new ones."""

import gc
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from kdmatch.errors import UserError
from kdmatch.serving.model_config import Policy, policies
from kdmatch.serving.servable import Servable
from kdmatch.serving.tensors import RequestError
from kdmatch.serving.versions import latest_version

log = logging.getLogger(__name__)

# What a damaged, half-copied or foreign directory raises while it loads. One
# broken model must not stop the others.
_LOAD_ERRORS = (
    UserError,
    RequestError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
)


Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Failure:
    """A version that could not be loaded, and the file it was tried with.

    Attributes:
        stamp: of its `saved_model.pb`; None where there is none.
        reason: str. One line.
    """

    stamp: Stamp | None
    reason: str


@dataclass(frozen=True)
class Loaded:
    """A version in memory, and the file it was read from.

    Attributes:
        stamp: of its `saved_model.pb`.
        servable: Servable.
    """

    stamp: Stamp | None
    servable: Servable


@dataclass(frozen=True)
class Served:
    """What is served of one model; replaced whole, never changed.

    Attributes:
        versions: loaded versions by number.
        labels: version numbers by label.
    """

    versions: Mapping[int, Loaded]
    labels: Mapping[str, int]


class Servables:
    """The versions of each model that are wanted: the latest, or what a config says.

    Requests read one mapping that is replaced whole: whoever holds a servable
    finishes on it, whatever has been loaded since.

    Args:
        base: Path. Holds `<name>/<version>/`, or is one model's directory.
    """

    def __init__(self, base: Path):
        self.base = Path(base)
        self.failures: dict[tuple[str, int], Failure] = {}
        self._served: dict[str, Served] = {}
        self._policies: dict[str, Policy] | None = None
        self._scanning = threading.RLock()

    @property
    def names(self) -> list[str]:
        """Names of the models that are served."""
        return sorted(self._served)

    def model_paths(self) -> dict[str, Path]:
        """Finds the models' directories, by name."""
        if latest_version(self.base) is not None:
            return {self.base.resolve().name: self.base}
        if not self.base.is_dir():
            return {}
        found = sorted(path for path in self.base.iterdir() if not path.name.startswith("."))
        return {path.name: path for path in found if latest_version(path) is not None}

    def scan(self) -> None:
        """Loads the versions that are wanted and not loaded yet, then drops the others.

        One whose `saved_model.pb` is another file than was loaded, as a model
        trained anew leaves under the same number, is loaded again. A version
        that fails to load is logged, and the ones before go on serving; it is
        tried again when its file changes. A model whose directory has gone
        goes on serving too.
        """
        with self._scanning:
            wanted = self._policies
            if wanted is None:
                wanted = {name: Policy(path) for name, path in self.model_paths().items()}
            for name, policy in wanted.items():
                self._update(name, policy)

    def configure(self, config: Any) -> None:
        """Serves what a `ModelConfigList` says, and nothing else.

        As in TF Serving, labels come first: one may be given to a version that was
        loaded before, or to one of a model that is new. Where a model that is
        served cannot have it, nothing is loaded or dropped.

        Raises:
            RequestError: INVALID_ARGUMENT for a model without name or folder,
                FAILED_PRECONDITION for a label of a version that is not loaded.
        """
        wanted = policies(config, self.base)
        with self._scanning:  # two callers, one after the other: each sees what the other left
            before = self._served
            for name, policy in wanted.items():
                if name in before:
                    _check_labels(name, policy, before[name])
            self._policies = wanted
            self._served = {name: one for name, one in before.items() if name in wanted}
            self.scan()
            for name, policy in wanted.items():
                if name not in before:
                    _check_labels(name, policy, self._served.get(name))
            self._served = {
                name: Served(one.versions, wanted[name].labels)
                for name, one in self._served.items()
            }

    def find(self, model_spec: Any) -> Servable:
        """Returns what a `ModelSpec` asks for.

        Raises:
            RequestError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label or
                a specification without a name.
        """
        name = model_spec.name
        if not name:
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        served = self._served.get(name)
        asked = model_spec.version.value if model_spec.HasField("version") else None
        if label := model_spec.version_label:
            asked = served.labels.get(label) if served else None
            if asked is None:
                raise RequestError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {label}",
                )
        versions = served.versions if served else {}
        found = versions.get(max(versions, default=0) if asked is None else asked)
        if found is None:
            wanted = f"Latest({name})" if asked is None else f"Specific({name}, {asked})"
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}"
            )
        return found.servable

    def versions(self, name: str) -> list[int]:
        """Lists the loaded versions of a model, the highest first."""
        served = self._served.get(name)
        return sorted(served.versions, reverse=True) if served else []

    def _update(self, name: str, policy: Policy) -> None:
        served = self._served.get(name) or Served({}, {})
        loaded = dict(served.versions)
        wanted = policy.wanted()
        for version in wanted:
            path = policy.path / str(version)
            if version not in loaded or _stamp(path) not in (None, loaded[version].stamp):
                found = self._load(name, version, path)
                if found is not None:
                    loaded[version] = found
        kept = {version: loaded[version] for version in wanted if version in loaded}
        # Nothing that is wanted can be served: what was served before is better than nothing.
        if kept and kept != served.versions:
            self._served = {**self._served, name: Served(kept, served.labels)}
            del served, loaded
            gc.collect()  # a graph is full of cycles: what was dropped would stay for long

    def _load(self, name: str, version: int, path: Path) -> Loaded | None:
        import tensorflow as tf

        failed = self.failures.get((name, version))
        stamp = _stamp(path)
        if failed is not None and stamp is not None and failed.stamp == stamp:
            return None
        try:
            servable = Servable(name, version, path)
        except (*_LOAD_ERRORS, tf.errors.OpError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            if failed is None or failed.stamp != stamp:
                log.error("model %s: version %d cannot be loaded: %s", name, version, reason)
            self.failures[name, version] = Failure(stamp, reason)
            return None
        self.failures = {
            key: failure
            for key, failure in self.failures.items()
            if key[0] != name or key[1] > version
        }
        log.info("model %s: version %d is served", name, version)
        return Loaded(stamp, servable)


def _stamp(path: Path) -> Stamp | None:
    """What tells a version's `saved_model.pb` from another in its place; None without one."""
    try:
        found = (path / "saved_model.pb").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def require_models(servables: Servables) -> None:
    """Raises a UserError, in one line, if nothing at all can be served."""
    if servables.names:
        return
    if servables.failures:
        (name, version), failure = next(iter(servables.failures.items()))
        raise UserError(f"{servables.base}: {name}/{version}: {failure.reason}")
    raise UserError(
        f"{servables.base}: no model found; expected <name>/<version>/saved_model.pb, "
        "as `kdmatch export` writes"
    )


def _check_labels(model: str, policy: Policy, served: Served | None) -> None:
    for version in policy.labels.values():
        if served is None or version not in served.versions:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {model}, which is not "
                "currently available for inference",
            )
