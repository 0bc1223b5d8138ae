"""The local server, over a real socket."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from kdmatch.serving.wire import PredictSpec

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(autouse=True)
def still_up(request):
    """After whatever a test sent, an ordinary request is answered."""
    yield
    if "stub" in request.fixturenames:
        response = request.getfixturevalue("stub").Predict(ask("still", "up?"), timeout=5)
        assert len(response.outputs["score"].float_val) == 1


def ask(query="q", *documents, **spec):
    spec = PredictSpec(**{"model": "tiny", **spec})
    return spec.request([query] * len(documents), list(documents))


def status_of(call, request):
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=5)
    return raised.value.code(), raised.value.details()


def test_scores_and_what_served_them(stub):
    response = stub.Predict(ask("abc", "a", "abcde"), timeout=5)
    score = response.outputs["score"]
    np.testing.assert_allclose(score.float_val, np.tanh([0.02, -0.02]), rtol=1e-6)
    assert [dim.size for dim in score.tensor_shape.dim] == [2]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("tiny", 3, "serving_default")


@pytest.mark.parametrize(
    ("spec", "code", "details"),
    [
        ({"model": "no"}, NOT_FOUND, "Servable not found for request: Latest(no)"),
        ({"version": 7}, NOT_FOUND, "Servable not found for request: Specific(tiny, 7)"),
        ({"model": ""}, INVALID, "ModelSpec has no name specified."),
        ({"version_label": "x"}, INVALID, "Unrecognized servable version label: x"),
        (
            {"signature": "x"},
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "x" not found.',
        ),
    ],
)
def test_what_is_not_there(stub, spec, code, details):
    assert status_of(stub.Predict, ask("q", "d", **spec)) == (code, details)


def test_inputs_missing_and_extra(stub):
    request = ask("q", "d")
    request.inputs["more"].CopyFrom(request.inputs.pop("query"))
    code, details = status_of(stub.Predict, request)
    assert code is INVALID
    assert "Sent extra: {more}. Missing but required: {query}." in details
    del request.inputs["more"]
    code, details = status_of(stub.Predict, request)
    assert (code, "Missing but required: {query}" in details) == (INVALID, True)


@pytest.mark.parametrize(
    ("proto", "details"),
    [
        (tf.make_tensor_proto([1.0]), "to be string but float32 is provided"),
        (tf.make_tensor_proto("scalar"), "has shape ()"),
        (tf.make_tensor_proto([["row"]]), "has shape (1, 1)"),
        (tf.make_tensor_proto(["a", "b"]), ""),
        (tf.make_tensor_proto([], dtype=tf.string), ""),
    ],
)
def test_wrong_tensors(stub, proto, details):
    request = ask("q", "d")
    request.inputs["query"].CopyFrom(proto)
    code, said = status_of(stub.Predict, request)
    assert code is INVALID
    assert details in said


@pytest.mark.parametrize("size", [-2, 10**12, 5])
def test_a_shape_that_the_values_do_not_fill(stub, size):
    request = ask("q", "d", "e")
    for name in ("query", "document"):
        request.inputs[name].tensor_shape.dim[0].size = size
    if size == 5:  # fewer values repeat the last one, as in TensorFlow
        assert len(stub.Predict(request, timeout=5).outputs["score"].float_val) == 5
    else:
        code, details = status_of(stub.Predict, request)
        assert (code, "tensor parsing error" in details) == (INVALID, True)


def test_a_long_string_is_not_repeated_without_end(stub):
    request = ask("q", "d" * 20_000)
    for name in ("query", "document"):
        request.inputs[name].tensor_shape.dim[0].size = 20_000
    assert status_of(stub.Predict, request) == (INVALID, "tensor parsing error: document")
    for name in ("query", "document"):
        request.inputs[name].tensor_shape.dim[0].size = 50  # a megabyte
    assert len(stub.Predict(request, timeout=5).outputs["score"].float_val) == 50


def test_an_unknown_dtype_is_refused(stub):
    request = ask("q", "d")
    request.inputs["query"].dtype = 99
    assert status_of(stub.Predict, request)[0] is INVALID


def test_an_empty_batch_gives_no_scores(stub):
    response = stub.Predict(ask("q"), timeout=5)
    assert [dim.size for dim in response.outputs["score"].tensor_shape.dim] == [0]


def test_bytes_that_are_not_utf8_are_scored_as_bytes(stub):
    response = stub.Predict(ask(b"\xff\xfe", b"\xc3", b"\x00"), timeout=5)
    assert len(response.outputs["score"].float_val) == 2


def test_output_filter(stub):
    request = ask("q", "d")
    request.output_filter.append("score")
    assert list(stub.Predict(request, timeout=5).outputs) == ["score"]
    request.output_filter.append("score")
    assert status_of(stub.Predict, request) == (INVALID, "duplicate output tensor alias: score")
    request.output_filter[1] = "logit"
    code, details = status_of(stub.Predict, request)
    assert code is INVALID
    assert details.startswith("output tensor alias not found in signature: logit")


def test_a_message_that_is_no_proto_is_an_error_and_no_more(channel, stub):
    raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError):
        raw(b"\xff\xff\xff", timeout=5)


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("Classify", classification_pb2.ClassificationRequest()),
        ("Regress", regression_pb2.RegressionRequest()),
        ("MultiInference", inference_pb2.MultiInferenceRequest()),
    ],
)
def test_what_is_not_spoken(stub, method, request_message):
    code, _ = status_of(getattr(stub, method), request_message)
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_metadata_tells_the_signature(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    response = stub.GetModelMetadata(request, timeout=5)
    assert response.model_spec.version.value == 3
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["serving_default"].inputs) == {"query", "document"}

    request.metadata_field[0] = "weights"
    assert status_of(stub.GetModelMetadata, request)[0] is INVALID
    del request.metadata_field[:]
    assert status_of(stub.GetModelMetadata, request)[0] is INVALID


def test_model_status(channel):
    service = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "tiny"
    [status] = service.GetModelStatus(request, timeout=5).model_version_status
    assert (status.version, status.state) == (3, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    request.model_spec.version.value = 8
    assert status_of(service.GetModelStatus, request) == (
        NOT_FOUND,
        "Could not find version 8 of model tiny",
    )
    request.model_spec.version_label = "no-such-label"
    [status] = service.GetModelStatus(request, timeout=5).model_version_status
    assert status.version == 3
    request.model_spec.name = "no"
    assert status_of(service.GetModelStatus, request) == (
        NOT_FOUND,
        "Could not find any versions of model no",
    )
    request.ClearField("model_spec")
    assert status_of(service.GetModelStatus, request) == (INVALID, "Missing ModelSpec")
