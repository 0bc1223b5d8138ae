"""`MatchSegments` on packed tokens."""

import tensorflow as tf

from kdmatch.serving.graph.pack import Packed


def match_segments(page: Packed, vocabulary_size: int) -> tf.Tensor:
    """`side + 2 · [this token also stands on the row's other side]`.

    Tokens of a row that are equal share a number; a number with both sides
    among its tokens is matched.

    Args:
        page: Packed.
        vocabulary_size: int. Larger than any id.

    Returns:
        int32 `(tokens,)`, equal to `MatchSegments` on the padded rows.
    """
    key = tf.cast(page.rows, tf.int64) * vocabulary_size + tf.cast(page.ids, tf.int64)
    distinct, number = tf.unique(key)
    count = tf.size(distinct)
    low = tf.math.unsorted_segment_min(page.sides, number, count)
    high = tf.math.unsorted_segment_max(page.sides, number, count)
    # Padding, kept as the one token of an empty row, has a single side.
    return page.sides + 2 * tf.gather(high - low, number)
