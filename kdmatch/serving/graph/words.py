"""The words of a page as numbers of its distinct words."""

from dataclasses import dataclass

import tensorflow as tf

from kdmatch.text.words import WordEncoder


@dataclass(frozen=True)
class PageWords:
    """Pairs of word sequences over one list of distinct words.

    Attributes:
        words: int32 `(distinct,)`. Vocabulary ids; the first is padding, 0.
        query, document: int32 `(batch, longest)`. Indices into `words`,
            padded with 0, at least one wide.
    """

    words: tf.Tensor
    query: tf.Tensor
    document: tf.Tensor

    def tensors(self) -> tuple[tf.Tensor, ...]:
        """All of them, in order."""
        return self.words, self.query, self.document


def number_text(encoder: WordEncoder, query: tf.Tensor, document: tf.Tensor) -> PageWords:
    """Words of string pairs, each distinct query segmented once.

    Args:
        encoder: WordEncoder.
        query, document: string `(batch,)`.
    """
    distinct, which = tf.unique(query)
    tokens = encoder.cut(
        tf.concat([encoder.clean_queries(distinct), encoder.clean_documents(document)], axis=0)
    )
    words, numbers = tf.unique(tf.concat([[0], tokens.values], axis=0))
    splits = tf.cast(tokens.row_splits, tf.int32)
    begins = splits[:-1]
    counts = splits[1:] - begins
    queries = tf.size(distinct)
    return PageWords(
        words,
        _padded(
            numbers,
            tf.gather(begins, which),
            tf.minimum(tf.gather(counts, which), encoder.max_query_words),
        ),
        _padded(
            numbers, begins[queries:], tf.minimum(counts[queries:], encoder.max_document_words)
        ),
    )


def number_ids(query: tf.Tensor, document: tf.Tensor) -> PageWords:
    """Words of padded ids `(batch, length)`."""
    query, document = (tf.pad(ids, [[0, 0], [0, 1]]) for ids in (query, document))
    flat = [tf.reshape(query, [-1]), tf.reshape(document, [-1])]
    words, numbers = tf.unique(tf.concat([[0], *flat], axis=0))
    split = tf.size(query) + 1
    return PageWords(
        words,
        tf.reshape(numbers[1:split], tf.shape(query)),
        tf.reshape(numbers[split:], tf.shape(document)),
    )


def _padded(numbers: tf.Tensor, begins: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Runs of `numbers[1:]` as rows, padded with `numbers[0]`."""
    place = tf.expand_dims(tf.range(tf.reduce_max(tf.concat([counts, [1]], axis=0))), 0)
    is_word = tf.cast(place < tf.expand_dims(counts, 1), tf.int32)
    return tf.gather(numbers, (tf.expand_dims(begins + 1, 1) + place) * is_word)
