"""Byte-level care of strings that a request may bring."""

import tensorflow as tf


def clean_utf8(text: tf.Tensor, max_bytes: int) -> tf.Tensor:
    """Valid UTF-8 of at most `max_bytes` bytes, made with TensorFlow's own ops.

    A megabyte of document costs no more than a long title, and a broken byte
    becomes U+FFFD, never an error; a NUL, at which some ops stop, a blank.

    >>> clean_utf8(tf.constant([b"caf\\xc3\\xa9", b"a\\xff"]), 4).numpy().tolist()
    [b'caf\\xef\\xbf\\xbd', b'a\\xef\\xbf\\xbd']
    """
    valid = tf.strings.unicode_transcode(
        tf.strings.substr(text, 0, max_bytes), "UTF-8", "UTF-8", errors="replace"
    )
    return tf.strings.regex_replace(valid, r"\x00", " ")
