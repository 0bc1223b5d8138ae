"""Ids of a table, computed once by the graph that serves."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from kdmatch.data.ids import PairIds
from kdmatch.text.encoder import PairEncoder


def encode_pairs(
    encoder: PairEncoder, batches: Iterable[tuple[Sequence[str], Sequence[str]]]
) -> PairIds:
    """Run the encoder's graph over batches of (queries, documents).

    Args:
        encoder: PairEncoder.
        batches: iterable of two equally long sequences of str.

    Returns:
        PairIds of all rows, in order.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)] * 2)
    def encode(query: tf.Tensor, document: tf.Tensor) -> dict[str, tf.Tensor]:
        return encoder(query, document)

    values: dict[str, list[np.ndarray]] = {name: [] for name in encoder.input_names}
    lengths: dict[str, list[np.ndarray]] = {name: [] for name in encoder.input_names}
    for queries, documents in batches:
        ids = {
            name: tensor.numpy()
            for name, tensor in encode(tf.constant(queries), tf.constant(documents)).items()
        }
        for name, dense in ids.items():
            reference = ids["token_ids"] if name == "segment_ids" else dense
            inside = reference != 0
            values[name].append(dense[inside].astype(np.int32))
            lengths[name].append(inside.sum(axis=1).astype(np.int32))
    empty = [np.zeros(0, np.int32)]
    return PairIds(
        {name: np.concatenate(parts or empty) for name, parts in values.items()},
        {name: np.concatenate(parts or empty) for name, parts in lengths.items()},
    )
