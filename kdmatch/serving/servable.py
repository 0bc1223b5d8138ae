"""One version of a model in the local server's memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from kdmatch.serving.session import SavedModelSession
from kdmatch.serving.tensors import RequestError, check_names, from_proto, grpc_status, to_proto
from kdmatch.serving.warmup import warmup_requests


class Servable:
    """One version of one model, loaded and warmed up.

    Args:
        name: str. Name under which it is served.
        version: int. Its version.
        path: Path. Directory that holds `saved_model.pb`.
    """

    def __init__(self, name: str, version: int, path: Path):
        self.name = name
        self.version = version
        self.path = path
        self._session = SavedModelSession(path)
        for signature, request in warmup_requests(path):
            self.predict(signature, request.inputs, request.output_filter)

    @property
    def signature_defs(self) -> Mapping[str, Any]:
        """The `SignatureDef` messages, by name."""
        return self._session.signature_defs

    def predict(
        self, signature_name: str, inputs: Any, output_filter: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Runs a signature on `TensorProto` inputs, checked as TF Serving does.

        Raises:
            RequestError: with TF Serving's status for what is wrong.
        """
        import tensorflow as tf

        specs = self._session.inputs.get(signature_name)
        if specs is None:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature_name}" not found.',
            )
        outputs = self.signature_defs[signature_name].outputs
        check_names(inputs, specs, output_filter, outputs)
        arrays = {name: from_proto(name, inputs[name], spec) for name, spec in specs.items()}
        try:
            result = self._session.run(signature_name, arrays)
        except tf.errors.OpError as error:
            raise RequestError(grpc_status(error.error_code), error.message) from error
        return {name: to_proto(result[name]) for name in output_filter or sorted(outputs)}
