"""Requests that no well-meaning client sends, each with the status TF Serving gives."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from kdmatch.serving.wire import PredictSpec

Status = grpc.StatusCode
OK, INVALID, NOT_FOUND = Status.OK, Status.INVALID_ARGUMENT, Status.NOT_FOUND
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass(frozen=True)
class Hostile:
    """A way to misuse a server.

    Attributes:
        name: what it does.
        send: sends it over a channel, raising what gRPC raises.
        status: what has to come back; OK where it is odd but right, None where
            that depends on who is first.
    """

    name: str
    send: Callable[[grpc.Channel], object]
    status: grpc.StatusCode | None


def cut_connection(port: int, generator: np.random.Generator) -> None:
    """Opens a connection, says something that may begin like HTTP/2, and is gone."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[: generator.integers(0, 25)]
        connection.sendall(preface + generator.bytes(int(generator.integers(0, 2000))))


def hostile_requests(model: str, count: int, seed: int = 0) -> Iterator[Hostile]:
    """Draws misuses of a served model, the kinds in turn, their details at random."""
    generator = np.random.default_rng(seed)
    kinds = [_wrong_dtype, _wrong_shape, _unfilled_shape, _wrong_names, _wrong_spec]
    kinds += [_odd_but_right, _wrong_output, _wrong_bytes, _wrong_call, _impatient]
    for index in range(count):
        yield kinds[index % len(kinds)](model, generator)


def _predict(request: Any, timeout: float = 30.0) -> Callable[[grpc.Channel], object]:
    def send(channel: grpc.Channel) -> object:
        return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
            request, timeout=timeout
        )

    return send


def _request(model: str, rows: int = 2, **spec: Any) -> Any:
    documents = [f"document {index}" for index in range(rows)]
    return PredictSpec(**{"model": model, **spec}).request(["query"] * rows, documents)


def _either(generator: np.random.Generator) -> str:
    return str(generator.choice(["query", "document"]))


def _wrong_dtype(model: str, generator: np.random.Generator) -> Hostile:
    request = _request(model)
    name = _either(generator)
    dtype = generator.choice(["float32", "int64", "bool", "float64", "uint8", "unknown"])
    if dtype == "unknown":
        request.inputs[name].dtype = int(generator.integers(60, 99))
    else:
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.zeros(2, dtype)))
    return Hostile(f"{name} of {dtype}", _predict(request), INVALID)


def _wrong_shape(model: str, generator: np.random.Generator) -> Hostile:
    request = _request(model)
    name = _either(generator)
    value = [b"scalar", [[b"a"], [b"b"]], [[[b"a"]]], [b"a"], [b"a", b"b", b"c"]]
    chosen = value[int(generator.integers(len(value)))]
    request.inputs[name].CopyFrom(tf.make_tensor_proto(chosen, dtype=tf.string))
    return Hostile(f"{name} of shape {np.shape(chosen)}", _predict(request), INVALID)


def _unfilled_shape(model: str, generator: np.random.Generator) -> Hostile:
    request = _request(model)
    size = int(generator.choice([-1, -(2**40), 20_000, 10**7, 10**12, 2**62]))
    for name in ("query", "document"):
        request.inputs[name].tensor_shape.dim[0].size = size
        if size == 20_000:  # not many, but each of them long
            request.inputs[name].string_val[-1] = b"a" * 20_000
    return Hostile(f"a shape of {size}", _predict(request), INVALID)


def _wrong_names(model: str, generator: np.random.Generator) -> Hostile:
    request = _request(model)
    change = generator.choice(["missing", "extra", "renamed", "none"])
    if change in ("missing", "renamed"):
        taken = request.inputs.pop(_either(generator))
    if change == "renamed":
        request.inputs["title"].CopyFrom(taken)
    if change == "extra":
        request.inputs["x" * int(generator.integers(1, 999))].CopyFrom(request.inputs["query"])
    if change == "none":
        request.inputs.clear()
    return Hostile(f"inputs {change}", _predict(request), INVALID)


def _wrong_spec(model: str, generator: np.random.Generator) -> Hostile:
    wrong = [
        ({"model": "no-such-model"}, NOT_FOUND),
        ({"model": "x" * 10_000}, NOT_FOUND),
        ({"model": "../../etc"}, NOT_FOUND),
        ({"version": int(generator.integers(1000, 2**40))}, NOT_FOUND),
        ({"version": -1}, NOT_FOUND),
        ({"model": ""}, INVALID),
        ({"version_label": "no-such-label"}, INVALID),
        ({"signature": "no-such-signature"}, Status.FAILED_PRECONDITION),
    ]
    spec, status = wrong[int(generator.integers(len(wrong)))]
    return Hostile(f"spec {str(spec)[:60]}", _predict(_request(**{"model": model, **spec})), status)


def _odd_but_right(model: str, generator: np.random.Generator) -> Hostile:
    text = {
        "an empty batch": [],
        "a megabyte": [b"a" * 2**20],
        "invalid UTF-8": [generator.bytes(100), b"\xff\xfe\x00", b"\xed\xa0\x80"],
        "empty strings": [b"", b""],
        "zero bytes": [b"\x00" * 50],
        "emoji": ["👩‍👩‍👧‍👦".encode() * 50],
    }
    name = str(generator.choice(list(text)))
    spec = PredictSpec(model)
    request = spec.request(text[name], text[name])
    return Hostile(name, _predict(request), OK)


def _wrong_output(model: str, generator: np.random.Generator) -> Hostile:
    request = _request(model)
    request.output_filter.extend([["logit"], ["score", "score"], [""]][generator.integers(3)])
    return Hostile(f"outputs {list(request.output_filter)}", _predict(request), INVALID)


def _wrong_bytes(model: str, generator: np.random.Generator) -> Hostile:
    if generator.integers(2):
        request = _request(model)
        request.inputs["query"].ClearField("string_val")
        request.inputs["query"].tensor_content = generator.bytes(50)
        return Hostile("content that is no strings", _predict(request), INVALID)
    # Field 1, of wire type 2, longer than what follows.
    message = b"\x0a\xff\xff\xff\x7f" + generator.bytes(int(generator.integers(0, 300)))
    return Hostile(
        "a message that is no proto",
        lambda channel: channel.unary_unary(PREDICT)(message, timeout=30),
        Status.INTERNAL,
    )


def _wrong_call(model: str, generator: np.random.Generator) -> Hostile:
    def unknown(channel: grpc.Channel) -> object:
        return channel.unary_unary("/tensorflow.serving.PredictionService/Guess")(b"", timeout=30)

    def status(channel: grpc.Channel) -> object:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "no-such-model"
        return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=30)

    def metadata(channel: grpc.Channel) -> object:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["weights"])
        request.model_spec.name = model
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.GetModelMetadata(request, timeout=30)

    def reload(channel: grpc.Channel) -> object:
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(name="x", base_path="/no/such/folder")
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        return stub.HandleReloadConfigRequest(request, timeout=30)

    calls = [
        (unknown, Status.UNIMPLEMENTED),
        (status, NOT_FOUND),
        (metadata, INVALID),
        (reload, INVALID),
    ]
    call, wanted = calls[int(generator.integers(len(calls)))]
    return Hostile(f"call {call.__name__}", call, wanted)


def _impatient(model: str, generator: np.random.Generator) -> Hostile:
    rows = int(generator.integers(1, 500))

    def cancelled(channel: grpc.Channel) -> object:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        call = stub.Predict.future(_request(model, rows), timeout=30)
        call.cancel()
        return call.result()

    return Hostile("cancelled", cancelled, None)
