"""Stems, runs and rarity, by hand."""

import keras
import numpy as np
import pytest

from kdmatch.models.details import DetailedMatchChannels, DetailedMatchSegments
from kdmatch.models.registry import build_matcher
from kdmatch.models.tables import TokenTraits

CLS, SEP = 2, 3
STEMS = np.array([0, 0, 0, 0, 4, 5, 6, 6, 8, 9])  # 7 is a form of 6; 0 to 3 are no words
RARITY = np.array([1, 1, 0, 0, 0, 0.3, 0.5, 0.6, 0.99, 1], np.float32)
ROLES = np.array([1, 1, 1, 1, 0, 2, 0, 0, 3, 0])


def numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def traits() -> TokenTraits:
    layer = TokenTraits(len(STEMS))
    layer.set_tables(STEMS, RARITY)
    return layer


def segments(query: list[int], document: list[int]) -> list[dict[str, int]]:
    tokens = np.array([[CLS, *query, SEP, *document, SEP, 0]])
    sides = np.array([[0] * (len(query) + 2) + [1] * (len(document) + 1) + [0]])
    ids = numpy(DetailedMatchSegments()(tokens, sides, *traits()(tokens)[:2]))[0].tolist()
    return [
        {"side": i & 1, "exact": i >> 1 & 1, "stem": i >> 2 & 1, "run": i >> 3 & 1, "rare": i >> 4}
        for i in ids
    ]


def test_segments_tell_stem_from_token():
    found = segments([7, 4], [6, 5])
    assert [one["exact"] for one in found] == [0] * 8
    assert [one["stem"] for one in found] == [0, 1, 0, 0, 1, 0, 0, 0]
    assert [one["side"] for one in found] == [0, 0, 0, 0, 1, 1, 1, 0]


def test_separators_and_unknown_tokens_match_nothing():
    found = segments([1, 5], [1])
    assert not any(one["exact"] or one["stem"] or one["run"] for one in found)


def test_a_run_needs_two_in_the_same_order():
    assert [one["run"] for one in segments([4, 5, 8], [9, 4, 5])] == [0, 1, 1, 0, 0, 0, 1, 1, 0, 0]
    assert not any(one["run"] for one in segments([4, 5], [5, 4]))
    # A run may be of stems, and does not reach over a word in between.
    assert [one["run"] for one in segments([7, 5], [6, 5])][1:3] == [1, 1]
    assert not any(one["run"] for one in segments([4, 9, 5], [4, 5]))


def test_rarity_in_steps():
    assert [one["rare"] for one in segments([5, 6, 8, 9], [4])][1:5] == [1, 2, 3, 3]


def test_channels_by_hand():
    layer = traits()
    (q, rare, _), (d, *_) = layer(np.array([[7, 5, 9, 0]])), layer(np.array([[6, 5, 4]]))
    channels = numpy(DetailedMatchChannels()(q, d, rare))[0]
    assert channels[:3] == pytest.approx(np.array([[1, 1, 0.6], [1, 1, 0.3], [0, 0, 1]]), abs=1e-6)


@pytest.mark.parametrize("preset", ["albert_1l_64", "cnn_attention_64"])
def test_the_tables_travel_with_the_weights_and_are_not_trained(preset, tmp_path):
    matcher, other = (
        build_matcher(preset, vocabulary_size=len(STEMS), match_details=True) for _ in range(2)
    )
    matcher.traits.set_tables(STEMS, RARITY, ROLES)
    matcher.save_weights(tmp_path / "x.weights.h5")
    other.load_weights(tmp_path / "x.weights.h5")
    stems, rarity, roles = other.traits(np.arange(len(STEMS))[None])
    assert numpy(stems)[0].tolist() == STEMS.tolist()
    assert numpy(rarity)[0] == pytest.approx(RARITY)
    assert numpy(roles)[0].tolist() == ROLES.tolist()
    assert not matcher.traits.trainable_weights
