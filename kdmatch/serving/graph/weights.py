"""An encoder's weights, folded for inference.

A LayerNorm is here `unit(centre(z)) · scale + shift`, `unit` a vector divided
by its length. Scale and shift go into the next product, and the centring into
the product before, wherever nothing but products stands between.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher

Array = np.ndarray


@dataclass(frozen=True)
class Layer:
    """One transformer layer on unit vectors `u` `(tokens, width)`.

    Attributes:
        qkv: `(width, 3 · hidden)` and `(3 · hidden,)`. Queries scaled by the root of a head's
            width.
        skip: `(width, hidden)` or `(width,)`. What `u` is multiplied by to give the residual.
        attended: `(hidden, hidden)` and `(hidden,)`.
        inner: `(hidden, intermediate)` and `(intermediate,)`, before the gelu.
        inner_skip: `(hidden,)`. As `skip`, round the feed-forward block.
        outer: `(intermediate, hidden)` and `(hidden,)`.
        is_centred: bool. Rows of residual plus attention have mean 0 already.
    """

    qkv: tuple[Array, Array]
    skip: Array
    attended: tuple[Array, Array]
    inner: tuple[Array, Array]
    inner_skip: Array
    outer: tuple[Array, Array]
    is_centred: bool


@dataclass(frozen=True)
class EncoderWeights:
    """All that the packed graph of a `BertMatcher` or `AlbertMatcher` reads.

    Attributes:
        heads: int. Attention heads.
        tokens: `(vocabulary, width)`. Centred token embeddings.
        positions, segments: `(…, width)`. Centred embeddings.
        layers: one Layer for each pass.
        scale, shift: `(hidden,)`. Of the last norm.
        head, logit: kernel and bias of the head's dense layers.
    """

    heads: int
    tokens: Array
    positions: Array
    segments: Array
    layers: tuple[Layer, ...]
    scale: Array
    shift: Array
    head: tuple[Array, Array]
    logit: tuple[Array, Array]


def encoder_weights(matcher: BertMatcher | AlbertMatcher) -> EncoderWeights:
    """Read and fold the weights of a matcher, in float64, kept as float32."""
    encoder = matcher.encoder
    values = by_path(encoder)
    tokens, positions, segments = (
        values[f"{name}_embedding/embeddings"] for name in ("token", "position", "segment")
    )
    scale, shift = _norm(values, "embeddings_layer_norm")
    if isinstance(matcher, AlbertMatcher):
        names = ["group_0_inner_layer_0"] * encoder.num_layers
        projection = dense(values, "embedding_projection")
    else:
        names = [f"transformer_layer_{i}" for i in range(encoder.num_layers)]
        projection = None
    layers = []
    for name in names:
        layers.append(_fold(values, name, encoder.num_heads, scale, shift, projection))
        scale, shift = _norm(values, f"{name}/feedforward_layer_norm")
        projection = None
    ends = by_path(matcher)
    return EncoderWeights(
        heads=encoder.num_heads,
        tokens=_float32(_centre(tokens)),
        positions=_float32(_centre(positions)),
        segments=_float32(_centre(segments)),
        layers=tuple(layers),
        scale=_float32(scale),
        shift=_float32(shift),
        head=pair(*dense(ends, "head")),
        logit=pair(*dense(ends, "logit")),
    )


def token_embeddings(matcher: BertMatcher | AlbertMatcher) -> Array:
    """Embeddings as trained, float32 `(vocabulary, width)`."""
    return _float32(by_path(matcher.encoder)["token_embedding/embeddings"])


def _fold(
    values: dict[str, Array],
    name: str,
    heads: int,
    scale: Array,
    shift: Array,
    projection: tuple[Array, Array] | None,
) -> Layer:
    attention = f"{name}/self_attention_layer"
    kernels, biases = [], []
    for part in ("query", "key", "value"):
        kernel, bias = dense(values, f"{attention}/{part}")
        hidden = kernel.shape[0]
        shrink = (hidden // heads) ** -0.5 if part == "query" else 1.0
        kernels.append(kernel.reshape(hidden, -1) * shrink)
        biases.append(bias.reshape(-1) * shrink)
    qkv, qkv_bias = np.concatenate(kernels, axis=1), np.concatenate(biases)
    output, output_bias = dense(values, f"{attention}/attention_output")
    output = output.reshape(-1, output.shape[-1])
    inner, inner_bias = dense(values, f"{name}/feedforward_intermediate_dense")
    outer, outer_bias = dense(values, f"{name}/feedforward_output_dense")
    inner_scale, inner_shift = _norm(values, f"{name}/self_attention_layer_norm")

    if projection is None:
        skip, skip_bias = scale, shift
        entry, entry_bias = scale[:, None] * qkv, shift @ qkv + qkv_bias
    else:
        matrix = scale[:, None] * projection[0]
        whole_bias = shift @ projection[0] + projection[1]
        entry, entry_bias = matrix @ qkv, whole_bias @ qkv + qkv_bias
        # Residual and attention are both products here, so both can be centred in advance.
        skip, skip_bias = _centre(matrix), _centre(whole_bias)
        output, output_bias = _centre(output), _centre(output_bias)
    return Layer(
        qkv=pair(entry, entry_bias),
        skip=_float32(skip),
        attended=pair(output, output_bias + skip_bias),
        inner=pair(inner_scale[:, None] * inner, inner_shift @ inner + inner_bias),
        inner_skip=_float32(inner_scale),
        outer=pair(outer, outer_bias + inner_shift),
        is_centred=projection is not None,
    )


def by_path(model: Any) -> dict[str, Array]:
    """Weights by their path, in float64."""
    return {v.path: np.asarray(v.numpy(), np.float64) for v in model.weights}


def _norm(values: dict[str, Array], name: str) -> tuple[Array, Array]:
    """Scale and shift of a norm for unit vectors, which are shorter by the root of the width."""
    scale = values[f"{name}/gamma"]
    return scale * len(scale) ** 0.5, values[f"{name}/beta"]


def dense(values: dict[str, Array], name: str) -> tuple[Array, Array]:
    return values[f"{name}/kernel"], values[f"{name}/bias"]


def _centre(x: Array) -> Array:
    return x - x.mean(axis=-1, keepdims=True)


def pair(kernel: Array, bias: Array) -> tuple[Array, Array]:
    return _float32(kernel), _float32(bias)


def _float32(x: Array) -> Array:
    return np.ascontiguousarray(x, np.float32)
