"""What an operator asks of a running server: another configuration, a version's state."""

import time
from collections.abc import Callable
from typing import Any

import grpc

from kdmatch.errors import UserError

_RPC_SECONDS = 60.0
# TF Serving remembers that a version failed once, and says so again until it is loading anew.
_FAILED_SECONDS = 5.0


def reload_config(target: str, config: Any) -> None:
    """Have the server at `target` serve what a `ModelServerConfig` says.

    Raises:
        UserError: if it refuses, or cannot be reached.
    """
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest(config=config)
    with grpc.insecure_channel(target) as channel:
        try:
            response = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
                request, timeout=_RPC_SECONDS
            )
        except grpc.RpcError as error:
            raise UserError(
                f"{target}: the server refuses the configuration: {error.code().name}, "
                f"{error.details()}"
            ) from error
    if response.status.error_code:
        raise UserError(
            f"{target}: the server refuses the configuration: {response.status.error_message}"
        )


def await_version(
    target: str,
    model: str,
    version: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when the server at `target` says that the version is AVAILABLE.

    Raises:
        UserError: if it has failed and is not tried again, or is not there in time.
    """
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    states = get_model_status_pb2.ModelVersionStatus
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    request.model_spec.version.value = version
    end = clock() + seconds
    failed_since: float | None = None
    with grpc.insecure_channel(target) as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        while True:
            said, reason = "not found", ""
            try:
                answer = service.GetModelStatus(request, timeout=_RPC_SECONDS)
                found = answer.model_version_status[0]
                said = states.State.Name(found.state)
                if found.state == states.AVAILABLE:
                    return
                if found.state == states.END and found.status.error_code:
                    reason = found.status.error_message or said
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise UserError(f"{target}: {error.code().name}, {error.details()}") from error
            now = clock()
            if not reason:
                failed_since = None
            elif failed_since is None:
                failed_since = now
            if failed_since is not None and now >= min(failed_since + _FAILED_SECONDS, end):
                raise UserError(
                    f"{target}: {model} version {version} does not load: {reason}; "
                    "the labels stay as they were"
                )
            if now > end:
                raise UserError(
                    f"{target}: {model} version {version} is {said} after {seconds:g} s; "
                    "the labels stay as they were"
                )
            pause(0.1)
