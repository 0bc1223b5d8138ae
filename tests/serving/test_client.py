import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from kdmatch.errors import UserError
from kdmatch.serving.client import AsyncClient, Client, ServingError
from kdmatch.serving.server import LocalServer

DOCUMENTS = ["four", "a", "sixsix", "b", ""]


@pytest.fixture(scope="module")
def target(saved_model, tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    shutil.copytree(saved_model, base / "tiny" / "1")
    with LocalServer(base, port=0, poll_seconds=0) as server:
        yield f"127.0.0.1:{server.port}"


@contextlib.contextmanager
def stub_serving():
    """A server whose `Predict` is the test's own function."""

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        calls = 0

        def Predict(self, request, context):
            self.calls += 1
            return self.answer(request, context)

    service, server = Service(), grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None)


def answer_zeros(request, context):
    from tensorflow import make_tensor_proto
    from tensorflow_serving.apis import predict_pb2

    response = predict_pb2.PredictResponse()
    count = len(request.inputs["document"].string_val)
    response.outputs["score"].CopyFrom(make_tensor_proto(np.zeros(count, np.float32)))
    return response


@pytest.fixture
def stub_server():
    with stub_serving() as service:
        yield service


def test_rank_is_sorted_and_ties_keep_their_order(target):
    with Client(target, "tiny") as client:
        ranked = client.rank("abc", DOCUMENTS)
    assert [index for index, _ in ranked] == [4, 1, 3, 0, 2]
    assert ranked[0] == (4, pytest.approx(np.tanh(0.03)))
    assert isinstance(ranked[0][0], int)
    assert isinstance(ranked[0][1], float)


def test_a_permuted_page_gives_permuted_scores_split_or_not(target):
    order = np.random.default_rng(0).permutation(len(DOCUMENTS))
    with (
        Client(target, "tiny") as whole,
        Client(target, "tiny", max_documents_per_request=2) as split,
    ):
        scores = whole.score("abc", DOCUMENTS)
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(split.score("abc", DOCUMENTS), scores)
        permuted = whole.score("abc", [DOCUMENTS[i] for i in order])
    np.testing.assert_array_equal(permuted, scores[order])


@pytest.mark.parametrize(
    ("lengths", "limit", "sent"),
    [
        ([5, 5, 5, 5], 400, [4]),
        ([5, 5, 5, 5], 60, [2, 2]),
        ([5, 500, 5], 60, [1, 1, 1]),
        ([1] * 7, 10_000, [3, 3, 1]),
    ],
)
@pytest.mark.parametrize("kind", [str, bytes])
def test_a_page_is_split_by_documents_and_by_text(stub_server, lengths, limit, sent, kind):
    sizes = []

    def answer(request, context):
        sizes.append(len(request.inputs["document"].string_val))
        return answer_zeros(request, context)

    stub_server.answer = answer
    options = {"max_documents_per_request": 4 if len(lengths) < 7 else 3}
    documents = ["d" * length for length in lengths]
    if kind is bytes:  # whose size is known
        documents, limit = [document.encode() for document in documents], limit // 3
    with Client(stub_server.target, "tiny", max_request_bytes=limit, **options) as client:
        assert client.score("q", documents).shape == (len(lengths),)
    assert sizes == sent


def test_pairs(target):
    with Client(target, "tiny") as client:
        scores = client.score_pairs(["a", "abc", "中文"], ["a", "a", "中文"])
        np.testing.assert_allclose(scores, np.tanh([0, 0.02, 0]), rtol=1e-6)
        with pytest.raises(UserError, match="2 queries and 1 documents"):
            client.score_pairs(["a", "b"], ["a"])


def test_no_documents_need_no_server():
    with Client("127.0.0.1:1", "tiny") as client:
        assert client.score("q", []).shape == (0,)
        assert client.rank("q", []) == []


