"""How much of each side the other covers: by the same word, stem, spelling, or meaning."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from kdmatch.models.head_words import head_features
from kdmatch.models.match import unit_vectors, units_and_lengths

_WAYS = 4
COVERAGE_FEATURES = 2 * 6 * _WAYS + 2 * 5 + 2 * 2 + 6 + 2 * _WAYS + 3 + 3 * _WAYS + 4


@keras.saving.register_keras_serializable("kdmatch")
class Coverage(layers.Layer):
    """`COVERAGE_FEATURES` numbers about what two sides share, for the head.

    Words are compared in four ways: the same token, the same stem, the cosine of
    their spelling and that of their embeddings (not below 0). Let `c(w)` be the
    best that word `w` finds on the other side and `r(w)` its rarity.

    - Each side and way: the mean of `c`, its mean weighed by `r`, its smallest
      value, the largest `r · (1 − c)`, the largest `r · c`, and `log(1 + Σ r · c)`.
    - Each side: mean, smallest, largest and summed `r`, and the number of words.
    - Spelling and embeddings: the cosine of both sides' sums, plain and weighed by `r`.
    - Tokens and stems: the share of the query's neighbouring pairs that stand
      side by side in the document too, plain and weighed by `r`, and of its triples.
    - Each way: `c` of the query's first word and of its last.
    - Where in the document the first and the last word stand whose stem the query
      has, as shares of its length, and how densely they do between.
    - Each way: `c` of each side's head, the word that names the thing (see `head_word`),
      and how alike the two heads are. Their `r`, and in the document the place of its head
      and how far behind it the last word of the query's head's stem stands.

    A GBDT ranker leans on such numbers most; one attention layer cannot
    divide by the length of a side or look for a minimum.

    Call args:
        query, document: dict of `ids` and `stems`, int `(batch, words)`,
            `rarity`, float, and `roles`, int, likewise, `spelling` and `vectors`, float `(batch,
            words, …)`, and `mask`, bool `(batch, words)`: the side's words, side by
            side. The two may be the same tensors under different masks.

    Returns:
        float `(batch, COVERAGE_FEATURES)`.
    """

    def call(self, query: dict[str, Any], document: dict[str, Any]) -> Any:
        return coverage(query, document)

    def compute_output_spec(self, query: dict[str, Any], document: dict[str, Any]) -> Any:
        return keras.KerasTensor((query["ids"].shape[0], COVERAGE_FEATURES), dtype="float32")


def coverage(query: dict[str, Any], document: dict[str, Any]) -> Any:
    """See `Coverage`."""
    query, document = _with_units(query), _with_units(document)
    cosines = [
        ops.matmul(query[name], ops.transpose(document[name], (0, 2, 1)))
        for name in ("spelling", "vectors")
    ]
    return coverage_of_units(query, document, cosines)


def coverage_of_units(
    query: dict[str, Any],
    document: dict[str, Any],
    cosines: Sequence[Any],
    product: Callable[[Any, Any], Any] = ops.matmul,
) -> Any:
    """`coverage` of vectors of length 1, with their own in `spelling_length`, `vectors_length`.

    A served graph divides each distinct word's vectors once, not once for each
    place of it, has other uses for their cosines, `(batch, query words, document
    words)` of spelling and of vectors, and a `product` of its own.
    """
    own, other = with_weights(query), with_weights(document)
    alike = [
        ops.cast(
            ops.equal(ops.expand_dims(own[name], 2), ops.expand_dims(other[name], 1)), "float32"
        )
        for name in ("ids", "stems")
    ]
    alike += cosines
    both = ops.expand_dims(own["real"], (1, 3)) * ops.expand_dims(other["real"], (1, 2))
    # (batch, ways, query words, document words)
    alike = ops.maximum(ops.stack(alike, axis=1), 0.0) * both
    best, best_of_document = ops.max(alike, axis=3), ops.max(alike, axis=2)
    features = [
        covered(own, best),
        covered(other, best_of_document),
        _rarities(own),
        _rarities(other),
        *(_cosines(own, other, name, product) for name in ("spelling", "vectors")),
        _runs(own, alike[:, :2]),
        _ends(own, best),
        _places(other, best_of_document[:, 1]),
        head_features(own, other, alike, best, best_of_document),
    ]
    return 4.0 * ops.concatenate(features, axis=1) - 2.0


def _with_units(side: dict[str, Any]) -> dict[str, Any]:
    found = dict(side)
    for name in ("spelling", "vectors"):
        vectors = ops.cast(side[name], "float32")
        found[name], found[f"{name}_length"] = units_and_lengths(vectors)
    return found


def with_weights(side: dict[str, Any]) -> dict[str, Any]:
    """With `shares` `(batch, 2, words)`, each word's part in a mean, plain and by rarity.

    `number` counts the side's words from 1, and `place` is that as a share of all.
    """
    real = ops.cast(side["mask"], "float32")
    rare = real * ops.cast(side["rarity"], "float32")
    weights = ops.stack([real, rare], axis=1)
    total = ops.sum(weights, axis=2, keepdims=True)
    number = ops.cumsum(real, axis=1)
    return {
        **side,
        "real": real,
        "rare": rare,
        "total": total[:, :, 0],
        "number": number,
        "place": number / ops.maximum(total[:, 0], 1.0),
        "shares": weights / ops.maximum(total, 1e-6),
    }


def _sums(values: Any, weights: Any) -> Any:
    """`(batch, n, words)` summed under `(batch, k, words)`: `(batch, n, k)`.

    Not a product of matrices: for shapes that it has not met, oneDNN compiles one, and that
    takes longer than so few sums.
    """
    return ops.sum(ops.expand_dims(values, 2) * ops.expand_dims(weights, 1), axis=3)


def covered(side: dict[str, Any], best: Any) -> Any:
    """Six features of each way, `(batch, 6 · ways)`; `best` is `(batch, ways, words)`.

    `side` is what `with_weights` returns.
    """
    real, rare = ops.expand_dims(side["real"], 1), ops.expand_dims(side["rare"], 1)
    means = _sums(best, side["shares"])
    found = rare * best
    ends = [
        # Of no word at all nothing is covered.
        ops.min(best * real + (1.0 - real), axis=2) * ops.max(real, axis=2),
        ops.max(rare - found, axis=2),
        ops.max(found, axis=2),
        ops.log(1.0 + ops.sum(found, axis=2)) / 2.0,
    ]
    features = ops.concatenate([means, ops.stack(ends, axis=2)], axis=2)
    return ops.reshape(features, (-1, 6 * best.shape[1]))


def _rarities(side: dict[str, Any]) -> Any:
    """Mean, smallest, largest and summed rarity and the number of words, `(batch, 5)`."""
    real, rare, total = side["real"], side["rare"], side["total"]
    logs = ops.log(1.0 + total) / 4.0
    mean = total[:, 1] / ops.maximum(total[:, 0], 1.0)
    least = ops.min(rare + (1.0 - real), axis=1)
    return ops.stack([mean, least, ops.max(rare, axis=1), logs[:, 1], logs[:, 0]], axis=1)


def _cosines(
    own: dict[str, Any], other: dict[str, Any], name: str, product: Callable[[Any, Any], Any]
) -> Any:
    """Cosine of both sides' sums, plain and by rarity, `(batch, 2)`."""
    # A cosine does not change when a sum becomes a mean.
    a, b = (
        unit_vectors(
            product(side["shares"] * ops.expand_dims(side[f"{name}_length"], 1), side[name])
        )
        for side in (own, other)
    )
    return ops.sum(a * b, axis=-1)


