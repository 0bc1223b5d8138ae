"""`MatchSegments` and `DetailedMatchSegments` on packed tokens."""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from kdmatch.models.details import DetailedMatchSegments
from kdmatch.models.matcher import Matcher
from kdmatch.serving.graph.pack import Packed


@dataclass(frozen=True)
class SpellingTables:
    """A vocabulary's `WordSpelling`.

    Attributes:
        vectors: int8 `(vocabulary, dimension)`.
        continues: bool `(vocabulary,)`. Tokens that go on a word.
    """

    vectors: np.ndarray
    continues: np.ndarray


@dataclass(frozen=True)
class TraitTables:
    """A vocabulary's `TokenTraits`, as the graphs read them.

    Attributes:
        stems: int32 `(vocabulary,)`. 0 matches nothing.
        rarity: float32 `(vocabulary,)`, in [0, 1]; 0 for padding.
        roles: int32 `(vocabulary,)`. `kdmatch.data.roles.Role`.
        spelling: SpellingTables, or None without `match_coverage`.
    """

    stems: np.ndarray | tf.Tensor
    rarity: np.ndarray | tf.Tensor
    roles: np.ndarray | tf.Tensor
    spelling: SpellingTables | None = None

    @classmethod
    def of(cls, matcher: Matcher) -> "TraitTables | None":
        """The tables of a matcher, if it has any."""
        if matcher.traits is None:
            return None
        traits = matcher.traits
        stems, rarity, roles = (np.asarray(table)[0] for table in traits(traits.all_ids()))
        rarity = rarity.astype(np.float32)
        rarity[0] = 0.0
        own = matcher.spelling
        spelling = SpellingTables(*own.tables()) if own is not None else None
        return cls(stems.astype(np.int32), rarity, roles.astype(np.int32), spelling)

    def in_graph(self) -> "TraitTables":
        """The same as tensors of the graph being made.

        An array that is read in several places would be a constant in each of them.
        """
        return replace(
            self,
            **{name: tf.constant(getattr(self, name)) for name in ("stems", "rarity", "roles")},
        )


def match_segments(page: Packed, vocabulary_size: int) -> tf.Tensor:
    """`side + 2 · [this token also stands on the row's other side]`.

    Args:
        page: Packed.
        vocabulary_size: int. Larger than any id.

    Returns:
        int32 `(tokens,)`, equal to `MatchSegments` on the padded rows.
    """
    # Padding, kept as the one token of an empty row, has a single side.
    return page.sides + 2 * _on_both_sides(_in_row(page, page.ids, vocabulary_size), page.sides)


def detailed_match_segments(page: Packed, tables: TraitTables, rarities: int) -> tf.Tensor:
    """`side + 2 · exact + 4 · stem + 8 · run + 16 · step of rarity`.

    Args:
        page: Packed.
        tables: TraitTables.
        rarities: int. Steps of rarity.

    Returns:
        int32 `(tokens,)`, equal to `DetailedMatchSegments` on the padded rows.
    """
    size = tables.stems.shape[0]
    stems = tf.gather(tables.stems, page.ids)
    known = tf.cast(tf.not_equal(stems, 0), tf.int32)
    stem_key = _in_row(page, stems, size)
    exact = known * _on_both_sides(_in_row(page, page.ids, size), page.sides)
    stem = known * _on_both_sides(stem_key, page.sides)

    # A run begins where this stem and the next stand so on the other side too.
    place = tf.stack([page.rows, page.sides], axis=1)
    together = tf.reduce_all(tf.equal(place[:-1], place[1:]), axis=1)
    pairs = known[:-1] * known[1:] * tf.cast(together, tf.int32)
    pair_key = stem_key[:-1] * size + tf.cast(stems[1:], tf.int64)
    pair_key = tf.where(tf.equal(pairs, 1), pair_key, -1)
    begins = pairs * _on_both_sides(pair_key, page.sides[:-1])
    run = tf.maximum(tf.pad(begins, [[0, 1]]), tf.pad(begins, [[1, 0]]))

    steps = DetailedMatchSegments(rarities).steps(tf.gather(tables.rarity, page.ids))
    return page.sides + 2 * exact + 4 * stem + 8 * run + 16 * steps


def _in_row(page: Packed, values: tf.Tensor, size: int) -> tf.Tensor:
    """One int64 for a row and a value below `size`."""
    return tf.cast(page.rows, tf.int64) * size + tf.cast(values, tf.int64)


def _on_both_sides(key: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """1 where tokens of one key stand on both sides, int32."""
    distinct, number = tf.unique(key)
    count = tf.size(distinct)
    low = tf.math.unsorted_segment_min(sides, number, count)
    high = tf.math.unsorted_segment_max(sides, number, count)
    return tf.gather(high - low, number)
