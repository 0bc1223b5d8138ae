"""Batches as a `tf.data` pipeline, for the TensorFlow backend."""

from collections.abc import Iterator
from typing import Any

import keras


def as_tf_dataset(batches: keras.utils.PyDataset) -> Any:
    """Endless batches with open shapes, made ahead of the step that reads them.

    Args:
        batches: PyDataset of nested NumPy arrays whose `on_epoch_end` moves on
            to the next epoch.

    Returns:
        dataset of the same batches; fit it with `steps_per_epoch=len(batches)`.
    """
    import tensorflow as tf

    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), batches[0]
    )

    def endless() -> Iterator[Any]:
        while True:
            yield from (batches[index] for index in range(len(batches)))
            batches.on_epoch_end()

    return tf.data.Dataset.from_generator(endless, output_signature=signature).prefetch(2)
