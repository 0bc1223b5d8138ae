"""A SavedModel run as TF Serving runs it: in a session, every signature by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.quiet import import_tensorflow_quietly, without_warnings
from kdmatch.serving.threads import session_config
from kdmatch.serving.warmup import read_warmup


class SavedModelSession:
    """One version in a session of its own; calls may run side by side.

    TF Serving runs SavedModels in sessions, too. TensorFlow's eager runtime, which
    `tf.saved_model.load` would use, keeps threads of its own whatever `set_threads` says, and
    hands every call to them.

    Args:
        path: Path. Directory that holds `saved_model.pb`.

    Attributes:
        signature_defs: the `SignatureDef` messages, by name; that of an initialiser, without a
            `method_name`, cannot be run.

    Raises:
        OSError, tf.errors.OpError: if there is no SavedModel, or one that cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        import_tensorflow_quietly()
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  registers its ops

        v1 = tf.compat.v1
        with tf.Graph().as_default() as graph, without_warnings():
            self._session = v1.Session(graph=graph, config=session_config())
            loaded = v1.saved_model.loader.load(self._session, ["serve"], str(path))
        self.signature_defs = copied_signatures(loaded)
        self._calls = {
            name: self._session.make_callable(
                {output: info.name for output, info in one.outputs.items()},
                [one.inputs[key].name for key in sorted(one.inputs)],
            )
            for name, one in self.signature_defs.items()
            if one.method_name  # the initialiser, which the loader has run, has none
        }

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output of a signature, by name.

        Args:
            signature: str. Its name.
            inputs: arrays of its inputs, by name; strings as `object`.

        Raises:
            tf.errors.OpError: if the graph fails.
        """
        outputs: dict[str, np.ndarray] = self._calls[signature](
            *(inputs[name] for name in sorted(inputs))
        )
        return outputs

    def score(self, queries: Any, documents: Any) -> np.ndarray:
        """Scores of pairs of raw texts, float32 `(rows,)`, by `serving_default`."""
        inputs = {
            "query": np.array(queries, dtype=object),
            "document": np.array(documents, dtype=object),
        }
        return self.run("serving_default", inputs)["score"]


def copied_signatures(meta_graph: Any) -> dict[str, Any]:
    """The `SignatureDef` messages of a `MetaGraphDef`, by name, without the rest.

    A part of a message keeps all of it in memory, here every weight of the model.
    """
    found = meta_graph.signature_def
    return {name: type(one).FromString(one.SerializeToString()) for name, one in found.items()}


def warmup_requests(path: Path) -> list[tuple[str, Any]]:
    """A version's warm-up requests: the signature of each, and a `PredictRequest`."""
    requests = [record.predict_log.request for record in read_warmup(path)]
    return [(one.model_spec.signature_name or "serving_default", one) for one in requests]
