"""The score of a TextCNN on the numbered words of a page.

Both sides of every pair lie in one frame of words, so that one product, one
sum and one pool serve all of them, and padding between the sides keeps
convolutions from reading across.
"""

from dataclasses import dataclass, replace

import tensorflow as tf

from kdmatch.serving.graph.cnn_weights import AttentionWeights, CnnWeights
from kdmatch.serving.graph.coverage import cover_characters, cover_words
from kdmatch.serving.graph.dense import batch_product, dense
from kdmatch.serving.graph.details import Details
from kdmatch.serving.graph.similarity import (
    Similarity,
    Units,
    compare_words,
    match_channels,
    soft_counts,
)
from kdmatch.serving.graph.sizes import pad_end, spare
from kdmatch.serving.graph.words import PageWords


@dataclass(frozen=True)
class Frame:
    """Query and document of each pair side by side: `margin, query, margin, document, margin`.

    Attributes:
        margin: int. Columns of padding, as many as the widest convolution reads across.
        places: int32 `(words,)`. Index of each real word in the flattened frame; spare ones, to one
            of `sizes.SIZES`, are the first row's first.
        sides: int32 `(words,)`. `2 · row`, one more for a document's word; `count` for spare ones.
        count: int32 scalar. Twice the batch.
    """

    margin: int
    places: tf.Tensor
    sides: tf.Tensor
    count: tf.Tensor


def score_words(weights: CnnWeights, page: PageWords) -> tf.Tensor:
    """Scores float32 `(batch,)` in (-1, 1)."""
    page = replace(page, words=pad_end(page.words, spare(tf.size(page.words))))
    vectors = tf.gather(weights.words, page.words)
    units = Units.of(vectors)
    similarity = None
    if weights.channels is not None or weights.kernels is not None:
        similarity = compare_words(page, units.unit)
    margin = len(weights.offsets) - 1
    numbers = _join(page.query, page.document, margin)
    frame = _find_words(page, numbers, margin)
    details = Details.of(page, weights.traits) if weights.traits is not None else None
    hidden = _convolve(weights, page, frame, numbers, vectors, similarity, details)
    pools = _pool(hidden, frame)
    pooled = [pools[:, 0], pools[:, 1]]
    if weights.attention is not None:
        pooled = [_attend(weights.attention, page, frame, numbers, hidden)]
    pooled += [tf.abs(pools[:, 0] - pools[:, 1]), pools[:, 0] * pools[:, 1]]
    if similarity is not None and weights.kernels is not None:
        masks = [tf.cast(tf.not_equal(ids, 0), tf.float32) for ids in (page.query, page.document)]
        ways = [masks, details.rarity] if details and weights.match_details else [masks]
        pooled += soft_counts(similarity.cosine, weights.kernels, ways)
    if details and weights.traits and weights.traits.spelling:
        spelling = weights.traits.spelling.vectors
        pooled.append(cover_words(page, details, spelling, units, similarity))
    if weights.characters is not None:
        pooled.append(cover_characters(page, *weights.characters))
    logit = dense(tf.tanh(dense(tf.concat(pooled, axis=1), weights.head)), weights.logit)
    return tf.reshape(tf.tanh(logit), [-1])


def _join(query: tf.Tensor, document: tf.Tensor, margin: int) -> tf.Tensor:
    """`(batch, query words, …)` and `(batch, document words, …)` as one frame."""
    rest = [[0, 0]] * (len(query.shape) - 2)
    return tf.concat(
        [
            tf.pad(query, [[0, 0], [margin, margin], *rest]),
            tf.pad(document, [[0, 0], [0, margin], *rest]),
        ],
        axis=1,
    )


def _find_words(page: PageWords, numbers: tf.Tensor, margin: int) -> Frame:
    rows, columns = tf.unstack(tf.cast(tf.where(tf.not_equal(numbers, 0)), tf.int32), axis=1)
    shape = tf.shape(numbers)
    is_document = columns >= tf.shape(page.query)[1] + 2 * margin
    count = 2 * shape[0]
    more = spare(tf.size(rows))
    return Frame(
        margin=margin,
        places=pad_end(rows * shape[1] + columns, more, margin),
        sides=pad_end(2 * rows + tf.cast(is_document, tf.int32), more, count),
        count=count,
    )


