"""Shared words and pools, by hand."""

import keras
import numpy as np
import pytest

from kdmatch.models.head import masked_max_pool, masked_mean_pool
from kdmatch.models.match import MatchChannels, MatchSegments, SimilarityKernels


def numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def test_segments_by_hand():
    tokens = np.array([[2, 7, 8, 7, 3, 8, 9, 3, 0, 0], [2, 5, 3, 6, 3, 0, 0, 0, 0, 0]])
    sides = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]])
    # The 7 stands twice, but on one side; [SEP] (3) closes both sides, so it always matches.
    assert numpy(MatchSegments()(tokens, sides)).tolist() == [
        [0, 0, 2, 0, 2, 3, 1, 3, 0, 0],
        [0, 0, 2, 1, 3, 0, 0, 0, 0, 0],
    ]


HIDDEN = np.array([[[-1.0, 5.0], [-3.0, 1.0], [9.0, 9.0]], [[4.0, 4.0]] * 3], np.float32)
MASK = np.array([[True, True, False], [False] * 3])


def test_pools_by_hand():
    assert numpy(masked_max_pool(HIDDEN, MASK)).tolist() == [[-1, 5], [0, 0]]
    assert numpy(masked_mean_pool(HIDDEN, MASK)).tolist() == [[-2, 3], [0, 0]]


def test_channels_by_hand():
    vectors = np.array([[1, 0], [3, 4], [0, 0]], np.float32)[None]
    others = np.array([[0, 2], [-5, 0], [7, 7]], np.float32)[None]
    ids, other_ids = np.array([[4, 5, 0]]), np.array([[6, 4, 0]])
    channels = numpy(MatchChannels()(ids, other_ids, vectors, others))[0]
    assert channels[:, 0].tolist() == [1, 0, 0]
    assert channels[:, 1] == pytest.approx([0.0, 0.8, 0.0], abs=1e-6)
    nothing = numpy(MatchChannels()(ids, np.zeros((1, 3), int), vectors, others))[0]
    assert nothing.tolist() == [[0, -1], [0, -1], [0, 0]]


def kernels(query, document, query_mask=None, document_mask=None, count=11) -> np.ndarray:
    """The query's counts, then the document's: `(2, count)`."""
    query, document = (np.array([side], np.float32) for side in (query, document))
    masks = [
        np.ones(side.shape[:2], bool) if mask is None else np.array([mask])
        for side, mask in ((query, query_mask), (document, document_mask))
    ]
    return numpy(SimilarityKernels(count)(query, document, [masks])).reshape(2, count)


def test_kernels_by_hand():
    # Means of 3 kernels: exactly 1, then 0.5 and -0.5 with width 0.1.
    same = kernels([[2, 0]], [[3, 0]], count=3)
    assert same[0] == pytest.approx([np.log(2), np.log1p(np.exp(-12.5)), 0], abs=1e-5)
    assert same[1] == pytest.approx(same[0])
    # Twice a cosine of 0.5 for the query's word, once for each of the document's.
    half = kernels([[1, 0]], [[1, 3**0.5], [1, -(3**0.5)]], count=3)
    assert half[0] == pytest.approx([0, np.log(3), 0], abs=1e-5)
    assert half[1] == pytest.approx([0, np.log(2), 0], abs=1e-5)
    one_of_two = kernels([[1, 0], [0, 1]], [[1, 0]], count=3)
    assert one_of_two[:, 0] == pytest.approx([np.log(2) / 2, np.log(2)], abs=1e-5)


def test_each_pair_of_weights_is_another_mean():
    query, document = (np.array([side], np.float32) for side in ([[1, 0], [0, 1]], [[1, 0]]))
    masks = [np.ones((1, 2), bool), np.ones((1, 1), bool)]
    rarity = [np.array([[0.9, 0.3]], np.float32), np.array([[0.5]], np.float32)]
    counts = numpy(SimilarityKernels(3)(query, document, [masks, rarity])).reshape(2, 2, 3)
    assert counts[0] == pytest.approx(kernels(query[0], document[0], count=3), abs=1e-6)
    assert counts[1, :, 0] == pytest.approx([np.log(2) * 0.9 / 1.2, np.log(2)], abs=1e-5)


def test_masked_words_do_not_count():
    query, document = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.2], [0.3, 1.0], [0.0, 1.0]]
    masked = kernels(query, document, [True, False], [True, True, False])
    assert masked == pytest.approx(kernels(query[:1], document[:2]), abs=1e-6)
    assert not kernels(query, document, [False, False]).any()
    assert not kernels(query, document, document_mask=[False] * 3).any()


def test_eleven_kernels_are_those_of_the_paper():
    layer = SimilarityKernels()
    assert layer.means == pytest.approx([1, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9])
    assert SimilarityKernels.from_config(layer.get_config()).kernels == 11
