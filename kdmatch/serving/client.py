"""Clients of a served matcher: one query, a page of documents, their scores."""

import json
import time
from collections.abc import Sequence
from typing import Any, Self

import grpc
import numpy as np

from kdmatch.errors import UserError
from kdmatch.serving.wire import MAX_MESSAGE_BYTES, MESSAGE_OPTIONS, PredictSpec, ServingError

__all__ = ["AsyncClient", "Client", "ServingError"]

# Of a server that was away for a while: gRPC's own limit is two minutes.
_MAX_RECONNECT_MS = 2000


class _ClientBase:
    """Options, which the two clients share; only the sending differs."""

    def __init__(
        self,
        target: str = "localhost:8500",
        model: str = "albert",
        version: int | None = None,
        version_label: str | None = None,
        timeout: float = 5.0,
        max_documents_per_request: int = 512,
        max_retries: int = 2,
        max_request_bytes: int = MAX_MESSAGE_BYTES // 4,
    ):
        if max_documents_per_request < 1:
            raise UserError(
                f"max_documents_per_request is {max_documents_per_request}; at least 1 is needed"
            )
        if not 0 <= max_retries <= 4:
            raise UserError(f"max_retries is {max_retries}; gRPC allows 0 to 4")
        # Both pull in TensorFlow: better now than inside the first request.
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.target = target
        self.spec = PredictSpec(model, version, version_label)
        self.timeout = timeout
        self.max_documents_per_request = max_documents_per_request
        self.max_request_bytes = max_request_bytes
        self._stub_class = prediction_service_pb2_grpc.PredictionServiceStub
        self._options = [*MESSAGE_OPTIONS, *_channel_options(max_retries)]
        self._open()

    def _open(self) -> None:
        """Opens the channel, where that needs no event loop."""

    def _pages(self, queries: Sequence[str], documents: Sequence[str]) -> Any:
        return self.spec.pages(
            queries, documents, self.max_documents_per_request, self.max_request_bytes
        )

    def _scores(self, response: Any, rows: slice) -> np.ndarray:
        return self.spec.scores(response, rows.stop - rows.start, self.target)


class Client(_ClientBase):
    """Scores documents for a query at a TF Serving-compatible gRPC endpoint.

    One channel is opened and reused; a client may be shared by threads. Where
    the name stands for several servers, as that of a headless Service does,
    they are asked in turn.

    Args:
        target: str. `host:port` of the server.
        model: str. Name under which the server knows the model.
        version: int. Version to ask; the server's latest if None.
        version_label: str. Label to ask for, such as `stable`, in place of a
            version.
        timeout: float. Seconds that a call may take, retries and the parts of a page that
            is split included.
        max_documents_per_request: int. A longer page is split. Keep it at or
            below the server's `max_batch_size` where batching is on.
        max_retries: int. Further attempts, made by gRPC itself, and only where
            the server is unavailable: a request that ran out of time or was
            refused would meet the same again. TF Serving says unavailable of a
            full batching queue too; so none are made while more than a tenth of
            the requests fail: they would add to the load.
        max_request_bytes: int. A page with more text is split too.

    Raises:
        ServingError: from each method, with one line that says what to do.

    ```python
    with kdmatch.Client("localhost:8500", model="albert") as client:
        client.rank("running shoes", ["trail shoes", "coffee"])  # [(0, 0.81), (1, -0.93)]
    ```
    """

    def _open(self) -> None:
        self._channel = grpc.insecure_channel(self.target, self._options)
        self._stub = self._stub_class(self._channel)

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        """Returns one float32 score for each document, in their order."""
        return self.score_pairs([query] * len(documents), documents)

    def rank(self, query: str, documents: Sequence[str]) -> list[tuple[int, float]]:
        """Returns `(index, score)`, best first, equal scores in their order."""
        return _ranked(self.score(query, documents))

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """Returns one float32 score for each pair `(queries[i], documents[i])`."""
        scores = np.empty(len(documents), np.float32)
        deadline = time.monotonic() + self.timeout
        for request, rows in self._pages(queries, documents):
            left = max(0.001, deadline - time.monotonic())
            try:
                response = self._stub.Predict(request, timeout=left)
            except grpc.RpcError as error:
                raise self.spec.error(error, self.target) from error
            scores[rows] = self._scores(response, rows)
        return scores

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncClient(_ClientBase):
    """`Client` for asyncio: the same arguments, methods to be awaited.

    The channel is opened by the first request and belongs to its event loop.
    """

    _channel: grpc.aio.Channel | None = None
    _stub: Any = None

    async def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        """Returns one float32 score for each document, in their order."""
        return await self.score_pairs([query] * len(documents), documents)

    async def rank(self, query: str, documents: Sequence[str]) -> list[tuple[int, float]]:
        """Returns `(index, score)`, best first, equal scores in their order."""
        return _ranked(await self.score(query, documents))

    async def score_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """Returns one float32 score for each pair `(queries[i], documents[i])`."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.target, self._options)
            self._stub = self._stub_class(self._channel)
        scores = np.empty(len(documents), np.float32)
        calls = [
            (self._stub.Predict(request, timeout=self.timeout), rows)
            for request, rows in self._pages(queries, documents)
        ]
        try:
            for call, rows in calls:
                scores[rows] = self._scores(await call, rows)
        except grpc.RpcError as error:
            raise self.spec.error(error, self.target) from error
        finally:
            for call, _ in calls:
                call.cancel()  # nothing, where it has ended
        return scores

    async def close(self) -> None:
        """Closes the channel."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = self._stub = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def _ranked(scores: np.ndarray) -> list[tuple[int, float]]:
    order = np.argsort(-scores, kind="stable")
    return [(int(index), float(scores[index])) for index in order]


def _channel_options(max_retries: int) -> list[tuple[str, Any]]:
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if max_retries:
        config["methodConfig"] = [
            {
                "name": [{"service": "tensorflow.serving.PredictionService"}],
                "retryPolicy": {
                    "maxAttempts": max_retries + 1,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
        config["retryThrottling"] = {"maxTokens": 10, "tokenRatio": 0.1}
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", int(max_retries > 0)),
        # By default a call of more than 256 KB is not tried again.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
    ]
