"""A matcher and its encoder as one SavedModel: the only place that knows a signature."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kdmatch.errors import UserError
from kdmatch.serving.ops import check_ops
from kdmatch.serving.versions import new_version, next_version
from kdmatch.serving.warmup import write_warmup

WARMUP_SIZES = (1, 2, 5, 10, 20, 50)


def export(
    matcher: keras.Model,
    encoder: Any,
    base: str | Path,
    version: int | None = None,
    warmup: tuple[str, Sequence[str]] | None = None,
) -> Path:
    """Write `<base>/<version>/`, complete or not at all.

    Signatures:
        serving_default: `query`, `document` string `(batch,)` → `score` float32 `(batch,)`.
        tokens: the matcher's own inputs, int32 `(batch, length)` → `score`.

    Args:
        matcher: Functional matcher on the TensorFlow backend.
        encoder: PairEncoder that made the matcher's training ids.
        base: folder of the model, its name the model's name.
        version: int, or None for the next one.
        warmup: a query and documents to warm the server with, in pages of
            several sizes; None writes no warm-up file.

    Returns:
        the version's folder.

    Raises:
        UserError: if the backend is not TensorFlow, encoder and matcher do not
            fit, the version exists, or the graph holds an op that TensorFlow
            Serving does not have.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"export needs the TensorFlow backend, not {keras.backend.backend()}; "
            "set KERAS_BACKEND=tensorflow"
        )
    needed = set(matcher.input)
    if set(encoder.input_names) != needed:
        raise UserError(
            f"{matcher.name} reads {sorted(needed)}, the encoder makes "
            f"{sorted(encoder.input_names)}; export it with the encoder it was trained on"
        )
    base = Path(base)
    number = version or next_version(base)
    with new_version(base, number) as folder:
        _save(matcher, encoder, folder)
        check_ops(folder)
        if warmup is not None:
            query, documents = warmup
            pages = [(query, list(documents[:size])) for size in WARMUP_SIZES]
            write_warmup(folder, base.name, pages)
    return base / str(number)


def _save(matcher: keras.Model, encoder: Any, folder: Path) -> None:
    text = tf.TensorSpec([None], tf.string)

    class Serving(tf.Module):
        """Holds what the graphs below read, so that it is saved with them."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in matcher.variables]

        @tf.function(
            autograph=False,
            input_signature=[
                tf.TensorSpec([None], tf.string, name="query"),
                tf.TensorSpec([None], tf.string, name="document"),
            ],
        )
        def from_text(self, query: tf.Tensor, document: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"score": matcher(encoder(query, document), training=False)}

        @tf.function(
            autograph=False,
            input_signature=[
                {
                    name: tf.TensorSpec([None, None], tf.int32, name=name)
                    for name in encoder.input_names
                }
            ],
        )
        def from_tokens(self, ids: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {"score": matcher(ids, training=False)}

    serving = Serving()
    tf.saved_model.save(
        serving,
        str(folder),
        signatures={
            "serving_default": serving.from_text.get_concrete_function(text, text),
            "tokens": serving.from_tokens.get_concrete_function(),
        },
    )
