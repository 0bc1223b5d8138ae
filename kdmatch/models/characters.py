"""How many of each side's characters the other has, for matchers that read words."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kdmatch.models.coverage import covered, with_weights

CHARACTER_FEATURES = 2 * 6


@keras.saving.register_keras_serializable("kdmatch")
class WordCharacters(layers.Layer):
    """The characters of words, for scripts in which a character means something.

    Tables that come with a vocabulary (`kdmatch.text.traits.characters`), not trained;
    saved and exported with the weights. Until `set_tables` no word has any.

    Args:
        vocabulary_size: int.
        most: int. Characters of a word.

    Call args:
        ids: int `(batch, words)`.

    Returns:
        `{"ids", "rarity"}`: int32, 0 for none, and float in [0, 1], both
        `(batch, words · most)`.
    """

    def __init__(self, vocabulary_size: int, most: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.most = vocabulary_size, most
        self._characters = self.add_weight(
            shape=(vocabulary_size, most),
            dtype="int32",
            trainable=False,
            name="characters",
            initializer="zeros",
        )
        self._rarity = self.add_weight(
            shape=(vocabulary_size,), trainable=False, name="rarity", initializer="zeros"
        )
        self.built = True

    def set_tables(self, characters: np.ndarray, rarity: np.ndarray) -> None:
        """Load the tables, int `(vocabulary_size, most)` and float `(vocabulary_size,)`."""
        self._characters.assign(characters)
        self._rarity.assign(rarity)

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """What `set_tables` loaded."""
        characters, rarity = map(ops.convert_to_numpy, (self._characters, self._rarity))
        return characters, rarity

    def call(self, ids: Any) -> dict[str, Any]:
        found = ops.take(self._characters, ops.cast(ids, "int32"), axis=0)
        found = ops.reshape(found, (ops.shape(ids)[0], -1))
        return {"ids": found, "rarity": ops.take(self._rarity, found, axis=0)}

    def compute_output_spec(self, ids: Any) -> dict[str, Any]:
        shape = (ids.shape[0], None)
        return {
            "ids": keras.KerasTensor(shape, dtype="int32"),
            "rarity": keras.KerasTensor(shape, dtype=self.compute_dtype),
        }

    def get_config(self) -> dict[str, Any]:
        own = {"vocabulary_size": self.vocabulary_size, "most": self.most}
        return {**super().get_config(), **own}


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
    ids, others = query["ids"][:, :, None], document["ids"][:, None, :]
    same = ops.cast(ops.logical_and(ops.equal(ids, others), ops.not_equal(ids, 0)), "float32")
    features = [
        covered(with_weights({**side, "mask": ops.not_equal(side["ids"], 0)}), best[:, None])
        for side, best in ((query, ops.max(same, axis=2)), (document, ops.max(same, axis=1)))
    ]
    return 4.0 * ops.concatenate(features, axis=1) - 2.0
