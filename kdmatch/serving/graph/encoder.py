"""The score of a BERT or ALBERT matcher on packed tokens."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from kdmatch.serving.graph.attention import Places, attend, find_places
from kdmatch.serving.graph.dense import dense
from kdmatch.serving.graph.pack import Packed
from kdmatch.serving.graph.sizes import pad_end, spare
from kdmatch.serving.graph.weights import EncoderWeights, Layer

Pair = tuple[np.ndarray, np.ndarray]


def score_packed(
    weights: EncoderWeights,
    page: Packed,
    segments: tf.Tensor,
    told: tf.Tensor | None = None,
    wide: tf.DType = tf.float32,
) -> tf.Tensor:
    """Scores of packed rows.

    Args:
        weights: EncoderWeights.
        page: Packed.
        segments: int32 `(tokens,)`.
        told: float32 `(rows, features)` that the head reads after the pools, or None.
        wide: type in which the layers' products are computed.

    Returns:
        float32 `(rows,)` in (-1, 1).
    """
    page, segments = _rounded(page, segments)
    places = find_places(page, weights.heads)
    x = _embed(weights, page, segments)
    for layer in weights.layers:
        x = _transform(layer, x, places, weights.heads, wide)
    hidden = x * weights.scale + weights.shift
    rows = tf.size(page.lengths)
    pools = [
        tf.gather(hidden, page.starts),
        tf.math.segment_max(hidden, page.rows)[:rows],
        tf.math.segment_mean(hidden, page.rows)[:rows],
    ]
    pooled = tf.concat(pools if told is None else [*pools, told], axis=1)
    logit = dense(tf.tanh(dense(pooled, weights.head)), weights.logit)
    return tf.reshape(tf.tanh(logit), [-1])


def _rounded(page: Packed, segments: tf.Tensor) -> tuple[Packed, tf.Tensor]:
    """With spare tokens to one of `sizes.SIZES`, of a row after the last."""
    more = spare(tf.size(page.ids))
    padded = replace(
        page,
        ids=pad_end(page.ids, more),
        sides=pad_end(page.sides, more),
        rows=pad_end(page.rows, more, tf.size(page.lengths)),
        positions=pad_end(page.positions, more),
    )
    return padded, pad_end(segments, more)


def _embed(weights: EncoderWeights, page: Packed, segments: tf.Tensor) -> tf.Tensor:
    """Unit vectors `(tokens, width)`: the embeddings' norm without scale and shift."""
    place = tf.gather(weights.positions, page.positions) + tf.gather(weights.segments, segments)
    return _unit(tf.gather(weights.tokens, page.ids) + place)


def _transform(layer: Layer, x: tf.Tensor, places: Places, heads: int, wide: tf.DType) -> tf.Tensor:
    """One layer, from unit vectors to unit vectors."""

    def product(y: tf.Tensor, pair: Pair) -> tf.Tensor:
        return tf.cast(dense(tf.cast(y, wide), pair), tf.float32)

    found = attend(product(x, layer.qkv), places, heads)
    skip = x * layer.skip if layer.skip.ndim == 1 else tf.matmul(x, layer.skip)
    z = product(found, layer.attended) + skip
    x = _unit(z if layer.is_centred else _centre(z))
    inner = dense(tf.cast(x, wide), layer.inner)
    outer = dense(tf.nn.gelu(inner, approximate=True), layer.outer)
    return _unit(_centre(tf.cast(outer, tf.float32) + x * layer.inner_skip))


def _centre(x: tf.Tensor) -> tf.Tensor:
    return x - tf.reduce_mean(x, axis=-1, keepdims=True)


def _unit(x: tf.Tensor) -> tf.Tensor:
    length = tf.raw_ops.EuclideanNorm(input=x, axis=[-1], keep_dims=True)
    # A zero vector stays one, as it does under the norm's epsilon.
    return x * tf.raw_ops.DivNoNan(x=tf.constant(1.0), y=length)
