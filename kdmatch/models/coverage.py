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
    sides = [_with_weights(query), _with_weights(document)]
    own, other = sides
    alike = [
        ops.cast(ops.equal(own[name][:, :, None], other[name][:, None, :]), "float32")
        for name in ("ids", "stems")
    ]
    alike += [
        ops.matmul(unit_vectors(own[name]), ops.transpose(unit_vectors(other[name]), (0, 2, 1)))
        for name in ("spelling", "vectors")
    ]
    both = own["real"][:, None, :, None] * other["real"][:, None, None, :]
    # (batch, ways, query words, document words)
    alike = ops.maximum(ops.stack(alike, axis=1), 0.0) * both
    features = [_covered(side, ops.max(alike, axis=axis)) for side, axis in ((own, 3), (other, 2))]
    for name in ("spelling", "vectors"):
        # A cosine does not change when a sum becomes a mean.
        a, b = (unit_vectors(ops.matmul(side["shares"], side[name])) for side in sides)
        features.append(ops.sum(a * b, axis=-1))
    features.append(ops.stack([ops.log(1.0 + side["count"]) / 4.0 for side in sides], axis=1))
    return 4.0 * ops.concatenate(features, axis=1) - 2.0


def _with_weights(side: dict[str, Any]) -> dict[str, Any]:
    """With `shares` `(batch, 2, words)`, each word's part in a mean, plain and by rarity."""
    real = ops.cast(side["mask"], "float32")
    rare = real * ops.cast(side["rarity"], "float32")
    weights = ops.stack([real, rare], axis=1)
    total = ops.sum(weights, axis=2, keepdims=True)
    return {
        **side,
        "real": real,
        "rare": rare,
        "count": total[:, 0, 0],
        "shares": weights / ops.maximum(total, 1e-6),
        "spelling": ops.cast(side["spelling"], "float32"),
        "vectors": ops.cast(side["vectors"], "float32"),
    }


def _covered(side: dict[str, Any], best: Any) -> Any:
    """Four features of each way, `(batch, 4 · ways)`; `best` is `(batch, ways, words)`."""
    real, rare = side["real"][:, None], side["rare"][:, None]
    means = ops.matmul(best, ops.transpose(side["shares"], (0, 2, 1)))
    # Of no word at all nothing is covered.
    least = ops.min(best * real + (1.0 - real), axis=2) * ops.max(real, axis=2)
    missed = ops.max(rare * (1.0 - best), axis=2)
    found = ops.concatenate([means, least[:, :, None], missed[:, :, None]], axis=2)
    return ops.reshape(found, (-1, 4 * _WAYS))
