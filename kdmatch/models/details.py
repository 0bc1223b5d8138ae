"""What two texts share beyond equal ids: stems, runs, rarity."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kdmatch")
class DetailedMatchSegments(layers.Layer):
    """Segment ids that say how a token matches the other side and how rare it is.

    `side + 2 · exact + 4 · stem + 8 · run + 16 · ⌊rarity · rarities⌋`: the
    token itself stands on the other side; one of its stem does; it does so as
    part of two or more in the same order.

    Args:
        rarities: int. Steps of rarity.

    Call args:
        token_ids, segment_ids: int `(batch, length)`; see `MatchSegments`.
        stems, rarity: from `TokenTraits`.

    Returns:
        int32 `(batch, length)`, below `16 · rarities`.
    """

    def __init__(self, rarities: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rarities = rarities

    @property
    def num_segments(self) -> int:
        return 16 * self.rarities

    def call(self, token_ids: Any, segment_ids: Any, stems: Any, rarity: Any) -> Any:
        token_ids = ops.cast(token_ids, "int32")
        segment_ids = ops.cast(segment_ids, "int32")
        across = ops.not_equal(segment_ids[:, :, None], segment_ids[:, None, :])
        same = ops.logical_and(equal_stems(stems, stems), across)
        exact = ops.logical_and(same, ops.equal(token_ids[:, :, None], token_ids[:, None, :]))
        bits = [ops.any(exact, axis=-1), ops.any(same, axis=-1), in_run(same)]
        return (
            segment_ids
            + sum(2 ** (place + 1) * ops.cast(bit, "int32") for place, bit in enumerate(bits))
            + 16 * self.steps(rarity)
        )

    def steps(self, rarity: Any) -> Any:
        """Rarity in [0, 1] as int32 from 0 to `rarities - 1`."""
        step = ops.cast(ops.floor(rarity * self.rarities), "int32")
        return ops.clip(step, 0, self.rarities - 1)

    def compute_output_spec(self, token_ids: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor(token_ids.shape, dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rarities": self.rarities}


@keras.saving.register_keras_serializable("kdmatch")
class DetailedMatchChannels(layers.Layer):
    """Three channels a word: its stem stands on the other side; so in a run; its rarity.

    Call args:
        stems, other_stems: int `(batch, words)` and `(batch, other words)`.
        rarity: float `(batch, words)`.

    Returns:
        float `(batch, words, 3)`, each in [0, 1].
    """

    def call(self, stems: Any, other_stems: Any, rarity: Any) -> Any:
        return self.of_matches(equal_stems(stems, other_stems), rarity)

    @staticmethod
    def of_matches(same: Any, rarity: Any) -> Any:
        """The channels from `equal_stems` of the two sides."""
        matches = [ops.cast(bit, rarity.dtype) for bit in (ops.any(same, axis=-1), in_run(same))]
        return ops.stack([*matches, rarity], axis=-1)

    def compute_output_spec(self, stems: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor((*stems.shape, 3), dtype=self.compute_dtype)


def equal_stems(stems: Any, others: Any) -> Any:
    """Bool `(batch, n, m)`: both have this stem; stem 0 equals nothing."""
    same = ops.equal(ops.expand_dims(stems, 2), ops.expand_dims(others, 1))
    return ops.logical_and(same, ops.expand_dims(ops.not_equal(stems, 0), 2))


def in_run(same: Any) -> Any:
    """Which of `n` tokens match, with a neighbour, two neighbours in the same order.

    Args:
        same: bool `(batch, n, m)`.

    Returns:
        bool `(batch, n)`.

    >>> import numpy as np
    >>> same = np.zeros((1, 3, 4), bool)
    >>> same[0, 0, 1] = same[0, 1, 2] = same[0, 2, 0] = True
    >>> ops.convert_to_numpy(in_run(same)).tolist()
    [[True, True, False]]
    """
    pairs = ops.logical_and(same[:, :-1, :-1], same[:, 1:, 1:])
    begins = ops.any(pairs, axis=-1)
    none = ops.zeros_like(same[:, :1, 0])
    return ops.logical_or(
        ops.concatenate([begins, none], axis=1), ops.concatenate([none, begins], axis=1)
    )
