"""Training batches as a `tf.data` pipeline, for the TensorFlow backend."""

from collections.abc import Iterator
from typing import Any

from kdmatch.data.batches import TrainingBatches


def as_tf_dataset(batches: TrainingBatches) -> Any:
    """Endless batches with open widths, made ahead of the step that reads them.

    Args:
        batches: TrainingBatches, begun at its own epoch.

    Returns:
        dataset of `(inputs, targets, weights)`; fit it with
        `steps_per_epoch=len(batches)`.
    """
    import tensorflow as tf

    inputs, targets, weights = batches[0]
    signature = (
        {name: tf.TensorSpec([None, None], ids.dtype) for name, ids in inputs.items()},
        tf.nest.map_structure(lambda array: tf.TensorSpec([None], array.dtype), targets),
        tf.TensorSpec([None], weights.dtype),
    )

    def endless() -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
        while True:
            yield from (batches[index] for index in range(len(batches)))
            batches.on_epoch_end()

    return tf.data.Dataset.from_generator(endless, output_signature=signature).prefetch(2)
