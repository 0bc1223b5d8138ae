"""What goes over the wire: `Predict` requests, scores out of answers, errors.

`tensorflow_serving.apis` imports all of TensorFlow, so it is imported here on
first use, and `import kdmatch.serving.client` stays cheap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from kdmatch.errors import UserError

SCORE_OUTPUT = "score"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MESSAGE_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
]

_ADVICE = {
    grpc.StatusCode.UNAVAILABLE: "is the server running there? start it with `kdmatch serve`",
    grpc.StatusCode.DEADLINE_EXCEEDED: "give a longer timeout or fewer documents a request",
    grpc.StatusCode.NOT_FOUND: "check the model's name and version against what is served",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "send fewer or shorter documents a request",
    grpc.StatusCode.INVALID_ARGUMENT: "check that the model takes strings `query` and `document`",
    grpc.StatusCode.FAILED_PRECONDITION: "check the signature's name against the model's",
}
# Where the details tell more than the status.
_ADVICE_ON = {
    (grpc.StatusCode.INVALID_ARGUMENT, "version label"): (
        "check the label against `version_labels` in the server's models.config"
    ),
    (grpc.StatusCode.UNAVAILABLE, "queue"): (
        "the server's batching queue is full: ask less often, or add servers"
    ),
}


class ServingError(UserError):
    """A request that was not answered with scores.

    Attributes:
        code: grpc.StatusCode. What the server or the channel said; None where
            an answer came but cannot be used.
    """

    def __init__(self, message: str, code: grpc.StatusCode | None = None):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class PredictSpec:
    """Which signature of which model is asked.

    Attributes:
        model: str. Name under which the server knows the model.
        version: int. A version's number; the server's choice if None.
        version_label: str. A label such as `stable`, in place of a number.
        signature: str. Takes strings `query` and `document`, gives `score`.
    """

    model: str
    version: int | None = None
    version_label: str | None = None
    signature: str = "serving_default"

    def __post_init__(self) -> None:
        if self.version is not None and self.version_label is not None:
            raise UserError(
                f"model {self.model!r}: version {self.version} and label "
                f"{self.version_label!r} are both given; give one of them"
            )

    def request(self, queries: Sequence[str], documents: Sequence[str]) -> Any:
        """Builds one `PredictRequest` for pairs of a query and a document."""
        request = self._empty_request()
        request.inputs["query"].CopyFrom(_strings("query", queries))
        request.inputs["document"].CopyFrom(_strings("document", documents))
        return request

    def request_of(self, inputs: Mapping[str, Any]) -> Any:
        """Builds one `PredictRequest` of int32 arrays by the input's name."""
        from tensorflow import make_tensor_proto

        request = self._empty_request()
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(make_tensor_proto(np.asarray(value, np.int32)))
        return request

    def _empty_request(self) -> Any:
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = self.signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        if self.version_label is not None:
            request.model_spec.version_label = self.version_label
        return request

    def pages(
        self, queries: Sequence[str], documents: Sequence[str], size: int, max_bytes: int
    ) -> Iterator[tuple[Any, slice]]:
        """Splits pairs into requests of at most `size` pairs and about `max_bytes` of text.

        A pair that is larger by itself goes alone: the server says what it
        thinks of it.

        Yields:
            a request and the rows it holds.
        """
        for name, values in (("queries", queries), ("documents", documents)):
            if isinstance(values, str | bytes):
                raise UserError(f"{name}: one text, {values[:40]!r}; give a list of texts")
        if len(queries) != len(documents):
            raise UserError(
                f"{len(queries)} queries and {len(documents)} documents; pairs need as many of each"
            )
        for rows in _chunks(queries, documents, size, max_bytes):
            yield self.request(queries[rows], documents[rows]), rows

    def scores(self, response: Any, count: int, target: str) -> np.ndarray:
        """Takes `count` float32 scores out of a `PredictResponse`."""
        from tensorflow import make_ndarray

        if SCORE_OUTPUT not in response.outputs:
            names = ", ".join(sorted(response.outputs)) or "nothing"
            raise ServingError(
                f"{target}, model {self.model!r}: the answer holds {names}, no {SCORE_OUTPUT!r}"
            )
        scores = make_ndarray(response.outputs[SCORE_OUTPUT])
        if scores.shape != (count,):
            raise ServingError(
                f"{target}, model {self.model!r}: {count} pairs were sent, scores of shape "
                f"{scores.shape} came back"
            )
        return scores.astype(np.float32, copy=False)

    def error(self, error: grpc.RpcError, target: str) -> ServingError:
        """Says in one line what was asked of whom, what came, what to do."""
        code, details = error.code(), error.details() or ""
        lines = details.strip().splitlines() or ["no details"]
        closer = (
            said
            for (status, part), said in _ADVICE_ON.items()
            if status is code and part in details
        )
        advice = next(closer, _ADVICE.get(code, "see the server's log"))
        return ServingError(
            f"{target}, model {self.model!r}: {code.name}, {lines[0][:300]}; {advice}", code
        )


def _chunks(
    queries: Sequence[str], documents: Sequence[str], size: int, max_bytes: int
) -> Iterator[slice]:
    start = held = 0
    for index, (query, document) in enumerate(zip(queries, documents, strict=True)):
        pair = _most_bytes(query) + _most_bytes(document)
        if index > start and (index - start == size or held + pair > max_bytes):
            yield slice(start, index)
            start, held = index, 0
        held += pair
    if len(documents):
        yield slice(start, len(documents))


def _most_bytes(value: Any) -> int:
    """No character takes more than four bytes; what is no text is refused further on."""
    if isinstance(value, bytes):
        return len(value)
    return 4 * len(value) if isinstance(value, str) else 0


def _strings(name: str, values: Sequence[str]) -> Any:
    from tensorflow.core.framework import tensor_pb2, types_pb2

    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING)
    tensor.tensor_shape.dim.add(size=len(values))
    try:
        tensor.string_val.extend(
            [value if isinstance(value, bytes) else value.encode() for value in values]
        )
    except (UnicodeEncodeError, AttributeError) as error:
        raise _not_text(name, values) from error
    return tensor


def _not_text(name: str, values: Sequence[Any]) -> UserError:
    """Names the first value that is no text."""
    for index, value in enumerate(values):
        if not isinstance(value, str | bytes):
            return UserError(f"{name} {index} is {value!r}; a string was expected")
        try:
            value if isinstance(value, bytes) else value.encode()
        except UnicodeEncodeError as error:
            return UserError(f"{name} {index} holds a lone surrogate, not text: {error}")
    return UserError(f"{name} holds what is no text")
