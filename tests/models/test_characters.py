"""Characters that two sides share, by hand."""

import numpy as np
import pytest
from keras import ops

from kdmatch.data.ids import PairIds
from kdmatch.models.characters import CHARACTER_FEATURES, CharacterCoverage
from kdmatch.models.registry import build_matcher
from kdmatch.models.tables import WordCharacters
from kdmatch.text.traits import character_rarity, characters

WORDS = ["[PAD]", "\ufffd", "北", "京", "大", "学", "生", "的", "led", "北京", "大学生", "北京大学"]
RARITY = np.linspace(0, 1.1, len(WORDS), dtype=np.float32)


def layer() -> WordCharacters:
    made = WordCharacters(len(WORDS))
    made.set_tables(characters(WORDS, made.most), RARITY)
    return made


def features(query: str, document: str, padding: int = 0) -> np.ndarray:
    """Means, minima and the like of both sides, as shares."""
    told = layer()
    sides = [
        told(np.array([[*map(WORDS.index, side.split()), *[0] * (1 + padding)]]))
        for side in (query, document)
    ]
    return (ops.convert_to_numpy(CharacterCoverage()(*sides))[0].reshape(2, 6) + 2.0) / 4.0


def test_a_word_finds_its_characters_in_several_words():
    found = layer()(np.array([[11, 8, 0]]))
    assert ops.convert_to_numpy(found["ids"])[0].tolist() == [2, 3, 4, 5, 8, 0, 0, 0, 0, 0, 0, 0]
    # 北京大学 in 北京 的 大学生: all four; of the document's, two of six are not asked for.
    query, document = features("北京大学", "北京 的 大学生")
    assert query[:3] == pytest.approx([1, 1, 1], abs=1e-6)
    asked = RARITY[[2, 3, 4, 5]].sum()
    assert document[:3] == pytest.approx([4 / 6, asked / (asked + RARITY[[6, 7]].sum()), 0])
    assert document[3:5] == pytest.approx([RARITY[7], RARITY[5]])


def test_words_of_an_alphabet_count_as_one_and_nothing_covers_nothing():
    assert features("led", "led 北")[0, 0] == pytest.approx(1)
    assert features("led", "北")[0, :3] == pytest.approx([0, 0, 0], abs=1e-6)
    assert features("", "北京")[0] == pytest.approx(np.zeros(6), abs=1e-6)
    assert features("\ufffd", "\ufffd")[0] == pytest.approx(np.zeros(6), abs=1e-6)


def test_padding_changes_nothing():
    plain = features("北京 led", "大学生 北")
    assert features("北京 led", "大学生 北", 5) == pytest.approx(plain, abs=1e-6)
    assert plain.size == CHARACTER_FEATURES


def test_rarity_counts_the_pairs_whose_words_have_a_character():
    ids = PairIds(
        {
            "query_ids": np.array([9, 2, 8], np.int32),
            "document_ids": np.array([11, 11, 8, 6, 2], np.int32),
        },
        {
            "query_ids": np.array([1, 1, 1, 0], np.int32),
            "document_ids": np.array([2, 1, 1, 1], np.int32),
        },
    )
    # 北 stands in three pairs of four: in 北京, twice in 北京大学, and alone.
    found = character_rarity(ids, characters(WORDS, 4))
    with_it = {"北": 3, "京": 1, "led": 2, "生": 1, "的": 0}
    for word, pairs in with_it.items():
        expected = np.log(4 / max(pairs, 1)) / np.log(4)
        assert found[WORDS.index(word)] == pytest.approx(expected), word


def test_tables_travel_with_the_weights_and_are_not_trained(tmp_path):
    matcher, other = (
        build_matcher("textcnn_64", vocabulary_size=len(WORDS), match_characters=True)
        for _ in range(2)
    )
    matcher.characters.set_tables(characters(WORDS, 4), RARITY)
    matcher.save_weights(tmp_path / "m.weights.h5")
    other.load_weights(tmp_path / "m.weights.h5")
    for mine, theirs in zip(matcher.characters.tables(), other.characters.tables(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not matcher.characters.trainable_weights
