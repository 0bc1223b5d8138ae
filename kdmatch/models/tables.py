"""What a matcher knows of its vocabulary: tables that are set before training, not trained."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("kdmatch")
class TokenTraits(layers.Layer):
    """Tables that come with a vocabulary: a token's stem, its rarity and its `Role`.

    Not trained; saved and exported with the weights. Until `set_tables` each
    token is its own stem (0 is padding), none is rare and all may name things.

    Args:
        vocabulary_size: int.

    Call args:
        ids: int `(batch, length)`.

    Returns:
        stems, int32, rarity, float in [0, 1], and roles, int32, each `(batch, length)`.
        Stem 0 matches nothing.
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        size = (vocabulary_size,)
        self._stems = self.add_weight(
            shape=size,
            dtype="int32",
            trainable=False,
            name="stems",
            initializer=lambda shape, dtype: ops.arange(shape[0], dtype=dtype),
        )
        self._rarity = self.add_weight(
            shape=size, trainable=False, name="rarity", initializer="zeros"
        )
        self._roles = self.add_weight(
            shape=size, dtype="int8", trainable=False, name="roles", initializer="zeros"
        )
        self.built = True

    def set_tables(
        self, stems: np.ndarray, rarity: np.ndarray, roles: np.ndarray | None = None
    ) -> None:
        """Load the vocabulary's tables, int, float and int, each `(vocabulary_size,)`."""
        self._stems.assign(stems)
        self._rarity.assign(rarity)
        if roles is not None:
            self._roles.assign(roles.astype(np.int8))

    def all_ids(self) -> np.ndarray:
        """The whole vocabulary as one row, int32 `(1, vocabulary_size)`."""
        return np.arange(self.vocabulary_size, dtype=np.int32)[None]

    def call(self, ids: Any) -> Any:
        ids = ops.cast(ids, "int32")
        stems, rarity, roles = (
            ops.take(table, ids, axis=0) for table in (self._stems, self._rarity, self._roles)
        )
        return stems, rarity, ops.cast(roles, "int32")

    def compute_output_spec(self, ids: Any) -> Any:
        return (
            keras.KerasTensor(ids.shape, dtype="int32"),
            keras.KerasTensor(ids.shape, dtype=self.compute_dtype),
            keras.KerasTensor(ids.shape, dtype="int32"),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}


@keras.saving.register_keras_serializable("kdmatch")
class WordSpelling(layers.Layer):
    """How the word that a token belongs to is spelled, as a vector to take cosines of.

    Tables that come with a vocabulary (`kdmatch.text.traits.spellings`), not
    trained; saved and exported with the weights. Until `set_tables` all vectors are 0.

    Args:
        vocabulary_size: int.
        dimension: int. Length of the vectors.

    Call args:
        ids: int `(batch, length)`.
        sides: int `(batch, length)` where tokens are pieces of words, which do
            not reach from one side to the other; None where each is a word.

    Returns:
        float `(batch, length, dimension)`, the same for all pieces of a word.
    """

    def __init__(self, vocabulary_size: int, dimension: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.dimension = vocabulary_size, dimension
        self._vectors, self._continues = (
            self.add_weight(
                shape=shape, dtype="int8", trainable=False, name=name, initializer="zeros"
            )
            for name, shape in (
                ("vectors", (vocabulary_size, dimension)),
                ("continues", (vocabulary_size,)),
            )
        )
        self.built = True

    def set_tables(self, vectors: np.ndarray, continues: np.ndarray) -> None:
        """Load the vocabulary's tables, int8 `(vocabulary_size, dimension)` and bool."""
        self._vectors.assign(vectors)
        self._continues.assign(continues.astype(np.int8))

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """What `set_tables` loaded."""
        vectors, continues = map(ops.convert_to_numpy, (self._vectors, self._continues))
        return vectors, continues != 0

    def call(self, ids: Any, sides: Any = None) -> Any:
        ids = ops.cast(ids, "int32")
        vectors = ops.cast(ops.take(self._vectors, ids, axis=0), self.compute_dtype)
        if sides is None:
            return vectors
        begins = 1 - ops.cast(ops.take(self._continues, ids, axis=0), "int32")
        word = 2 * ops.cumsum(begins, axis=1) + ops.cast(sides, "int32")
        same = ops.cast(ops.equal(word[:, :, None], word[:, None, :]), vectors.dtype)
        return ops.matmul(same, vectors)

    def compute_output_spec(self, ids: Any, sides: Any = None) -> Any:
        return keras.KerasTensor((*ids.shape, self.dimension), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "dimension": self.dimension,
        }


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