def test_the_async_client_says_the_same(target):
    async def ask():
        async with AsyncClient(target, "tiny", max_documents_per_request=2) as client:
            with pytest.raises(ServingError, match="NOT_FOUND"):
                async with AsyncClient(target, "no") as lost:
                    await lost.score("q", ["d"])
            return await asyncio.gather(
                client.score("abc", DOCUMENTS),
                client.rank("abc", DOCUMENTS),
                client.score_pairs(["a"], ["abc"]),
                client.rank("abc", []),
            )

    score, rank, pairs, none = asyncio.run(ask())
    with Client(target, "tiny") as client:
        np.testing.assert_array_equal(score, client.score("abc", DOCUMENTS))
        assert rank == client.rank("abc", DOCUMENTS)
        np.testing.assert_array_equal(pairs, client.score_pairs(["a"], ["abc"]))
    assert none == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model": "no"}, grpc.StatusCode.NOT_FOUND),
        ({"model": "tiny", "version": 9}, grpc.StatusCode.NOT_FOUND),
        ({"model": "tiny", "version_label": "stable"}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_an_error_is_one_line_with_model_and_target(target, options, code):
    with Client(target, **options) as client, pytest.raises(ServingError) as raised:
        client.score("q", ["d"])
    assert raised.value.code is code
    message = str(raised.value)
    assert message.startswith(f"{target}, model {options['model']!r}: {code.name}, ")
    assert "\n" not in message


def test_large_documents(target):
    with Client(target, "tiny", timeout=20.0) as client:
        np.testing.assert_allclose(client.score("q", ["d" * 2**20]), [-1.0], rtol=1e-6)
        with pytest.raises(ServingError, match="fewer or shorter documents"):
            client.score("q", ["d" * (65 * 2**20)])


def test_what_is_not_text_is_named(target):
    with Client(target, "tiny") as client:
        with pytest.raises(UserError, match="document 1 holds a lone surrogate"):
            client.score("q", ["d", "\ud800"])
        with pytest.raises(UserError, match=r"document 0 is 3\.5; a string was expected"):
            client.score("q", [3.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 1, "version_label": "stable"}, "give one of them"),
        ({"max_documents_per_request": 0}, "at least 1"),
        ({"max_retries": 9}, "gRPC allows 0 to 4"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        Client("127.0.0.1:1", "tiny", **options)


@pytest.mark.parametrize(
    ("code", "retries", "calls"),
    [
        (grpc.StatusCode.UNAVAILABLE, 2, 3),
        (grpc.StatusCode.UNAVAILABLE, 0, 1),
        (grpc.StatusCode.INTERNAL, 2, 1),
    ],
)
def test_only_unavailable_is_tried_again(stub_server, code, retries, calls):
    stub_server.answer = lambda request, context: context.abort(code, "down\nsecond line")
    client = Client(stub_server.target, "tiny", max_retries=retries)
    with client, pytest.raises(ServingError, match="down;"):
        client.score("q", ["d"])
    assert stub_server.calls == calls


def test_a_large_page_is_tried_again_too(stub_server):
    def refuse_once(request, context):
        if stub_server.calls == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        return answer_zeros(request, context)

    stub_server.answer = refuse_once
    with Client(stub_server.target, "tiny", max_retries=2) as client:
        assert client.score("q", ["d" * 600] * 512).shape == (512,)
    assert stub_server.calls == 2


def test_an_array_of_documents_is_scored_and_one_text_is_not(stub_server):
    stub_server.answer = answer_zeros
    with Client(stub_server.target, "tiny") as client:
        assert client.score("q", np.array(["a", "b"])).shape == (2,)
        assert client.score("q", np.array([])).shape == (0,)
        with pytest.raises(UserError, match="documents: one text, 'LED bulb'; give a list"):
            client.rank("led bulb", "LED bulb")


@pytest.mark.parametrize("retries", [0, 2])
def test_every_server_behind_a_name_is_asked(retries):
    with stub_serving() as one, stub_serving() as other:
        one.answer = other.answer = answer_zeros
        target = f"ipv4:{one.target},{other.target}"
        with Client(target, "tiny", max_retries=retries) as client:
            for _ in range(200):  # the second may be connected to a moment after the first
                client.score("q", ["d"])
                if min(one.calls, other.calls) >= 5:
                    break
                time.sleep(0.01)
            before = one.calls, other.calls
            for _ in range(10):
                client.score("q", ["d"])
        assert (one.calls, other.calls) == (before[0] + 5, before[1] + 5)


def test_a_server_that_is_down_for_all_is_not_asked_ever_more_often(stub_server):
    stub_server.answer = lambda request, context: context.abort(grpc.StatusCode.UNAVAILABLE, "no")
    with Client(stub_server.target, "tiny", max_retries=2) as client:
        for _ in range(10):
            with pytest.raises(ServingError, match="no;"):
                client.score("q", ["d"])
    assert 10 < stub_server.calls <= 16


def test_a_deadline(stub_server):
    stub_server.answer = lambda request, context: time.sleep(0.5)
    client = Client(stub_server.target, "tiny", timeout=0.1)
    with client, pytest.raises(ServingError, match="longer timeout") as raised:
        client.score("q", ["d"])
    assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_deadline_is_that_of_all_parts_of_a_page(stub_server, kind):
    def answer(request, context):
        time.sleep(0.15)
        return answer_zeros(request, context)

    stub_server.answer = answer
    client = kind(stub_server.target, "tiny", timeout=0.4, max_documents_per_request=1)

    async def ask():
        async with client:
            await client.score("q", ["d"] * 12)

    begun = time.monotonic()
    with pytest.raises(ServingError, match="longer timeout"):
        asyncio.run(ask()) if kind is AsyncClient else client.score("q", ["d"] * 12)
    assert time.monotonic() - begun < 12 * 0.15


@pytest.mark.parametrize(
    ("code", "details", "advice"),
    [
        ("INVALID_ARGUMENT", "Unrecognized servable version label: x", "the label against"),
        ("UNAVAILABLE", "The batch scheduling queue to which this task was", "queue is full"),
        ("UNAVAILABLE", "failed to connect to all addresses", "is the server running there"),
        ("RESOURCE_EXHAUSTED", "message queue: 5 larger than max", "fewer or shorter documents"),
    ],
)
def test_the_advice_fits_what_was_said(stub_server, code, details, advice):
    status = grpc.StatusCode[code]
    stub_server.answer = lambda request, context: context.abort(status, details)
    client = Client(stub_server.target, "tiny", max_retries=0)
    with client, pytest.raises(ServingError, match=advice):
        client.score("q", ["d"])


def test_an_answer_without_scores_is_refused(stub_server):
    from tensorflow_serving.apis import predict_pb2

    stub_server.answer = lambda request, context: predict_pb2.PredictResponse()
    client = Client(stub_server.target, "tiny")
    with client, pytest.raises(ServingError, match="holds nothing, no 'score'"):
        client.score("q", ["d"])


def test_importing_the_client_and_the_server_is_cheap():
    code = (
        "import sys; import kdmatch.serving.client, kdmatch.serving.server, "
        "kdmatch.serving.warmup, kdmatch.serving.ops; print('tensorflow' in sys.modules)"
    )
    path = ":".join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
