"""How many of each side's characters the other has, for matchers that read words."""

from typing import Any

import keras
from keras import layers, ops

from kdmatch.models.coverage import covered, with_weights

CHARACTER_FEATURES = 2 * 6


@keras.saving.register_keras_serializable("kdmatch")
class CharacterCoverage(layers.Layer):
    """`Coverage`'s six numbers of each side, by the characters that both have.

    A word of several characters may find them in several words, or in a part of one:
    *北京大学* in *北京的大学*.

    Call args:
        query, document: what `WordCharacters` returns.

    Returns:
        float `(batch, CHARACTER_FEATURES)`.
    """

    def call(self, query: dict[str, Any], document: dict[str, Any]) -> Any:
        return character_coverage(query, document)

    def compute_output_spec(self, query: dict[str, Any], document: dict[str, Any]) -> Any:
        return keras.KerasTensor((query["ids"].shape[0], CHARACTER_FEATURES), dtype="float32")


def character_coverage(query: dict[str, Any], document: dict[str, Any]) -> Any:
    """See `CharacterCoverage`."""
    ids, others = ops.expand_dims(query["ids"], 2), ops.expand_dims(document["ids"], 1)
    same = ops.cast(ops.logical_and(ops.equal(ids, others), ops.not_equal(ids, 0)), "float32")
    features = [
        covered(
            with_weights({**side, "mask": ops.not_equal(side["ids"], 0)}), ops.expand_dims(best, 1)
        )
        for side, best in ((query, ops.max(same, axis=2)), (document, ops.max(same, axis=1)))
    ]
    return 4.0 * ops.concatenate(features, axis=1) - 2.0
