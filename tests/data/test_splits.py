"""Queries stay whole, whatever their order."""

import numpy as np
import pytest

from kdmatch.data.splits import assign_split, query_position, sample_queries
from kdmatch.data.triples import build_triples

QUERIES = [f"query {i // 3}" for i in range(9000)]  # 3,000 queries of three rows


def test_a_sample_takes_whole_queries_about_the_fraction():
    kept = sample_queries(QUERIES, 0.06, seed=1)
    by_query = kept.reshape(-1, 3)
    assert (by_query.all(axis=1) == by_query.any(axis=1)).all()
    assert 0.06 - 4 * 0.0044 < by_query[:, 0].mean() < 0.06 + 4 * 0.0044
    assert sample_queries(QUERIES, 1.0).all()
    assert not sample_queries(QUERIES, 0.0).any()


def test_a_sample_of_a_split_is_a_sample_though_the_seeds_are_one():
    train = [
        q
        for q, n in zip(QUERIES, assign_split(QUERIES, (0.1, 0.1), 0), strict=True)
        if n == "train"
    ]
    assert abs(sample_queries(train, 0.06, 0).mean() - 0.06) < 4 * 0.005


def test_triples_of_a_huge_query_are_drawn_without_a_table_of_all():
    label = np.random.default_rng(0).integers(0, 3, 200_000).astype(float)
    positive, negative = build_triples(label, np.zeros(len(label), int), 50)
    assert len(positive) == 50
    assert (label[positive] > label[negative]).all()
    assert len(set(zip(positive.tolist(), negative.tolist(), strict=True))) == 50


def test_a_larger_sample_contains_a_smaller_one():
    small, large = (sample_queries(QUERIES, share, seed=3) for share in (0.1, 0.3))
    assert (large | ~small).all()


def test_seed_decides_and_order_does_not():
    order = np.random.default_rng(0).permutation(len(QUERIES))
    shuffled = [QUERIES[i] for i in order]
    one = sample_queries(QUERIES, 0.5, seed=1)
    assert (sample_queries(shuffled, 0.5, seed=1) == one[order]).all()
    assert (sample_queries(QUERIES, 0.5, seed=2) != one).any()
    assert query_position("led bulb", 0) == pytest.approx(0.07520946541694107)  # everywhere


def test_splits_are_disjoint_by_query_and_near_their_shares():
    names = np.array(assign_split(QUERIES, (0.1, 0.2), seed=5))
    assert len({(q, n) for q, n in zip(QUERIES, names, strict=True)}) == 3000
    for name, share in (("valid", 0.1), ("test", 0.2), ("train", 0.7)):
        assert abs((names == name).mean() - share) < 0.035
    assert assign_split(QUERIES[::-1], (0.1, 0.2), seed=5)[::-1] == names.tolist()
    assert assign_split(QUERIES, (0.1, 0.2), seed=6) != names.tolist()


def test_triples_by_hand():
    label = np.array([2.0, 1.0, 0.0, np.nan, 1.0, 1.0, 0.0])
    query = np.array([8, 8, 8, 8, 3, 3, 5])
    positive, negative = build_triples(label, query, per_query=10)
    pairs = set(zip(positive.tolist(), negative.tolist(), strict=True))
    assert pairs == {(0, 1), (0, 2), (1, 2)}  # query 3 has equal labels, 5 has one row


def test_triples_are_capped_for_each_query_and_seeded():
    generator = np.random.default_rng(0)
    label = generator.integers(0, 4, 200).astype(float)
    query = generator.integers(0, 10, 200)
    everything = set(zip(*map(np.ndarray.tolist, build_triples(label, query, 10**6)), strict=True))
    positive, negative = build_triples(label, query, per_query=7, seed=1)
    drawn = list(zip(positive.tolist(), negative.tolist(), strict=True))
    assert len(set(drawn)) == len(drawn) == 70
    assert set(drawn) <= everything
    assert (np.bincount(query[positive]) == 7).all()
    assert (query[positive] == query[negative]).all()
    again, other = (build_triples(label, query, 7, seed)[0].tolist() for seed in (1, 2))
    assert again == positive.tolist()
    assert other != again


def test_no_triples_where_there_is_nothing_to_compare():
    for label in ([], [1.0], [np.nan, 1.0]):
        positive, negative = build_triples(np.array(label), np.zeros(len(label), int), 5)
        assert len(positive) == len(negative) == 0
        assert positive.dtype == negative.dtype == np.int64
