"""A server that is misused answers as TF Serving does, stays up, and serves the others."""

import threading
from collections import Counter

import grpc
import numpy as np
import pytest

from kdmatch.serving.client import Client
from kdmatch.serving.server import LocalServer
from kdmatch.serving.wire import MAX_MESSAGE_BYTES, PredictSpec

from . import hostile

DOCUMENTS = ["four", "a", "sixsix", ""]


@pytest.fixture
def server(save_model, tmp_path):
    save_model(tmp_path / "tiny" / "1")
    with LocalServer(tmp_path, port=0, poll_seconds=0) as server:
        yield server


class Neighbour(threading.Thread):
    """Asks for the same page all the time and counts right answers."""

    def __init__(self, port: int):
        super().__init__()
        self.port, self.stopping = port, threading.Event()
        self.right, self.complaints = 0, []

    def run(self) -> None:
        want = np.tanh((3 - np.array([len(one) for one in DOCUMENTS])) / 100)
        with Client(f"127.0.0.1:{self.port}", "tiny", timeout=30, max_retries=0) as client:
            while not self.stopping.wait(0.005):
                try:
                    np.testing.assert_allclose(client.score("abc", DOCUMENTS), want, rtol=1e-5)
                    self.right += 1
                except Exception as error:
                    self.complaints.append(repr(error))


def misuse(server, count: int) -> Counter:
    """Sends `count` hostile requests, cut connections between them; returns kinds of answers."""
    generator = np.random.default_rng(1)
    answers: Counter = Counter()
    wrong = []
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for index, one in enumerate(hostile.hostile_requests("tiny", count)):
            if index % 10 == 0:
                hostile.cut_connection(server.port, generator)
            try:
                one.send(channel)
                status = grpc.StatusCode.OK
            except grpc.RpcError as error:
                status = error.code()
            except grpc.FutureCancelledError:
                status = grpc.StatusCode.CANCELLED
            answers[status] += 1
            if one.status not in (None, status):
                wrong.append(f"{one.name}: {status}, not {one.status}")
    assert not wrong, wrong[:10]
    return answers


def test_hostile_requests_get_their_status_and_harm_no_one(server):
    neighbour = Neighbour(server.port)
    neighbour.start()
    try:
        answers = misuse(server, 300)
    finally:
        neighbour.stopping.set()
        neighbour.join()
    wanted = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
    assert {*wanted, "INTERNAL"} <= {status.name for status in answers}
    assert neighbour.complaints == []
    assert neighbour.right > 0


@pytest.mark.slow
def test_ten_thousand_hostile_requests(server):
    neighbour = Neighbour(server.port)
    neighbour.start()
    try:
        answers = misuse(server, 10_000)
    finally:
        neighbour.stopping.set()
        neighbour.join()
    assert sum(answers.values()) == 10_000
    assert neighbour.complaints == []
    assert neighbour.right > 100


def test_an_oversized_message_is_refused(server):
    request = PredictSpec("tiny").request(["q"], ["d" * (MAX_MESSAGE_BYTES + 1)])
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(hostile.PREDICT)(request.SerializeToString(), timeout=60)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with Client(f"127.0.0.1:{server.port}", "tiny") as client:
            assert client.score("q", ["d"]).shape == (1,)
