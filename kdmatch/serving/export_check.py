"""Whether an export scores as the matcher that it was made of, before it appears."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kdmatch.errors import UserError

TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}
_ROWS = 16


def check_fit(matcher: keras.Model, encoder: Any) -> None:
    """Check that the matcher can read every row of ids that the encoder can make.

    Raises:
        UserError: if inputs, vocabulary or lengths differ.
    """
    mend = "export it with the encoder it was trained on"
    needed = set(matcher.input)
    if set(encoder.input_names) != needed:
        raise UserError(
            f"{matcher.name} reads {sorted(needed)}, the encoder makes "
            f"{sorted(encoder.input_names)}; {mend}"
        )
    config = matcher.get_config()
    known, given = config.get("vocabulary_size"), len(encoder.vocabulary)
    if known is not None and given > known:
        raise UserError(f"{matcher.name} knows {known} tokens, the encoder has {given}; {mend}")
    most, longest = config.get("max_sequence_length"), getattr(encoder, "max_tokens", None)
    if most is not None and longest is not None and longest > most:
        raise UserError(
            f"{matcher.name} reads {most} tokens at most, the encoder makes up to {longest}; {mend}"
        )


def check_scores(
    folder: Path,
    matcher: keras.Model,
    encoder: Any,
    page: tuple[str, Sequence[str]] | None,
    precision: str,
) -> None:
    """Check both signatures of a SavedModel against the matcher on real and on extreme rows.

    Args:
        folder: Path that holds `saved_model.pb`.
        matcher: the Keras model that it was made of.
        encoder: its PairEncoder.
        page: a query and documents, or None for the extreme rows alone: empty texts, and some
            longer than any row, of the vocabulary's last tokens.
        precision: "float32" or "bfloat16"; scores may differ by 1e-4, or by 0.05.

    Raises:
        UserError: if they differ by more, or the graph fails.
    """
    longest = " ".join(token.removeprefix("##") for token in encoder.vocabulary[-600:])
    queries, documents = ["", "", longest, longest], ["", longest, "", longest]
    if page is not None:
        documents = [*page[1][:_ROWS], *documents]
        queries = [page[0]] * (len(documents) - len(queries)) + queries
    ids = encoder(tf.constant(queries), tf.constant(documents))
    wanted = np.asarray(matcher(ids, training=False))
    signatures = tf.saved_model.load(str(folder)).signatures
    asked = {
        "serving_default": {"query": tf.constant(queries), "document": tf.constant(documents)},
        "tokens": {name: tf.cast(one, tf.int32) for name, one in ids.items()},
    }
    for name, inputs in asked.items():
        try:
            found = signatures[name](**inputs)["score"].numpy()
        except tf.errors.OpError as error:
            reason = " ".join(str(error.message).split())[:200]
            raise UserError(
                f"{matcher.name}: the exported graph's {name} fails ({reason}); "
                "nothing is published"
            ) from error
        largest = float(np.max(np.abs(found - wanted)))
        if not largest <= TOLERANCES[precision]:  # NaN is no agreement
            raise UserError(
                f"{matcher.name}: the exported graph's {name} scores differ from the model's by "
                f"{largest:.2g}; nothing is published; is the model a subclass with layers of its "
                "own? export it with graph='keras'"
            )
