"""`Coverage` on the words of a page and on packed tokens."""

import numpy as np
import tensorflow as tf

from kdmatch.models.characters import character_coverage
from kdmatch.models.coverage import coverage_of_units
from kdmatch.serving.graph.dense import batch_product
from kdmatch.serving.graph.details import Details
from kdmatch.serving.graph.pack import Packed
from kdmatch.serving.graph.segments import SpellingTables, TraitTables
from kdmatch.serving.graph.similarity import Similarity, Units
from kdmatch.serving.graph.words import PageWords


def cover_words(
    page: PageWords,
    details: Details,
    spelling: np.ndarray,
    vectors: Units,
    similarity: Similarity | None,
) -> tf.Tensor:
    """Features `(batch, COVERAGE_FEATURES)` of a page's words.

    Args:
        page: PageWords.
        details: Details.
        spelling: int8 `(vocabulary, dimension)`.
        vectors: Units. Embeddings of the page's distinct words.
        similarity: Similarity of those, if it is known.
    """
    spelled = Units.of(tf.cast(tf.gather(spelling, page.words), tf.float32))
    query, document = (
        {
            "ids": numbers,
            "stems": stems,
            "rarity": rarity,
            "roles": roles,
            **_at(numbers, spelling=spelled, vectors=vectors),
            "mask": tf.not_equal(stems, 0),
        }
        for numbers, stems, rarity, roles in zip(
            *((page.query, page.document), details.stems, details.rarity, details.roles),
            strict=True,
        )
    )
    near = _cosines(query, document, "vectors") if similarity is None else similarity.cosine
    return coverage_of_units(
        query, document, [_cosines(query, document, "spelling"), near], batch_product
    )


def cover_characters(page: PageWords, characters: np.ndarray, rarity: np.ndarray) -> tf.Tensor:
    """Features `(batch, CHARACTER_FEATURES)` of a page's words.

    Args:
        page: PageWords.
        characters, rarity: int32 `(vocabulary, most)` and float32 `(vocabulary,)`.
    """
    of_words = tf.gather(characters, page.words)
    rarity = tf.constant(rarity)
    sides = []
    for numbers in (page.query, page.document):
        ids = tf.reshape(tf.gather(of_words, numbers), [tf.shape(numbers)[0], -1])
        sides.append({"ids": ids, "rarity": tf.gather(rarity, ids)})
    return character_coverage(*sides)


def cover_tokens(
    page: Packed, tables: TraitTables, spelling: SpellingTables, embeddings: Units
) -> tf.Tensor:
    """Features `(rows, COVERAGE_FEATURES)` of packed tokens, pieces of a word spelled as one.

    Args:
        page: Packed.
        tables: TraitTables.
        spelling: SpellingTables.
        embeddings: Units of the vocabulary's embeddings.
    """
    # Both sides read them: as arrays they would be two constants each.
    embeddings = Units(tf.constant(embeddings.unit), tf.constant(embeddings.length))
    spelled = Units.of(_spell_words(page, spelling))
    document = tf.math.segment_sum(page.sides, page.rows)
    query = page.lengths - document
    query_side, document_side = (
        _side(page, tables, embeddings, spelled, starts, counts)
        for starts, counts in ((page.starts, query), (page.starts + query, document))
    )
    cosines = [_cosines(query_side, document_side, name) for name in ("spelling", "vectors")]
    return coverage_of_units(query_side, document_side, cosines, batch_product)


def _spell_words(page: Packed, spelling: SpellingTables) -> tf.Tensor:
    """The spelling of each token's word, float32 `(tokens, dimension)`."""
    place = 2 * page.rows + page.sides
    turns = tf.concat([[True], tf.not_equal(place[1:], place[:-1])], axis=0)
    begins = tf.logical_or(turns[: tf.size(place)], ~tf.gather(spelling.continues, page.ids))
    word = tf.cumsum(tf.cast(begins, tf.int32)) - 1
    vectors = tf.cast(tf.gather(spelling.vectors, page.ids), tf.float32)
    return tf.gather(tf.math.segment_sum(vectors, word), word)


def _side(
    page: Packed,
    tables: TraitTables,
    embeddings: Units,
    spelled: Units,
    starts: tf.Tensor,
    counts: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """One side of each row, padded: `counts` tokens from `starts` on."""
    place = tf.expand_dims(tf.range(tf.reduce_max(tf.concat([counts, [1]], axis=0))), 0)
    inside = place < tf.expand_dims(counts, 1)
    token = (tf.expand_dims(starts, 1) + place) * tf.cast(inside, tf.int32)
    ids = tf.gather(page.ids, token)
    stems = tf.gather(tables.stems, ids)
    return {
        "ids": ids,
        "stems": stems,
        "rarity": tf.gather(tables.rarity, ids),
        "roles": tf.gather(tables.roles, ids),
        **_at(token, spelling=spelled),
        **_at(ids, vectors=embeddings),
        "mask": tf.logical_and(inside, tf.not_equal(stems, 0)),
    }


def _cosines(query: dict[str, tf.Tensor], document: dict[str, tf.Tensor], name: str) -> tf.Tensor:
    return batch_product(query[name], document[name], transpose_b=True)


def _at(places: tf.Tensor, **vectors: Units) -> dict[str, tf.Tensor]:
    """Units at some places, as `coverage_of_units` reads them."""
    found = {name: tf.gather(units.unit, places) for name, units in vectors.items()}
    return found | {
        f"{name}_length": tf.gather(units.length, places) for name, units in vectors.items()
    }