def _convolve(
    weights: CnnWeights,
    page: PageWords,
    frame: Frame,
    numbers: tf.Tensor,
    vectors: tf.Tensor,
    similarity: Similarity | None,
    details: Details | None,
) -> tf.Tensor:
    """Convolved words `(words, f)`: each tap of a distinct word is computed once."""
    taps = len(weights.offsets)
    products = tf.reshape(tf.matmul(vectors, weights.taps), [-1, len(weights.bias)])
    around = tf.expand_dims(frame.places, 0) + weights.offsets[:, None]
    near = tf.gather(tf.reshape(numbers, [-1]), around)
    tap = tf.range(taps)[:, None]
    parts = tf.unstack(tf.gather(products, near * taps + tap), num=taps)
    if weights.channels is None or similarity is None:
        return tf.nn.relu(tf.nn.bias_add(tf.add_n(parts), weights.bias))
    told = [list(match_channels(page, similarity))] if weights.match_channels else []
    told += [details.channels()] if details and weights.match_details else []
    query, document = (tf.concat(side, axis=-1) for side in zip(*told, strict=True))
    channels = _join(query, document, frame.margin)
    width = channels.shape[-1]
    seen = tf.gather(tf.reshape(channels, [-1, width]), tf.transpose(around))
    seen = tf.reshape(seen, [-1, width * taps])
    return tf.nn.relu(tf.add_n([*parts, dense(seen, (weights.channels, weights.bias))]))


def _pool(hidden: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Max and mean of each side's words: `(batch, 2, 2 · width)`, 0 for a side without words.

    The frame's words come side by side, so their segments are sorted, which takes half the time.
    """
    both = tf.concat(
        [tf.math.segment_max(hidden, frame.sides), tf.math.segment_mean(hidden, frame.sides)],
        axis=1,
    )[: frame.count]
    # Of sides after the last that has a word there are none yet; those before it are 0.
    both = tf.pad(both, [[0, frame.count - tf.shape(both)[0]], [0, 0]])
    return tf.reshape(both, [-1, 2, 2 * hidden.shape[1]])


def _attend(
    weights: AttentionWeights, page: PageWords, frame: Frame, numbers: tf.Tensor, hidden: tf.Tensor
) -> tf.Tensor:
    """Pools of each word compared with what it finds on the other side: `(batch, 4 · filters)`."""
    # Index 0 is a row of zeros, for padding.
    real = tf.cast(tf.not_equal(numbers, 0), tf.int32)
    index = tf.reshape(tf.cumsum(tf.reshape(real, [-1])), tf.shape(real)) * real
    split = tf.shape(page.query)[1] + frame.margin
    spare = tf.zeros_like(index[:, :1])
    queries, documents = (
        tf.concat([part, spare], axis=1)
        for part in (index[:, frame.margin : split], index[:, split + frame.margin :])
    )
    keys = _with_zero(dense(hidden, weights.keys))
    values = _with_zero(hidden)
    alike = batch_product(tf.gather(keys, queries), tf.gather(keys, documents), transpose_b=True)

    def find(alike: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        mask = tf.expand_dims(tf.where(tf.equal(others, 0), -1e9, 0.0), 1)
        return batch_product(tf.nn.softmax(alike + mask), tf.gather(values, others))

    found = tf.concat(
        [find(alike, documents), find(tf.transpose(alike, [0, 2, 1]), queries)], axis=1
    )
    own = tf.concat([queries, documents], axis=1)
    found = tf.gather_nd(found, tf.where(tf.not_equal(own, 0)))
    found = tf.pad(found, [[0, tf.shape(hidden)[0] - tf.shape(found)[0]], [0, 0]])
    seen = tf.concat([hidden, found, tf.abs(hidden - found), hidden * found], axis=1)
    pools = _pool(tf.nn.relu(dense(seen, weights.compare)), frame)
    return tf.reshape(pools, [-1, 2 * pools.shape[2]])


def _with_zero(x: tf.Tensor) -> tf.Tensor:
    return tf.pad(x, [[1, 0], [0, 0]])
