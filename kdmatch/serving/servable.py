"""One version of a model in the local server's memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from kdmatch.serving.ops import read_meta_graphs
from kdmatch.serving.tensors import RequestError, check_names, from_proto, grpc_status, to_proto
from kdmatch.serving.warmup import read_warmup


def read_signatures(path: Path) -> dict[str, Any]:
    """The `SignatureDef` messages of a version, by name."""
    found = read_meta_graphs(path)[0].signature_def
    # Copies: a part of a message keeps all of it in memory, here every weight of the model.
    return {name: type(one).FromString(one.SerializeToString()) for name, one in found.items()}


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
        self.signature_defs = read_signatures(path)
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
