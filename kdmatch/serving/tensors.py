"""Tensors in requests and answers of the local server, checked as TF Serving does."""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

# A tensor may repeat its last value over the rest of its shape: a few bytes on
# the wire that would ask for any amount of memory here. Of strings, bytes are
# counted, of numbers, elements.
_MAX_REPEATED = 1 << 20

_VALUE_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
}


class RequestError(Exception):
    """A request that TF Serving would refuse, with its status code."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


def check_names(inputs: Any, specs: Any, output_filter: Sequence[str], outputs: Any) -> None:
    """Compares the names in a request with those of a signature.

    Args:
        inputs: mapping from input name to `TensorProto`, as sent.
        specs: mapping from input name to `TensorSpec`, as wanted.
        output_filter: names of the outputs asked for; all if empty.
        outputs: mapping whose keys are the signature's outputs.

    Raises:
        RequestError: INVALID_ARGUMENT, with TF Serving's words.
    """
    sent, wanted = set(inputs), set(specs)
    if sent != wanted:
        lists = [",".join(sorted(s)) for s in (sent, wanted, sent - wanted, wanted - sent)]
        raise RequestError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({{{lists[0]}}}) != len({{{lists[1]}}}). Sent extra: {{{lists[2]}}}. "
            f"Missing but required: {{{lists[3]}}}.",
        )
    for index, alias in enumerate(output_filter):
        if alias not in outputs:
            raise RequestError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {{{','.join(sorted(outputs))}}}.",
            )
        if alias in output_filter[:index]:
            raise RequestError(
                grpc.StatusCode.INVALID_ARGUMENT, f"duplicate output tensor alias: {alias}"
            )


def from_proto(name: str, proto: Any, spec: Any) -> np.ndarray:
    """Reads a `TensorProto` into an array that fits a `TensorSpec`.

    Raises:
        RequestError: INVALID_ARGUMENT for a wrong dtype, a wrong shape, or a
            message that is no tensor.
    """
    import tensorflow as tf
    from tensorflow.core.framework import types_pb2

    invalid = grpc.StatusCode.INVALID_ARGUMENT
    if proto.dtype != spec.dtype.as_datatype_enum:
        try:
            given = tf.dtypes.as_dtype(proto.dtype).name
        except (TypeError, KeyError):
            given = f"dtype {proto.dtype}"
        raise RequestError(
            invalid, f"Expects input {name} to be {spec.dtype.name} but {given} is provided"
        )
    dims = [dim.size for dim in proto.tensor_shape.dim]
    elements = 1
    for size in dims:
        elements *= size
    strings = proto.string_val
    width = max(1, len(strings[-1])) if strings and elements > len(strings) else 1
    if elements * width > max(_MAX_REPEATED, proto.ByteSize()):
        raise RequestError(invalid, f"tensor parsing error: {name}")
    try:
        if proto.dtype == types_pb2.DT_STRING and 0 < elements == len(proto.string_val):
            array = np.array(list(proto.string_val), dtype=object).reshape(dims)
        else:
            array = tf.io.parse_tensor(proto.SerializeToString(), spec.dtype).numpy()
    except tf.errors.OpError as error:
        raise RequestError(invalid, f"tensor parsing error: {name}") from error
    if not spec.shape.is_compatible_with(array.shape):
        raise RequestError(
            invalid, f"input {name} has shape {array.shape}, the signature takes {spec.shape}"
        )
    return array


def to_proto(array: np.ndarray) -> Any:
    """Writes an array into the typed field (`float_val`, …), as TF Serving does.

    `tf.make_tensor_proto` fills `tensor_content`, which clients that read
    `float_val` would take for an empty answer.
    """
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    dtype = tf.dtypes.as_dtype(array.dtype)
    field = _VALUE_FIELDS.get(dtype.name)
    if field is None:
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(
        dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(array.shape).as_proto()
    )
    getattr(proto, field).extend(array.ravel().tolist())
    return proto


def grpc_status(code: int) -> grpc.StatusCode:
    """Translates a TensorFlow error code; the numbers are gRPC's."""
    for status in grpc.StatusCode:
        if status.value[0] == code:
            return status
    return grpc.StatusCode.UNKNOWN
