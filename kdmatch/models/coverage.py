"""How much of each side the other covers: by the same word, stem, spelling, or meaning."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kdmatch.models.match import unit_vectors

_WAYS = 4
COVERAGE_FEATURES = 2 * 4 * _WAYS + 2 * 2 + 2


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

    def __init__(self, vocabulary_size: int, dimension: int = 64, **kwargs: Any) -> None:
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
class Coverage(layers.Layer):
    """`COVERAGE_FEATURES` numbers about what two sides share, for the head.

    Words are compared in four ways: the same token, the same stem, the cosine of
    their spelling and that of their embeddings (not below 0). Let `c(w)` be the
    best that word `w` finds on the other side. For each side and way: the mean
    of `c`, its mean weighed by rarity, its smallest value, and the largest
    `rarity(w) · (1 − c(w))`. Then, of spelling and of embeddings, the cosine of
    both sides' sums, plain and weighed by rarity; last `log(1 + words) / 4` of
    each side.

    A GBDT ranker leans on such numbers most; one attention layer cannot
    divide by the length of a side or look for a minimum.

    Call args:
        query, document: dict of `ids` and `stems`, int `(batch, words)`,
            `rarity`, float likewise, `spelling` and `vectors`, float `(batch,
            words, …)`, and `mask`, bool `(batch, words)`: the side's words. The two
            may be the same tensors under different masks.

    Returns:
        float `(batch, COVERAGE_FEATURES)`.
    """

    def call(self, query: dict[str, Any], document: dict[str, Any]) -> Any:
        return coverage(query, document)

    def compute_output_spec(self, query: dict[str, Any], document: dict[str, Any]) -> Any:
        return keras.KerasTensor((query["ids"].shape[0], COVERAGE_FEATURES), dtype="float32")


def coverage(query: dict[str, Any], document: dict[str, Any]) -> Any:
    """See `Coverage`."""
    sides = [{**side, "real": ops.cast(side["mask"], "float32")} for side in (query, document)]
    for side in sides:
        side["rare"] = side["real"] * ops.cast(side["rarity"], "float32")
        side["spelled"], side["meant"] = (
            unit_vectors(ops.cast(side[name], "float32")) for name in ("spelling", "vectors")
        )
    own, other = sides
    both = own["real"][:, :, None] * other["real"][:, None, :]
    features = []
    for alike in (_equal(own["ids"], other["ids"]), _equal(own["stems"], other["stems"])):
        features += _covered(ops.cast(alike, "float32") * both, sides)
    for name in ("spelled", "meant"):
        cosine = ops.matmul(own[name], ops.transpose(other[name], (0, 2, 1)))
        features += _covered(ops.maximum(cosine, 0.0) * both, sides)
    for name in ("spelling", "vectors"):
        for weight in ("real", "rare"):
            sums = [
                unit_vectors(
                    ops.sum(ops.cast(side[name], "float32") * side[weight][:, :, None], axis=1)
                )
                for side in sides
            ]
            features.append(ops.sum(sums[0] * sums[1], axis=-1))
    features += [ops.log(1.0 + ops.sum(side["real"], axis=1)) / 4.0 for side in sides]
    return 4.0 * ops.stack(features, axis=-1) - 2.0


def _equal(own: Any, other: Any) -> Any:
    return ops.equal(own[:, :, None], other[:, None, :])


def _covered(alike: Any, sides: list[dict[str, Any]]) -> list[Any]:
    """Four features of each side; `alike` is float `(batch, n, m)` in [0, 1]."""
    features = []
    for side, axis in zip(sides, (2, 1), strict=True):
        real, rare = side["real"], side["rare"]
        best = ops.max(alike, axis=axis)
        features += [
            _mean(best, real),
            _mean(best, rare),
            # Of no word at all nothing is covered.
            ops.min(best * real + (1.0 - real), axis=1) * ops.max(real, axis=1),
            ops.max(rare * (1.0 - best), axis=1),
        ]
    return features


def _mean(values: Any, weights: Any) -> Any:
    total = ops.sum(weights, axis=1)
    return ops.sum(values * weights, axis=1) / ops.maximum(total, 1e-6)
