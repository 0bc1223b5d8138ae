"""What two sides share, in numbers that can be checked by hand."""

import numpy as np
import pytest
from keras import ops

from kdmatch.models.coverage import COVERAGE_FEATURES, Coverage, WordSpelling
from kdmatch.models.registry import build_matcher
from kdmatch.text.traits import spellings

WORDS = ["[PAD]", "red", "towel", "towels", "bar", "lamp"]
STEMS = np.array([0, 1, 2, 2, 4, 5], np.int32)
RARITY = np.array([0.0, 0.2, 0.8, 0.8, 0.5, 0.9], np.float32)
WAYS = ("token", "stem", "spelling", "embedding")


def side(ids: list[int], length: int) -> dict[str, np.ndarray]:
    row = np.array([ids + [0] * (length - len(ids))], np.int32)
    vectors, _ = spellings(WORDS, 256)
    return {
        "ids": row,
        "stems": STEMS[row],
        "rarity": RARITY[row],
        "spelling": vectors[row].astype(np.float32),
        "vectors": np.eye(len(WORDS), dtype=np.float32)[row],
        "mask": row != 0,
    }


def features(query: list[int], document: list[int], padding: int = 0) -> np.ndarray:
    """As shares: before the stretch to the head's scale."""
    sides = [side(ids, max(1, len(ids)) + padding) for ids in (query, document)]
    return (ops.convert_to_numpy(Coverage()(*sides))[0] + 2.0) / 4.0


def covered(found: np.ndarray, way: str) -> list[float]:
    """Mean, mean by rarity, smallest, largest gap; of the query, then of the document."""
    return found[:32].reshape(2, 4, 4)[:, WAYS.index(way)].ravel().tolist()


def test_means_smallest_and_largest_gap_of_each_side():
    found = features([1, 3], [1, 2, 4])
    assert len(found) == COVERAGE_FEATURES
    # red stands in both; towels finds its stem only, and the document's bar nothing.
    assert covered(found, "token") == pytest.approx(
        [1 / 2, 0.2, 0, 0.8, 1 / 3, 0.2 / 1.5, 0, 0.8], abs=1e-6
    )
    assert covered(found, "stem") == pytest.approx([1, 1, 1, 0, 2 / 3, 1 / 1.5, 0, 0.5], abs=1e-6)
    # Vectors here are one-hot, so of two words in one and three in the other one is common.
    assert found[34] == pytest.approx(1 / np.sqrt(2 * 3), abs=1e-6)
    assert found[36:] == pytest.approx(np.log([3, 4]) / 4, abs=1e-6)


def test_a_misspelt_word_is_nearly_covered_and_a_strange_one_is_not():
    near, far = (covered(features([word], [2, 1]), "spelling") for word in (3, 5))
    assert near[0] > 0.6
    assert far[0] < 0.3


def test_padding_changes_nothing_and_no_word_covers_nothing():
    assert features([1, 3], [1, 2, 4], 5) == pytest.approx(features([1, 3], [1, 2, 4]), abs=1e-6)
    empty = features([], [1])
    assert np.isfinite(empty).all()
    assert covered(empty, "token")[:4] == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_pieces_of_a_word_are_spelled_together_but_not_across_sides():
    vocabulary = ["[PAD]", "[CLS]", "to", "##wel", "##s", "towels", "lamp"]
    vectors, continues = spellings(vocabulary, 256)
    layer = WordSpelling(len(vocabulary), 256)
    layer.set_tables(vectors, continues)
    ids = np.array([[1, 2, 3, 4, 6]])
    one, other = (
        ops.convert_to_numpy(layer(ids, np.array([sides])))[0]
        for sides in ([0, 0, 0, 0, 0], [0, 0, 0, 1, 1])
    )
    sums = vectors.astype(float)
    assert one[1:4] == pytest.approx(np.stack([sums[2] + sums[3] + sums[4]] * 3))
    assert other[3] == pytest.approx(sums[4])
    assert one[4] == pytest.approx(sums[6])


@pytest.mark.parametrize("preset", ["albert_1l_64", "textcnn_64"])
def test_tables_travel_with_the_weights_and_are_not_trained(preset, tmp_path):
    matcher, other = (
        build_matcher(preset, vocabulary_size=len(WORDS), match_coverage=True) for _ in range(2)
    )
    matcher.spelling.set_tables(*spellings(WORDS, matcher.spelling.dimension))
    matcher.save_weights(tmp_path / "m.weights.h5")
    other.load_weights(tmp_path / "m.weights.h5")
    for mine, theirs in zip(matcher.spelling.tables(), other.spelling.tables(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert matcher.spelling.tables()[0].any()
    assert not matcher.spelling.trainable_weights
