"""Fewer shapes: numbers of tokens and words are rounded up before products.

oneDNN compiles a kernel for each shape of a product that it has not met lately, which takes a tenth
of a millisecond or more, and keeps the last 1024 of them, of all models of a process. Hardly two
pages have as many tokens: unrounded, a busy server compiles for most of them.
"""

import numpy as np
import tensorflow as tf

_LEAST = 4  # between two sizes
_IN_OCTAVE = 16  # sizes from a power of 2 to the next
_MOST = 2**20  # larger ones stay as they are


def _sizes() -> np.ndarray:
    sizes = [0]
    while sizes[-1] < _MOST:
        octave = 1 << max(sizes[-1], 1).bit_length() - 1
        sizes.append(sizes[-1] + max(_LEAST, octave // _IN_OCTAVE))
    return np.array(sizes, np.int32)


SIZES = _sizes()


def spare(count: tf.Tensor) -> tf.Tensor:
    """What is missing from `count` to the next of `SIZES`: a sixteenth of it or less, or under 4.

    Args:
        count: int32 scalar, 0 or more.

    Returns:
        int32 scalar.
    """
    place = tf.searchsorted(SIZES[:-1], tf.reshape(count, [1]))
    return tf.maximum(tf.gather(SIZES, place)[0] - count, 0)


def pad_end(x: tf.Tensor, count: tf.Tensor, value: tf.Tensor | int = 0) -> tf.Tensor:
    """A vector with `count` times `value` after it."""
    return tf.concat([x, tf.fill([count], tf.cast(value, x.dtype))], axis=0)
