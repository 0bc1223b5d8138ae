"""Transfer rows: near the query, distinct, and none of the labelled ones."""

import numpy as np
import pytest

from kdmatch.data.transfer import neighbours
from kdmatch.errors import UserError

DOCUMENTS = [
    "red table lamp", "blue sofa", "lamp shade red", "garden hose 50 ft", "towel bar", "hose reel",
    "sofa cover", "desk lamp", "red lamp", "red lamp",
]  # fmt: skip


def test_nearest_come_first() -> None:
    query, document = neighbours(
        ["red lamp", "garden hose"], DOCUMENTS, per_query=2, deep_share=0.0
    )
    assert query.tolist() == [0, 0, 1, 1]
    assert document[0] == 8
    assert document[2:].tolist() == [3, 5]


def test_excluded_pairs_and_repeated_documents_stay_out() -> None:
    query, document = neighbours(["red lamp"], DOCUMENTS, per_query=20, exclude={(0, 9), (0, 0)})
    assert 0 not in document
    assert 8 not in document  # the same text as the excluded 9
    assert 9 not in document
    assert sorted(document.tolist()) == [1, 2, 3, 4, 5, 6, 7]
    assert query.tolist() == [0] * 7


def test_pairs_are_distinct_seeded_and_as_many_as_asked() -> None:
    random = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    documents = [" ".join(random.choice(words, 6)) for _ in range(500)]
    queries = [" ".join(random.choice(words, 3)) for _ in range(40)] + ["zzz"]
    first = neighbours(queries, documents, per_query=12, seed=1)
    pairs = list(zip(*(part.tolist() for part in first), strict=True))
    assert len(set(pairs)) == len(pairs) == 41 * 12
    again, other = (neighbours(queries, documents, per_query=12, seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()
    near = neighbours(queries, documents, per_query=12, seed=1, deep_share=0.0)
    np.testing.assert_array_equal(near[1][:9], first[1][:9])  # only the last quarter is sampled


def test_chinese_and_empty() -> None:
    documents = ["爱情公寓第3集", "小猫头像", "天龙八部"]
    query, document = neighbours(["爱情公寓"], documents, per_query=1, deep_share=0.0)
    assert (query.tolist(), document.tolist()) == ([0], [0])
    assert neighbours([], documents, per_query=3)[0].shape == (0,)
    assert neighbours(["a"], [], per_query=3)[0].shape == (0,)
    assert neighbours(["?"], ["!", "?!"], per_query=1)[0].shape == (1,)


def test_mistakes_are_said() -> None:
    with pytest.raises(UserError, match="per_query is 0"):
        neighbours(["a"], DOCUMENTS, per_query=0)
    with pytest.raises(UserError, match="deep_share"):
        neighbours(["a"], DOCUMENTS, per_query=1, deep_share=2)