def _runs(side: dict[str, Any], alike: Any) -> Any:
    """Shares of the query's pairs, plain and by rarity, and triples that stand in the document.

    `(batch, 6)`; `alike` is `(batch, 2, query words, document words)`.
    """
    # Two words of nothing more, so that a side of one has a triple too, which matches nothing.
    real, rare = (ops.pad(side[name], ((0, 0), (0, 2))) for name in ("real", "rare"))
    alike = ops.pad(alike, ((0, 0), (0, 0), (0, 2), (0, 2)))
    pair = alike[:, :, :-1, :-1] * alike[:, :, 1:, 1:]
    triple = pair[:, :, :-1, :-1] * alike[:, :, 2:, 2:]
    pairs = real[:, :-1] * real[:, 1:]
    weights = [pairs, pairs * (rare[:, :-1] + rare[:, 1:]), pairs[:, :-1] * real[:, 2:]]
    found = [ops.max(run, axis=3) for run in (pair, triple)]
    shares = [
        ops.sum(run * ops.expand_dims(weight, 1), axis=2)
        / ops.maximum(ops.sum(weight, axis=1, keepdims=True), 1e-6)
        for run, weight in zip((found[0], found[0], found[1]), weights, strict=True)
    ]
    return ops.concatenate(shares, axis=1)


def _ends(side: dict[str, Any], best: Any) -> Any:
    """How the first word and the last are covered, `(batch, 2 · ways)`."""
    number, real = side["number"], side["real"]
    first = real * ops.cast(ops.equal(number, 1.0), "float32")
    last = real * ops.cast(ops.equal(number, side["total"][:, :1]), "float32")
    ends = _sums(best, ops.stack([first, last], axis=1))
    return ops.reshape(ends, (-1, 2 * _WAYS))


def _places(side: dict[str, Any], found: Any) -> Any:
    """First and last place of a matched word, and how dense they are between, `(batch, 3)`."""
    count, place = ops.maximum(side["total"][:, :1], 1.0), side["place"]
    first = ops.min(place * found + 2.0 * (1.0 - found), axis=1)
    last = ops.max(place * found, axis=1)
    matched = ops.sum(found, axis=1)
    between = ops.maximum((last - first) * count[:, 0] + 1.0, 1.0)
    return ops.stack([ops.minimum(first, 1.0), last, matched / between], axis=1)
