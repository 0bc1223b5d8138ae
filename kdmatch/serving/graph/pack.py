"""The tokens of a batch one after the other, without padding."""

from dataclasses import dataclass

import tensorflow as tf

from kdmatch.text.wordpiece import WordPieceEncoder

# Row, side and position of a token travel in one int32: 15 bits of position, 1 of side.
_SIDE_BIT = 15
_ROW_BIT = _SIDE_BIT + 1


@dataclass(frozen=True)
class Packed:
    """Tokens of all rows in one vector.

    Attributes:
        ids: int32 `(tokens,)`. Vocabulary ids.
        sides: int32 `(tokens,)`. 0 query, 1 document.
        rows: int32 `(tokens,)`. Row of the batch, ascending.
        positions: int32 `(tokens,)`. Place within the row, from 0.
        starts: int32 `(rows,)`. Index of each row's first token.
        lengths: int32 `(rows,)`. Tokens of each row, at least 1.
    """

    ids: tf.Tensor
    sides: tf.Tensor
    rows: tf.Tensor
    positions: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor

    def tensors(self) -> tuple[tf.Tensor, ...]:
        """All of them, in order."""
        return (self.ids, self.sides, self.rows, self.positions, self.starts, self.lengths)


def pack_text(encoder: WordPieceEncoder, query: tf.Tensor, document: tf.Tensor) -> Packed:
    """`[CLS] query [SEP] document [SEP]` of each row, as the encoder builds them.

    Each distinct query is tokenized once.

    Args:
        encoder: WordPieceEncoder.
        query, document: string `(batch,)`.
    """
    distinct, which = tf.unique(query)
    tokens = encoder.cut(
        tf.concat([encoder.clean_queries(distinct), encoder.clean_documents(document)], axis=0)
    )
    splits = tf.cast(tokens.row_splits, tf.int32)
    begins = splits[:-1]
    counts = splits[1:] - begins
    queries = tf.size(distinct)
    query_count = tf.minimum(tf.gather(counts, which), encoder.max_query_tokens)
    room = encoder.max_tokens - 3 - query_count
    # Documents are the last of the strings, one to each row.
    document_count = tf.minimum(counts[queries:], room)
    zero = tf.zeros_like(which)
    one = tf.ones_like(which)

    # Ranges over the vector ([CLS], [SEP], tokens …): five for each row.
    special = tf.constant([encoder.vocabulary.index(t) for t in ("[CLS]", "[SEP]")], tf.int32)
    first = tf.stack([zero, tf.gather(begins, which) + 2, one, begins[queries:] + 2, one], axis=1)
    count = tf.stack([one, query_count, one, document_count, one], axis=1)
    source = _ranges(first, first + count)[1]
    ids = tf.gather(tf.concat([special, tokens.values], axis=0), source)

    # The same tokens again as two ranges for each row, its sides.
    left = query_count + 2
    length = left + document_count + 1
    row = tf.bitwise.left_shift(tf.cumsum(one, exclusive=True), _ROW_BIT)
    right = row + (1 << _SIDE_BIT)
    part_splits, places = _ranges(
        tf.stack([row, right + left], axis=1), tf.stack([row + left, right + length], axis=1)
    )
    return Packed(
        ids=ids,
        sides=tf.bitwise.bitwise_and(tf.bitwise.right_shift(places, _SIDE_BIT), 1),
        rows=tf.bitwise.right_shift(places, _ROW_BIT),
        positions=tf.bitwise.bitwise_and(places, (1 << _SIDE_BIT) - 1),
        starts=part_splits[:-1:2],
        lengths=length,
    )


def pack_padded(ids: tf.Tensor, sides: tf.Tensor) -> Packed:
    """Rows padded with 0, stripped.

    A row's first token is kept even where it is 0, so that an empty row has a
    score, whatever stands beside it.

    Args:
        ids, sides: int32 `(batch, length)`.
    """
    real = tf.not_equal(ids, 0)
    kept = tf.concat([tf.ones_like(real[:, :1]), real[:, 1:]], axis=1)
    places = tf.where(kept)
    lengths = tf.reduce_sum(tf.cast(kept, tf.int32), axis=1)
    rows, positions = tf.unstack(tf.cast(places, tf.int32), axis=1)
    return Packed(
        ids=tf.gather_nd(ids, places),
        sides=tf.gather_nd(sides, places),
        rows=rows,
        positions=positions,
        starts=tf.cumsum(lengths, exclusive=True),
        lengths=lengths,
    )


def _ranges(first: tf.Tensor, limit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits and values of `[first, limit)` for each entry, row by row."""
    return tf.raw_ops.RaggedRange(
        starts=tf.reshape(first, [-1]),
        limits=tf.reshape(limit, [-1]),
        deltas=tf.constant(1, tf.int32),
        Tsplits=tf.int32,
    )
