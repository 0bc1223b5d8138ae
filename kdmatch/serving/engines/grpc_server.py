"""The local gRPC server in a process of its own, asked over loopback."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from kdmatch.errors import UserError
from kdmatch.processes import end_with_parent
from kdmatch.quiet import import_tensorflow_quietly
from kdmatch.serving.client import Client
from kdmatch.serving.server import LocalServer
from kdmatch.serving.threads import inter_op_of

_START_SECONDS = 120.0


class GrpcScorer:
    """A server of one version and a client of it.

    Args:
        path: a version's folder.
        threads: int. The server's threads within an operation.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        # Spawned: a forked TensorFlow does not run.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._server = context.Process(
            target=_serve, args=(path.parent, threads, theirs), daemon=True
        )
        self._server.start()
        theirs.close()
        import_tensorflow_quietly()  # while the server does the same
        try:
            port = ours.recv() if ours.poll(_START_SECONDS) else None
        except EOFError:
            port = None
        if port is None:
            self._server.kill()
            raise UserError(f"{path}: the local gRPC server did not start; see its lines above")
        self.process_id = self._server.pid or 0
        self.target = f"127.0.0.1:{port}"
        self._client = Client(
            self.target, model=path.parent.name, version=int(path.name), timeout=60.0
        )

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        return self._client.score(query, documents)

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        return self._client.score_pairs(queries, documents)

    def close(self) -> None:
        self._client.close()
        self._server.terminate()
        self._server.join()


def load(path: Path, threads: int | None = None) -> GrpcScorer:
    """Serve a version's folder and connect to it."""
    return GrpcScorer(path, threads)


def _serve(base: Path, threads: int | None, port: Connection) -> None:
    end_with_parent()
    import_tensorflow_quietly()
    server = LocalServer(
        base,
        port=0,
        intra_op_threads=threads,
        inter_op_threads=inter_op_of(threads),
        poll_seconds=0,
    )
    with server:
        port.send(server.port)
        server.wait()
