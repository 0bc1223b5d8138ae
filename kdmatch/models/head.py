"""Pools and the scoring head that every matcher ends in."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops


def masked_max_pool(hidden: Any, mask: Any) -> Any:
    """Largest value over real positions: `(batch, length, h)`, mask `(batch, length)`.

    A row without a real position gives zeros.
    """
    inside = ops.expand_dims(ops.cast(mask, hidden.dtype), -1)
    highest = ops.max(hidden - (1.0 - inside) * 1e4, axis=1)
    return highest * ops.max(inside, axis=1)


def masked_mean_pool(hidden: Any, mask: Any) -> Any:
    """Mean over real positions; zeros where there are none."""
    inside = ops.expand_dims(ops.cast(mask, hidden.dtype), -1)
    return ops.sum(hidden * inside, axis=1) / ops.maximum(ops.sum(inside, axis=1), 1.0)


def compared_pools(hidden: Sequence[Any], masks: Sequence[Any]) -> list[Any]:
    """Max and mean pools `q`, `d` of a query and a document, as `q, d, |q − d|, q · d`.

    Args:
        hidden: both sides' vectors, `(batch, length, h)` each.
        masks: where each has tokens, `(batch, length)`.

    Returns:
        four tensors `(batch, 2h)`.

    Reference:
        Conneau et al., "Supervised learning of universal sentence representations
        from natural language inference data", 2017.
    """
    q, d = (
        ops.concatenate([masked_max_pool(own, mask), masked_mean_pool(own, mask)], axis=-1)
        for own, mask in zip(hidden, masks, strict=True)
    )
    return [q, d, ops.abs(q - d), q * d]


def score_head(features: Any, units: int, dropout: float) -> Any:
    """`Dense(units, tanh) → Dense(1) → tanh`; the layer `logit` is the last before tanh.

    Args:
        features: tensor `(batch, f)`.
        units: int. Width of the first dense layer.
        dropout: float. Rate before each dense layer.

    Returns:
        score `(batch,)`, float32 in (-1, 1).
    """
    x = layers.Dropout(dropout, name="head_dropout")(features)
    x = layers.Dense(units, activation="tanh", name="head")(x)
    x = layers.Dropout(dropout, name="logit_dropout")(x)
    # A small last layer keeps both tanhs out of saturation while training starts.
    small = keras.initializers.TruncatedNormal(stddev=0.02)
    logit = layers.Dense(1, kernel_initializer=small, dtype="float32", name="logit")(x)
    score = layers.Activation("tanh", dtype="float32", name="score")(logit)
    return ops.squeeze(score, axis=-1)
