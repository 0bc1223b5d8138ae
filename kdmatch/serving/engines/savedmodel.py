"""The SavedModel in this process, through its raw-text signature."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdmatch.quiet import import_tensorflow_quietly
from kdmatch.serving.session import SavedModelSession
from kdmatch.serving.threads import inter_op_of, set_threads
from kdmatch.serving.warmup import warmup_requests


class SavedModelScorer:
    """`serving_default` of one version.

    The version's warm-up requests are played while it loads, as TF Serving
    does.

    Args:
        path: a version's folder.
        threads: int. Threads that score, for the whole process and without
            effect once TensorFlow has run anything.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import_tensorflow_quietly()
        import tensorflow as tf

        self.process_id = os.getpid()
        set_threads(threads, inter_op_of(threads))
        self._session = SavedModelSession(path)
        for signature, request in warmup_requests(path):
            if signature == "serving_default":
                self._session.run(
                    signature, {name: tf.make_ndarray(one) for name, one in request.inputs.items()}
                )

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        return self._session.score([query] * len(documents), documents)

    def score_pairs(
        self, queries: Sequence[str], documents: Sequence[str], batch: int = 256
    ) -> np.ndarray:
        """Scores of pairs `(queries[i], documents[i])`, float32, a batch at a time."""
        parts = [
            self._session.score(queries[start : start + batch], documents[start : start + batch])
            for start in range(0, len(documents), batch)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def close(self) -> None:
        del self._session


def load(path: Path, threads: int | None = None) -> SavedModelScorer:
    """Load a version's folder."""
    return SavedModelScorer(path, threads)
