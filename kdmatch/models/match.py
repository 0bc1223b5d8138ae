"""Which words the two sides share, computed from the ids alone."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kdmatch")
class MatchSegments(layers.Layer):
    """Segment ids 0 to 3: `side + 2 · [this token also stands on the other side]`.

    A shallow encoder cannot find shared words by itself; told in the segment
    embedding it costs one comparison a token pair.

    Call args:
        token_ids: int `(batch, length)`, 0 is padding.
        segment_ids: int `(batch, length)`, 0 query, 1 document.

    Returns:
        int32 `(batch, length)`.

    >>> segments = MatchSegments()(ops.array([[7, 8, 2, 8, 0]]), ops.array([[0, 0, 0, 1, 0]]))
    >>> ops.convert_to_numpy(segments).tolist()
    [[0, 2, 0, 3, 0]]
    """

    def call(self, token_ids: Any, segment_ids: Any) -> Any:
        token_ids = ops.cast(token_ids, "int32")
        segment_ids = ops.cast(segment_ids, "int32")
        same = ops.equal(token_ids[:, :, None], token_ids[:, None, :])
        across = ops.not_equal(segment_ids[:, :, None], segment_ids[:, None, :])
        real = ops.not_equal(token_ids, 0)
        both = ops.logical_and(ops.logical_and(same, across), real[:, None, :])
        shared = ops.logical_and(ops.any(both, axis=-1), real)
        return segment_ids + 2 * ops.cast(shared, "int32")

    def compute_output_spec(self, token_ids: Any, segment_ids: Any) -> Any:
        return keras.KerasTensor(token_ids.shape, dtype="int32")


@keras.saving.register_keras_serializable("kdmatch")
class SimilarityKernels(layers.Layer):
    """Soft counts of how many words of each side match the other, and how well.

    Cosine similarities of all word pairs pass through `kernels` Gaussians with
    means from -0.9 to 1 (the one at 1, with width 0.001, counts exact
    matches); for each word of a side each is summed over the other side, and its `log(1 + x)`
    averaged over the side's words.

    Args:
        kernels: int. Number of Gaussians.

    Call args:
        query, document: float `(batch, words, dimension)`.
        weights: list of pairs, the query's and the document's, bool or float `(batch, words)`:
            weights of the words in the mean, each pair another mean. What the first pair
            has at 0 is no word of its side.

    Returns:
        float `(batch, 2 · len(weights) · kernels)`: for each pair the query's, then the
        document's.

    Reference:
        Xiong et al., "End-to-end neural ad-hoc ranking with kernel pooling",
        2017 (K-NRM). It sums logs over the query; the mean keeps long queries
        on the scale of short ones.
    """

    def __init__(self, kernels: int = 11, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kernels < 2:
            raise ValueError(f"kernels is {kernels}; give at least 2")
        self.kernels = kernels
        step = 2.0 / (kernels - 1)
        self.means = [1.0] + [1.0 - step / 2 - step * i for i in range(kernels - 1)]
        self.widths = [1e-3] + [0.1] * (kernels - 1)

    def call(self, query: Any, document: Any, weights: Sequence[tuple[Any, Any]]) -> Any:
        similarity = ops.einsum("bqd,bed->bqe", unit_vectors(query), unit_vectors(document))
        # Kernels come before words, so that every sum runs along contiguous numbers.
        similarity = ops.expand_dims(similarity, 1)
        means, widths = (
            ops.reshape(ops.convert_to_tensor(of, dtype=similarity.dtype), (1, -1, 1, 1))
            for of in (self.means, self.widths)
        )
        near = ops.exp(-ops.square(similarity - means) / (2.0 * ops.square(widths)))
        real = [ops.cast(ops.not_equal(side, 0), near.dtype)[:, None] for side in weights[0]]
        near = near * (real[0][:, :, :, None] * real[1][:, :, None, :])
        # Not log1p, which has no converter to ONNX; counts below 1e-7 do not matter.
        counts = [ops.log(1.0 + ops.sum(near, axis=other)) for other in (3, 2)]
        pools = []
        for pair in weights:
            for count, side in zip(counts, pair, strict=True):
                weight = ops.cast(side, near.dtype)[:, None]
                total = ops.maximum(ops.sum(weight, axis=2), 1e-6)
                pools.append(ops.sum(count * weight, axis=2) / total)
        return ops.concatenate(pools, axis=1)

    def compute_output_spec(
        self, query: Any, document: Any, weights: Sequence[tuple[Any, Any]]
    ) -> Any:
        features = 2 * len(weights) * self.kernels
        return keras.KerasTensor((query.shape[0], features), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernels": self.kernels}


@keras.saving.register_keras_serializable("kdmatch")
class MatchChannels(layers.Layer):
    """Two channels a word: stands on the other side too; its nearest word there.

    Call args:
        ids, other_ids: int `(batch, words)` and `(batch, other words)`.
        vectors, other_vectors: float `(batch, …, dimension)`.

    Returns:
        float `(batch, words, 2)`: 0/1, and the largest cosine in [-1, 1].
    """

    def call(self, ids: Any, other_ids: Any, vectors: Any, other_vectors: Any) -> Any:
        real, other_real = ops.not_equal(ids, 0), ops.not_equal(other_ids, 0)
        both = ops.logical_and(real[:, :, None], other_real[:, None, :])
        exact = ops.logical_and(ops.equal(ids[:, :, None], other_ids[:, None, :]), both)
        cosine = ops.einsum("bqd,bed->bqe", unit_vectors(vectors), unit_vectors(other_vectors))
        # No other word at all reads as "nothing alike", not as the mask's depth.
        nearest = ops.max(ops.where(both, cosine, -1.0), axis=-1)
        channels = [ops.cast(ops.any(exact, axis=-1), vectors.dtype), nearest]
        return ops.stack(channels, axis=-1) * ops.cast(real, vectors.dtype)[:, :, None]

    def compute_output_spec(self, ids: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor((*ids.shape, 2), dtype=self.compute_dtype)


def unit_vectors(vectors: Any) -> Any:
    """Vectors of length 1 along the last axis; 0 stays 0."""
    # `ops.normalize` has no finite gradient at 0 on JAX, and padding is 0.
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, 1e-12))


def units_and_lengths(vectors: Any) -> tuple[Any, Any]:
    """`unit_vectors` `(…, dimension)` and how long the vectors were, `(…)`; not below 1e-6."""
    # No finite gradient of a root at 0, where padding is.
    length = ops.sqrt(ops.maximum(ops.sum(ops.square(vectors), axis=-1), 1e-12))
    return vectors / length[..., None], length
