"""A SavedModel run as TF Serving runs it: in a session, every signature by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.quiet import import_tensorflow_quietly, without_warnings
from kdmatch.serving.threads import session_config


class SavedModelSession:
    """One version in a session of its own; calls may run side by side.

    TF Serving runs SavedModels in sessions, too. TensorFlow's eager runtime, which
    `tf.saved_model.load` would use, keeps threads of its own whatever `set_threads` says, and
    hands every call to them.

    Args:
        path: Path. Directory that holds `saved_model.pb`.

    Attributes:
        signature_defs: the `SignatureDef` messages, by name.
        inputs: of each signature that can be run, which an initialiser's cannot, the
            `TensorSpec` of each input.

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
        self.inputs = {
            name: {
                key: tf.TensorSpec(info.tensor_shape, info.dtype)
                for key, info in one.inputs.items()
            }
            for name, one in self.signature_defs.items()
            if one.method_name  # the initialiser, which the loader has run, has none
        }
        self._calls = {
            name: self._session.make_callable(
                {output: info.name for output, info in one.outputs.items()},
                [one.inputs[key].name for key in sorted(one.inputs)],
            )
            for name, one in self.signature_defs.items()
            if name in self.inputs
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
