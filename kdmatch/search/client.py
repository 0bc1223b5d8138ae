"""A worker's side of the chief's service: it says who asks, and waits for nobody long."""

from collections.abc import Callable
from typing import Any

import grpc
from keras_tuner.errors import FatalError
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_client import OracleClient

TUNER, STUDY = "tuner-bin", "study-bin"
PATIENCE = 60.0
_RECONNECT = [("grpc.max_reconnect_backoff_ms", 2000)]


class ChiefGoneError(FatalError):
    """The chief does not answer, searches something else, or has given the trial to another."""


class ChiefClient(OracleClient):
    """KerasTuner's client; each call carries the worker's name and the study it works for.

    A chief refuses a call for another study than it searches, or about a trial
    that this worker does not run.

    Args:
        address: host and port of the chief.
        tuner_id: str. Name of the worker.
        study: str. `Study.label`; empty to ask for it only.
        oracle: SafeOracle of that study, for its objective.
        patience: float. Seconds to wait for an answer; `PATIENCE` if None.

    Raises:
        ChiefGoneError: in every call that is refused, or not answered in time.
    """

    def __init__(
        self,
        address: tuple[str, int],
        tuner_id: str,
        study: str = "",
        oracle: Any = None,
        patience: float | None = None,
    ) -> None:
        # Not the parent's, which reads all this from the environment.
        self._oracle, self.tuner_id = oracle, tuner_id
        self.multi_worker, self.should_report = False, True
        channel = grpc.insecure_channel(f"{address[0]}:{address[1]}", _RECONNECT)
        stub = protos.get_service_grpc().OracleStub(channel)
        metadata = ((TUNER, tuner_id.encode()), (STUDY, study.encode()))
        self.stub = _Stub(stub, metadata, PATIENCE if patience is None else patience)

    def searched(self, patience: float | None = None) -> str:
        """`Study.label` of what the chief searches.

        Args:
            patience: float. Seconds to wait for an answer, from now on; None leaves it.
        """
        if patience is not None:
            self.stub.timeout = patience
        return str(self.get_space().get("search"))


class _Stub:
    """The generated stub, with who asks in each call, and a time limit in the place of any."""

    def __init__(self, stub: Any, metadata: tuple[tuple[str, bytes], ...], timeout: float) -> None:
        self._stub, self._metadata, self.timeout = stub, metadata, timeout

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._stub, name)

        def call(request: Any, **_: Any) -> Any:
            try:
                return method(
                    request, timeout=self.timeout, wait_for_ready=True, metadata=self._metadata
                )
            except grpc.RpcError as error:
                raise ChiefGoneError(error.details()) from error

        return call
