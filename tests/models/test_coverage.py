"""What two sides share, in numbers that can be checked by hand."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from kdmatch.models.coverage import COVERAGE_FEATURES, Coverage
from kdmatch.models.head_words import head_word
from kdmatch.models.registry import build_matcher
from kdmatch.models.tables import WordSpelling
from kdmatch.text.traits import roles, spellings

WORDS = ["[PAD]", "red", "towel", "towels", "bar", "lamp", "for", "36"]
STEMS = np.array([0, 1, 2, 2, 4, 5, 6, 7], np.int32)
RARITY = np.array([0.0, 0.2, 0.8, 0.8, 0.5, 0.9, 0.0, 0.6], np.float32)
WAYS = ("token", "stem", "spelling", "embedding")


def side(ids: list[int], length: int) -> dict[str, np.ndarray]:
    row = np.array([ids + [0] * (length - len(ids))], np.int32)
    vectors, _ = spellings(WORDS, 256)
    return {
        "ids": row,
        "stems": STEMS[row],
        "rarity": RARITY[row],
        "roles": roles(WORDS)[row],
        "spelling": vectors[row].astype(np.float32),
        "vectors": np.eye(len(WORDS), dtype=np.float32)[row],
        "mask": row != 0,
    }


def features(query: list[int], document: list[int], padding: int = 0) -> np.ndarray:
    """As shares: before the stretch to the head's scale."""
    sides = [side(ids, max(1, len(ids)) + padding) for ids in (query, document)]
    return (ops.convert_to_numpy(Coverage()(*sides))[0] + 2.0) / 4.0


def covered(found: np.ndarray, way: str) -> np.ndarray:
    """Mean, mean by rarity, smallest, largest gap, largest found, log of their sum: each side."""
    return found[:48].reshape(2, 4, 6)[:, WAYS.index(way)]


def close(*expected: float) -> Any:
    return pytest.approx(np.array(expected), abs=1e-6)


def test_how_much_of_each_side_is_covered():
    found = features([1, 3], [1, 2, 4])
    assert len(found) == COVERAGE_FEATURES
    # red stands in both; towels finds its stem only, and the document's bar nothing.
    query, document = covered(found, "token")
    assert query == close(1 / 2, 0.2, 0, 0.8, 0.2, np.log(1.2) / 2)
    assert document == close(1 / 3, 0.2 / 1.5, 0, 0.8, 0.2, np.log(1.2) / 2)
    query, document = covered(found, "stem")
    assert query == close(1, 1, 1, 0, 0.8, np.log(2) / 2)
    assert document == close(2 / 3, 1 / 1.5, 0, 0.5, 0.8, np.log(2) / 2)


def test_rarity_and_number_of_the_words_and_cosines_of_the_sides():
    found = features([1, 3], [1, 2, 4])
    assert found[48:53] == close(0.5, 0.2, 0.8, np.log(2) / 4, np.log(3) / 4)
    assert found[53:58] == close(0.5, 0.2, 0.8, np.log(2.5) / 4, np.log(4) / 4)
    # Vectors here are one-hot, so of two words in one and three in the other one is common.
    assert found[60] == close(1 / np.sqrt(2 * 3))


def test_runs_of_the_query_that_stand_in_the_document():
    tokens, stems = range(62, 68, 2), range(63, 69, 2)
    found = features([1, 3, 4], [5, 1, 2, 4])
    # By stem "red towels" and "towels bar" are both there, and so is the triple.
    assert found[stems] == close(1, 1, 1)
    assert found[tokens] == close(0, 0, 0)
    found = features([1, 2, 4], [4, 1, 2])
    assert found[tokens] == close(1 / 2, 1.0 / (1.0 + 1.3), 0)
    for one, other in (([1], [1, 2]), ([1, 2], [1]), ([1, 2], [1, 2])):
        assert np.isfinite(features(one, other)).all()
    assert features([1, 2], [1])[tokens] == close(0, 0, 0)


def test_the_ends_of_the_query_and_where_its_words_stand():
    found = features([1, 4, 3], [5, 1, 5, 2])
    ends = found[68:76].reshape(4, 2)
    assert ends[WAYS.index("token")] == close(1, 0)
    assert ends[WAYS.index("stem")] == close(1, 1)
    # The second and the last of four words, and between them two of three.
    assert found[76:79] == close(2 / 4, 4 / 4, 2 / 3)
    assert features([4], [5, 1])[76:79] == close(1, 0, 0)


def test_the_words_that_name_the_things():
    # towel bar / towels for a lamp: the query's head is nowhere, the document's is asked for.
    found = features([2, 4], [3, 6, 5])
    asked, thing, both = found[79:91].reshape(3, 4)
    assert asked[:2] == close(0, 0)
    assert thing[:2] == close(0, 1)
    assert both[:2] == close(0, 0)
    assert found[91:] == close(0.5, 0.8, 1 / 3, 0.5)
    # lamp / lamp bar: it is there, one of two words before the document's head.
    found = features([5], [5, 4])
    assert found[79:91].reshape(3, 4)[:, 0] == close(1, 0, 0)
    assert found[91:] == close(0.9, 0.5, 1, 0.5 + (1 / 2 - 1) / 2)
    # Numbers name nothing, and without a name there is no head.
    assert found_nothing(features([7], [5, 4]))
    assert found_nothing(features([7], []))
    assert features([5, 7], [5])[79:91] == pytest.approx(features([5], [5])[79:91])


def found_nothing(found: np.ndarray) -> bool:
    asked, _, both = found[79:91].reshape(3, 4)
    return not asked.any() and not both.any() and found[91] == 0 and found[94] == 0.5


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("red towel bar", 2),
        ("towel bar for lamp", 1),
        ("36 in towel bar", 3),
        ("for lamp", 1),
        ("towel 36 , bar", 3),
        ("towel , bar", 0),
        ("36", None),
    ],
)
def test_the_head_is_the_last_name_before_the_text_goes_on(text: str, head: int | None):
    words = text.split()
    row = np.concatenate([roles(words), [0, 0]])[None]
    found = ops.convert_to_numpy(head_word(row, np.arange(len(words) + 2)[None] < len(words)))[0]
    assert np.flatnonzero(found).tolist() == ([] if head is None else [head])


def test_a_misspelt_word_is_nearly_covered_and_a_strange_one_is_not():
    near, far = (covered(features([word], [2, 1]), "spelling")[0] for word in (3, 5))
    assert near[0] > 0.6
    assert far[0] < 0.3


def test_padding_changes_nothing_and_no_word_covers_nothing():
    assert features([1, 3], [1, 2, 4], 5) == pytest.approx(features([1, 3], [1, 2, 4]), abs=1e-6)
    empty = features([], [1])
    assert np.isfinite(empty).all()
    assert covered(empty, "token")[0] == close(0, 0, 0, 0, 0, 0)


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
