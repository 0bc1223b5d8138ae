"""Models held in memory by the local server, and their exchange for new ones."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from kdmatch.errors import UserError
from kdmatch.serving.ops import read_meta_graphs
from kdmatch.serving.tensors import (
    RequestError,
    check_names,
    from_proto,
    grpc_status,
    to_proto,
)
from kdmatch.serving.versions import latest_version
from kdmatch.serving.warmup import read_warmup

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


class Servable:
    """One version of one model, loaded and warmed up.

    Args:
        name: str. Name under which it is served.
        version: int. Its version.
        path: Path. Directory that holds `saved_model.pb`.
    """

    def __init__(self, name: str, version: int, path: Path):
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  (registers the operations it adds)

        self.name = name
        self.version = version
        self.path = path
        self._module = tf.saved_model.load(str(path))
        self.signature_defs = dict(read_meta_graphs(path)[0].signature_def)
        for record in read_warmup(path):
            request = record.predict_log.request
            signature = request.model_spec.signature_name or "serving_default"
            self.predict(signature, request.inputs, request.output_filter)

    def predict(
        self, signature_name: str, inputs: Any, output_filter: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Runs a signature on `TensorProto` inputs, checked as TF Serving does.

        Raises:
            RequestError: with TF Serving's status for what is wrong.
        """
        import tensorflow as tf

        signature = self._module.signatures.get(signature_name)
        if signature is None:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature_name}" not found.',
            )
        specs = signature.structured_input_signature[1]
        outputs = signature.structured_outputs
        check_names(inputs, specs, output_filter, outputs)
        tensors = {name: from_proto(name, inputs[name], spec) for name, spec in specs.items()}
        try:
            result = signature(**tensors)
        except tf.errors.OpError as error:
            raise RequestError(grpc_status(error.error_code), error.message) from error
        return {name: to_proto(result[name]) for name in output_filter or sorted(outputs)}


@dataclass(frozen=True)
class Failure:
    """A version that could not be loaded, and the file it was tried with.

    Attributes:
        version: int. The version.
        stamp: int. Modification time of its `saved_model.pb`, in ns.
        reason: str. One line.
    """

    version: int
    stamp: int
    reason: str


class Servables:
    """The latest version of each model under a directory.

    Requests read one mapping that is replaced whole: whoever holds a servable
    finishes on it, whatever has been loaded since.

    Args:
        base: Path. Holds `<name>/<version>/`, or is one model's directory.
    """

    def __init__(self, base: Path):
        self.base = Path(base)
        self.failures: dict[str, Failure] = {}
        self._loaded: dict[str, Servable] = {}
        self._scanning = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names of the models that are served."""
        return sorted(self._loaded)

    def model_paths(self) -> dict[str, Path]:
        """Finds the models' directories, by name."""
        if latest_version(self.base) is not None:
            return {self.base.resolve().name: self.base}
        if not self.base.is_dir():
            return {}
        found = sorted(path for path in self.base.iterdir() if not path.name.startswith("."))
        return {path.name: path for path in found if latest_version(path) is not None}

    def scan(self) -> None:
        """Loads each model's latest version where it is not loaded yet.

        A version that fails to load is logged, and the one before goes on
        serving; it is tried again when its file changes. A model whose
        directory has gone goes on serving too.
        """
        with self._scanning:
            for name, path in self.model_paths().items():
                version = latest_version(path)
                current = self._loaded.get(name)
                if version is None or (current is not None and current.version == version):
                    continue
                self._load(name, version, path / str(version))

    def find(self, model_spec: Any) -> Servable:
        """Returns what a `ModelSpec` asks for.

        Raises:
            RequestError: NOT_FOUND, or INVALID_ARGUMENT for a label or a
                specification without a name.
        """
        if not model_spec.name:
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        if model_spec.version_label:
            raise RequestError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Unrecognized servable version label: {model_spec.version_label}",
            )
        servable = self._loaded.get(model_spec.name)
        asked = model_spec.version.value if model_spec.HasField("version") else None
        if servable is None or asked not in (None, servable.version):
            wanted = (
                f"Latest({model_spec.name})"
                if asked is None
                else f"Specific({model_spec.name}, {asked})"
            )
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}"
            )
        return servable

    def _load(self, name: str, version: int, path: Path) -> None:
        import tensorflow as tf

        failed = self.failures.get(name)
        try:
            stamp = (path / "saved_model.pb").stat().st_mtime_ns
            if failed is not None and (failed.version, failed.stamp) == (version, stamp):
                return
            servable = Servable(name, version, path)
        except (*_LOAD_ERRORS, tf.errors.OpError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            self.failures[name] = Failure(version, stamp, reason)
            log.error("model %s: version %d cannot be loaded: %s", name, version, reason)
            return
        self.failures.pop(name, None)
        self._loaded = {**self._loaded, name: servable}
        log.info("model %s: version %d is served", name, version)


def require_models(servables: Servables) -> None:
    """Raises a UserError, in one line, if nothing at all can be served."""
    if servables.names:
        return
    if servables.failures:
        name, failure = next(iter(servables.failures.items()))
        raise UserError(f"{servables.base}: {name}/{failure.version}: {failure.reason}")
    raise UserError(
        f"{servables.base}: no model found; expected <name>/<version>/saved_model.pb, "
        "as `kdmatch export` writes"
    )
