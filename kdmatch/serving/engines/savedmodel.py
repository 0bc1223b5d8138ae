"""The SavedModel in this process, through its raw-text signature."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdmatch.quiet import import_tensorflow_quietly
from kdmatch.serving.warmup import read_warmup


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
        import tensorflow_text  # noqa: F401  registers its ops

        from kdmatch.serving.threads import inter_op_of, set_threads

        self.process_id = os.getpid()
        set_threads(threads, inter_op_of(threads))
        self._constant = tf.constant
        self._signature = tf.saved_model.load(str(path)).signatures["serving_default"]
        for record in read_warmup(path):
            request = record.predict_log.request
            if request.model_spec.signature_name in ("", "serving_default"):
                self._signature(
                    **{name: tf.constant(tf.make_ndarray(t)) for name, t in request.inputs.items()}
                )

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        answer = self._signature(
            query=self._constant([query] * len(documents)), document=self._constant(documents)
        )
        return answer["score"].numpy()

    def score_pairs(
        self, queries: Sequence[str], documents: Sequence[str], batch: int = 256
    ) -> np.ndarray:
        """Scores of pairs `(queries[i], documents[i])`, float32, a batch at a time."""
        parts = [
            self._signature(
                query=self._constant(queries[start : start + batch]),
                document=self._constant(documents[start : start + batch]),
            )["score"].numpy()
            for start in range(0, len(documents), batch)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def close(self) -> None:
        del self._signature


def load(path: Path, threads: int | None = None) -> SavedModelScorer:
    """Load a version's folder."""
    return SavedModelScorer(path, threads)
