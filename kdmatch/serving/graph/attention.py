"""Attention of packed tokens: the one place where rows are padded."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kdmatch.serving.graph.pack import Packed

_MASKED = np.float32(-1e9)


@dataclass(frozen=True)
class Places:
    """Where packed tokens stand in `(batch, heads, longest)`, computed once for all layers.

    Attributes:
        gather: int32 `(3, batch, heads, longest)`. Rows of the product
            `(tokens · 3 · heads, head width)` that are queries, keys, values.
        scatter: int32 `(tokens, heads)`. Rows of `(batch · heads · longest,
            head width)` that belong to a token.
        mask: float32 `(batch, 1, 1, longest)`. 0, or -1e9 where there is no token.
    """

    gather: tf.Tensor
    scatter: tf.Tensor
    mask: tf.Tensor


def find_places(page: Packed, heads: int) -> Places:
    """Indices for `attend`."""
    longest = tf.reduce_max(tf.concat([page.lengths, [1]], axis=0))
    place = tf.expand_dims(tf.range(longest), 0)
    is_token = place < tf.expand_dims(page.lengths, 1)
    # A place without a token reads the row's first, and is masked.
    token = tf.expand_dims(page.starts, 1) + place * tf.cast(is_token, tf.int32)
    parts = np.arange(3 * heads, dtype=np.int32).reshape(3, 1, heads, 1)
    gather = token[None, :, None, :] * (3 * heads) + parts
    # Spare tokens, of a row after the last, read some other: nobody reads them.
    rows = tf.minimum(page.rows, tf.size(page.lengths) - 1)
    own = tf.expand_dims(rows * heads, 1) + np.arange(heads, dtype=np.int32)
    return Places(
        gather=gather,
        scatter=own * longest + tf.expand_dims(page.positions, 1),
        mask=tf.where(is_token, np.float32(0), _MASKED)[:, None, None, :],
    )


def attend(qkv: tf.Tensor, places: Places, heads: int) -> tf.Tensor:
    """Softmax attention within rows.

    Args:
        qkv: float `(tokens, 3 · hidden)`. Queries, scaled, keys and values.
        places: Places.
        heads: int.

    Returns:
        float `(tokens, hidden)`.
    """
    hidden = qkv.shape[1] // 3
    flat = tf.reshape(qkv, [-1, hidden // heads])
    query, key, value = tf.unstack(tf.gather(flat, places.gather), num=3)
    weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + places.mask)
    found = tf.reshape(tf.matmul(weights, value), [-1, hidden // heads])
    return tf.reshape(tf.gather(found, places.scatter), [-1, hidden])
