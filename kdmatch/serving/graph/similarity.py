"""`MatchChannels` and `SimilarityKernels` of both sides from one table of cosines."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kdmatch.models.match import SimilarityKernels, units_and_lengths
from kdmatch.serving.graph.dense import batch_product
from kdmatch.serving.graph.words import PageWords


@dataclass(frozen=True)
class Similarity:
    """How alike the words of the two sides are.

    Attributes:
        exact: bool `(batch, query words, document words)`. The same word.
        cosine: float32, of the same shape.
        both: bool, of the same shape. Neither is padding.
    """

    exact: tf.Tensor
    cosine: tf.Tensor
    both: tf.Tensor


@dataclass(frozen=True)
class Units:
    """Vectors of length 1, 0 where they were 0, and how long they were.

    Attributes:
        unit: float32 `(n, dimension)`.
        length: float32 `(n,)`.
    """

    unit: tf.Tensor
    length: tf.Tensor

    @classmethod
    def of(cls, vectors: tf.Tensor) -> "Units":
        return cls(*units_and_lengths(vectors))

    def as_constants(self) -> "Units":
        """As arrays, which a graph holds as constants."""
        return Units(self.unit.numpy(), self.length.numpy())


def compare_words(page: PageWords, unit: tf.Tensor) -> Similarity:
    """Similarity of all word pairs; `unit` is `(distinct, dimension)`, of length 1."""
    query, document = tf.expand_dims(page.query, 2), tf.expand_dims(page.document, 1)
    both = tf.logical_and(tf.not_equal(query, 0), tf.not_equal(document, 0))
    return Similarity(
        exact=tf.logical_and(tf.equal(query, document), both),
        cosine=batch_product(
            tf.gather(unit, page.query), tf.gather(unit, page.document), transpose_b=True
        ),
        both=both,
    )


def match_channels(page: PageWords, similarity: Similarity) -> tuple[tf.Tensor, tf.Tensor]:
    """`MatchChannels` of query and document: float32 `(batch, words, 2)`."""
    exact = tf.cast(similarity.exact, tf.float32)
    nearest = tf.where(similarity.both, similarity.cosine, np.float32(-1))

    def channels(ids: tf.Tensor, other: int) -> tf.Tensor:
        pair = tf.stack([tf.reduce_max(exact, other), tf.reduce_max(nearest, other)], axis=-1)
        return pair * tf.expand_dims(tf.cast(tf.not_equal(ids, 0), tf.float32), 2)

    return channels(page.query, 2), channels(page.document, 1)


def soft_counts(
    cosine: tf.Tensor, kernels: SimilarityKernels, weights: Sequence[Sequence[tf.Tensor]]
) -> list[tf.Tensor]:
    """`SimilarityKernels` of the query's words, then the document's, each `(batch, kernels)`.

    Args:
        cosine: float32 `(batch, query words, document words)`.
        kernels: SimilarityKernels.
        weights: for each way to weigh words, the query's and the document's
            weights, float32 `(batch, words)`, 0 for padding. The first way has all words.
    """
    means = np.array(kernels.means, np.float32)
    scale = -0.5 / np.square(kernels.widths, dtype=np.float64)
    # Kernels come before words, so that every sum runs along contiguous numbers.
    near = tf.exp(
        tf.math.squared_difference(tf.expand_dims(cosine, 1), means.reshape(-1, 1, 1))
        * scale.astype(np.float32).reshape(-1, 1, 1)
    )
    query, document = (tf.sign(side) for side in weights[0])
    near *= query[:, None, :, None] * document[:, None, None, :]
    counts = [tf.math.log1p(tf.reduce_sum(near, axis=other)) for other in (3, 2)]
    return [
        tf.reduce_sum(count * tf.expand_dims(weight, 1), axis=2)
        / tf.maximum(tf.reduce_sum(weight, axis=1, keepdims=True), 1e-6)
        for way in weights
        for count, weight in zip(counts, way, strict=True)
    ]
