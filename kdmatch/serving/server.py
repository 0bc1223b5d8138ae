"""The local gRPC server, and `serve`, which prefers TF Serving to it."""

import logging
import os
import shutil
import signal
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc
from rich.console import Console

from kdmatch.errors import UserError
from kdmatch.serving.model_config import read_config
from kdmatch.serving.servables import Servables, require_models
from kdmatch.serving.tensors import RequestError
from kdmatch.serving.threads import set_threads
from kdmatch.serving.wire import MESSAGE_OPTIONS

log = logging.getLogger(__name__)

MODEL_SERVER = "tensorflow_model_server"


class LocalServer:
    """Serves SavedModels over gRPC, for development and tests.

    Speaks the `PredictionService` and `ModelService` of TF Serving with its
    status codes. The latest version of each model is served, or what `config`
    says; a new one is loaded and warmed up beside the old one, which finishes
    what it has begun. Requests run side by side, each on its own: there is no
    lock around inference and no batching. There is no REST either.

    Args:
        base: Path. Holds `<name>/<version>/`, or is one model's directory,
            whose name is then the model's.
        port: int. 0 picks a free one; `port` tells which.
        host: str. Address to listen on.
        intra_op_threads: int. Threads within an operation, for the whole
            process. Without effect once TensorFlow has run anything.
        inter_op_threads: int. Threads across operations, likewise.
        max_workers: int. Requests that run at a time; by default two for each
            core, at least 4.
        poll_seconds: float. Time between looks for new versions; 0 for never.
        config: Path. A `models.config`: versions and labels; it is read again
            when it changes.

    Raises:
        UserError: from `start`, if there is no model or the port is taken.
    """

    def __init__(
        self,
        base: Path,
        port: int = 8500,
        host: str = "127.0.0.1",
        intra_op_threads: int | None = None,
        inter_op_threads: int | None = None,
        max_workers: int | None = None,
        poll_seconds: float = 1.0,
        config: Path | None = None,
    ):
        self.base = Path(base)
        self.host = host
        self.port = port
        self.poll_seconds = poll_seconds
        self.config = config
        self._config_stamp = 0
        self.servables = Servables(self.base)
        self._workers = max_workers or max(4, 2 * (os.cpu_count() or 1))
        self._stopping = threading.Event()
        self._server: grpc.Server | None = None
        self._poller: threading.Thread | None = None
        set_threads(intra_op_threads, inter_op_threads)

    def start(self) -> Self:
        """Loads the models, then listens."""
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from kdmatch.serving.services import ModelService, PredictionService

        server = grpc.server(
            ThreadPoolExecutor(self._workers, thread_name_prefix="kdmatch-serving"),
            # Two servers on one port would share its requests, unnoticed.
            options=[*MESSAGE_OPTIONS, ("grpc.so_reuseport", 0)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self.servables), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self.servables), server
        )
        # Bound first: a taken port is told at once, not after loading.
        self.port = _bind(server, self.host, self.port)
        try:
            self._look()
            require_models(self.servables)
        except RequestError as error:
            server.stop(None)
            raise UserError(f"{self.config}: {error}") from error
        except BaseException:
            server.stop(None)
            raise
        server.start()
        self._server = server
        self._stopping.clear()
        if self.poll_seconds > 0:
            self._poller = threading.Thread(target=self._poll, name="kdmatch-poll", daemon=True)
            self._poller.start()
        return self

    def stop(self, grace: float = 5.0) -> None:
        """Refuses new requests, gives running ones `grace` seconds, ends."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop(grace).wait()
            self._server = None
        if self._poller is not None and self._poller is not threading.current_thread():
            self._poller.join()
            self._poller = None

    def wait(self) -> None:
        """Returns when the server has been stopped."""
        if self._server is not None:
            self._server.wait_for_termination()

    def _poll(self) -> None:
        while not self._stopping.wait(self.poll_seconds):
            try:
                self._look()
            except Exception:  # such as a directory that was unmounted for a moment
                log.exception("%s: the look for new versions failed", self.base)

    def _look(self) -> None:
        if self.config is not None:
            stamp = self.config.stat().st_mtime_ns if self.config.is_file() else -1
            if stamp != self._config_stamp:
                self._config_stamp = stamp
                config = read_config(self.config)
                try:
                    self.servables.configure(config.model_config_list)
                except RequestError:
                    self._config_stamp = 0  # again at the next look: versions load meanwhile
                    raise
                return
        self.servables.scan()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()


@dataclass(frozen=True)
class ServeOptions:
    """How `serve` serves; the same for TF Serving and the local server.

    Attributes:
        port: int. gRPC port.
        host: str. Address that the local server listens on.
        intra_op_threads: int. Threads within an operation.
        inter_op_threads: int. Operations side by side.
        config: Path. A `models.config` with versions and labels.
    """

    port: int = 8500
    host: str = "127.0.0.1"
    intra_op_threads: int | None = None
    inter_op_threads: int | None = None
    config: Path | None = None


def serve(base: Path, options: ServeOptions) -> None:
    """Serves a directory of models until interrupted.

    Becomes `tensorflow_model_server` where that is on the PATH; otherwise runs
    the local server, and says so.

    Args:
        base: Path. Holds `<name>/<version>/`, or is one model's directory.
        options: ServeOptions.

    Raises:
        UserError: if there is no model, or the port is taken.
    """
    models = Servables(base).model_paths()
    if not models:
        require_models(Servables(base))
    if binary := shutil.which(MODEL_SERVER):
        command = model_server_command(binary, models, options)
        said = f"{MODEL_SERVER} listens on every interface of this machine, port {options.port}"
        Console(stderr=True).print(said, highlight=False)
        os.execv(binary, command)

    console = Console(stderr=True)
    with LocalServer(
        base,
        options.port,
        options.host,
        options.intra_op_threads,
        options.inter_op_threads,
        config=options.config,
    ) as server:
        console.print(
            f"{', '.join(server.servables.names)} on {server.host}:{server.port}. This is "
            f"kdmatch's local development server, not TF Serving: {MODEL_SERVER} is not on "
            "the PATH. Stop it with Ctrl+C.",
            highlight=False,
        )
        signal.signal(signal.SIGTERM, lambda *_: _interrupt())
        try:
            server.wait()
        except KeyboardInterrupt:
            console.print("stopping")


def model_server_command(binary: str, models: dict[str, Path], options: ServeOptions) -> list[str]:
    """Builds the command line for `tensorflow_model_server`.

    Several models need a configuration file; where none is given it is written
    to the system's directory for temporary files and stays there, since the
    command replaces this process.

    Args:
        binary: str. Path of the server.
        models: dict. Directory of each model, by name.
        options: ServeOptions.

    Raises:
        UserError: if the configuration names a folder that is not here.
    """
    command = [binary, f"--port={options.port}"]
    if options.intra_op_threads is not None:
        command.append(f"--tensorflow_intra_op_parallelism={options.intra_op_threads}")
    if options.inter_op_threads is not None:
        command.append(f"--tensorflow_inter_op_parallelism={options.inter_op_threads}")
    if options.config is not None:
        for model in read_config(options.config).model_config_list.config:
            if not Path(model.base_path).is_dir():
                raise UserError(
                    f"{options.config}: model {model.name}: base_path {model.base_path} is not "
                    f"here, where {MODEL_SERVER} would look for it; run it where it is, as "
                    "serving/docker-compose.yml does, or name a folder of this machine"
                )
        return [
            *command,
            f"--model_config_file={options.config.resolve()}",
            "--model_config_file_poll_wait_seconds=5",
            "--allow_version_labels_for_unavailable_models=true",
        ]
    if len(models) == 1:
        [(name, path)] = models.items()
        return [*command, f"--model_name={name}", f"--model_base_path={path.resolve()}"]

    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for name, path in models.items():
        config.model_config_list.config.add(
            name=name, base_path=str(path.resolve()), model_platform="tensorflow"
        )
    with tempfile.NamedTemporaryFile(
        "w", prefix="kdmatch-models-", suffix=".config", delete=False
    ) as file:
        file.write(text_format.MessageToString(config))
    return [*command, f"--model_config_file={file.name}"]


def _bind(server: grpc.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise UserError(
            f"{address} cannot be listened on; is the port in use, or the host not this machine's? "
            "choose another"
        )
    return bound


def _interrupt() -> None:
    raise KeyboardInterrupt
