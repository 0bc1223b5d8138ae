"""`PredictionService` and `ModelService`, as TF Serving speaks them.

Imports TensorFlow through `tensorflow_serving.apis`; the server imports this
module when it is made.
"""

import logging
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kdmatch.serving.servable import Servable
from kdmatch.serving.servables import Servables
from kdmatch.serving.tensors import RequestError

log = logging.getLogger(__name__)

# Details travel in a header. Clients refuse one of more than 8 KB, status and all, and a name
# that a request brings may be of any length.
_MAX_DETAILS = 1000
_SIGNATURE_FIELD = "signature_def"
_VersionStatus = get_model_status_pb2.ModelVersionStatus


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers `Predict` and `GetModelMetadata`; the rest is UNIMPLEMENTED.

    Args:
        servables: Servables. The models that are served.
    """

    def __init__(self, servables: Servables):
        self.servables = servables

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Runs one signature of one model."""
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Tells a model's signatures."""
        return _answer(context, lambda: self._metadata(request))

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not spoken by the local server."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Classify: use Predict")

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not spoken by the local server."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Regress: use Predict")

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Not spoken by the local server."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "MultiInference: use Predict")

    def _predict(self, request: Any) -> Any:
        servable = self.servables.find(request.model_spec)
        signature = request.model_spec.signature_name or "serving_default"
        outputs = servable.predict(signature, request.inputs, list(request.output_filter))
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, servable)
        response.model_spec.signature_name = signature
        for name, proto in outputs.items():
            response.outputs[name].CopyFrom(proto)
        return response

    def _metadata(self, request: Any) -> Any:
        if not request.metadata_field:
            raise RequestError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for field in request.metadata_field:
            if field != _SIGNATURE_FIELD:
                raise RequestError(
                    grpc.StatusCode.INVALID_ARGUMENT, f"Metadata field {field} is not supported"
                )
        servable = self.servables.find(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response.model_spec, servable)
        response.metadata[_SIGNATURE_FIELD].Pack(signatures)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Tells which versions are there, and looks for new ones when asked.

    Args:
        servables: Servables. The models that are served.
    """

    def __init__(self, servables: Servables):
        self.servables = servables

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Tells the states of a model's loaded versions and of those that failed.

        Of the version that is asked for or, as in TF Serving, of all, whatever the label.
        """
        return _answer(context, lambda: self._status(request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Serves what the configuration says; an empty request looks for new versions."""
        return _answer(context, lambda: self._reload(request))

    def _reload(self, request: Any) -> Any:
        kind = request.config.WhichOneof("config")
        if kind == "model_config_list":
            self.servables.configure(request.config.model_config_list)
        elif kind is None:
            self.servables.scan()
        else:
            raise RequestError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported",
            )
        return model_management_pb2.ReloadConfigResponse(status={})

    def _status(self, request: Any) -> Any:
        if not request.HasField("model_spec"):
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
        response = get_model_status_pb2.GetModelStatusResponse()
        model_spec = request.model_spec
        name = model_spec.name
        asked = model_spec.version.value if model_spec.HasField("version") else None
        loaded = self.servables.versions(name)
        for (model, version), failure in sorted(self.servables.failures.items()):
            # One that is loaded serves on where its new files have failed.
            if model == name and asked in (None, version) and version not in loaded:
                response.model_version_status.add(
                    version=version,
                    state=_VersionStatus.END,
                    status={"error_code": "UNKNOWN", "error_message": failure.reason},
                )
        for version in loaded:
            if asked in (None, version):
                response.model_version_status.add(
                    version=version, state=_VersionStatus.AVAILABLE, status={}
                )
        if not response.model_version_status:
            what = "any versions" if asked is None else f"version {asked}"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {what} of model {name}")
        return response


def _fill_spec(model_spec: Any, servable: Servable) -> None:
    model_spec.name = servable.name
    model_spec.version.value = servable.version


def _answer(context: grpc.ServicerContext, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except RequestError as error:
        context.abort(error.code, str(error)[:_MAX_DETAILS])
    except Exception as error:  # the caller learns of it, the server goes on
        log.exception("a request failed")
        context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"[:300])
