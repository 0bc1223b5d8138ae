"""What near training pairs' labels tell the GBDT, by hand."""

import numpy as np
import pytest

from kdmatch.teachers import neighbours
from kdmatch.teachers.inputs import GbdtInputs
from kdmatch.teachers.neighbours import BANDWIDTH, NEIGHBOUR_NAMES, NeighbourFeatures

# Angles of texts in a plane: cosines are those of their differences.
ANGLES = {"q": 0.0, "near": 0.1, "far": 1.2, "new": 0.15, "x": 0.0, "y": 0.3, "z": 1.0}
ROWS = [("q", "x", 3.0), ("near", "y", 2.0), ("far", "x", 1.0), ("near", "z", 0.0)]


def encode(texts):
    angles = np.array([ANGLES[text.strip().lower()] for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def fitted(rows=ROWS, most=100, folds=None, weight=None):
    queries, documents, label = zip(*rows, strict=True)
    if folds is None:  # one for each query
        folds = [sorted(ANGLES).index(query) for query in queries]
    return NeighbourFeatures.fit(
        encode, queries, documents, np.array(label), np.array(folds), most, weight
    )


def told(features, query, document):
    row = features.transform([query], [document], encode)[0]
    return dict(zip(NEIGHBOUR_NAMES, row.tolist(), strict=True))


def by_hand(near, label):
    weight = np.exp((np.array(near) - max(near)) / BANDWIDTH)
    return weight @ (np.array(label) - 1.5) / weight.sum()


def cosine(one, other):
    return np.cos(ANGLES[one] - ANGLES[other])


def test_the_mean_label_of_rows_weighed_by_how_near_they_are():
    found = told(fitted(), "new", "y")
    by_query = [cosine("new", query) for query, _, _ in ROWS]
    by_document = [cosine("y", document) for _, document, _ in ROWS]
    label = [label for _, _, label in ROWS]
    for name, near in (
        ("query", by_query),
        ("pair", np.mean([by_query, by_document], axis=0)),
        ("both", np.minimum(by_query, by_document)),
    ):
        assert found[f"near_{name}_cosine"] == pytest.approx(max(near), abs=1e-3)
        assert found[f"near_{name}_label"] == pytest.approx(by_hand(near, label), abs=0.02)
    assert found["near_pair_label"] != pytest.approx(found["near_query_label"], abs=0.05)


@pytest.mark.parametrize("query", ["q", " Q"])
def test_labels_of_the_same_query_never_count(query):
    """However it is written, or a training row would know its own label."""
    other = [("q", "y", 3.0), *ROWS]
    found = told(fitted(), query, "x")
    assert found["near_query_cosine"] == pytest.approx(cosine("q", "near"), abs=1e-3)
    # One more label of the query itself moves nothing but the mean that labels are less.
    moved = np.mean([label for *_, label in other]) - np.mean([label for *_, label in ROWS])
    again = told(fitted(other), query, "x")
    for name in NEIGHBOUR_NAMES:
        less = moved if name.endswith("label") else 0.0
        assert again[name] == pytest.approx(found[name] - less, abs=1e-5)


def test_rows_without_a_label_or_weight_do_not_count():
    features = fitted([*ROWS, ("new", "z", np.nan)])
    assert told(features, "new", "z") == told(fitted(), "new", "z")
    features = fitted([*ROWS, ("near", "z", 3.0)], weight=np.array([1.0, 1, 1, 1, 0]))
    assert told(features, "new", "z") == told(fitted(), "new", "z")


def test_a_row_counts_by_its_weight():
    twice = told(fitted([*ROWS, ROWS[0]]), "new", "y")
    weighed = told(fitted(weight=np.array([2.0, 1, 1, 1])), "new", "y")
    assert weighed == pytest.approx(twice, abs=1e-5)


def test_rows_of_the_querys_fold_and_of_one_that_is_held_out_do_not_count():
    features = fitted(folds=[0, 0, 1, 0])
    for query in ("q", "near"):  # of the other fold is `far` alone
        found = told(features, query, "x")
        assert found["near_query_cosine"] == pytest.approx(cosine(query, "far"), abs=1e-3)
        assert found["near_query_label"] == pytest.approx(-0.5)
    new = features.transform(["new"], ["y"], encode, without=0)[0]
    assert new[1] == pytest.approx(-0.5)  # `far` alone
    assert np.isnan(features.transform(["q"], ["y"], encode, without=1)).all()


def test_only_rows_of_the_nearest_queries_are_compared():
    found = told(fitted(most=2), "new", "x")
    assert found["near_query_label"] == pytest.approx(-0.5, abs=1e-5)  # both rows of `near`
    assert found["near_query_cosine"] == pytest.approx(cosine("new", "near"), abs=1e-3)


def test_more_queries_than_can_be_compared_are_a_sample(monkeypatch):
    everything = told(fitted(), "new", "y")
    monkeypatch.setattr(neighbours, "MOST_QUERIES", 2)
    kept = [told(fitted(rows), "new", "y") for rows in (ROWS, ROWS[::-1])]
    assert kept[0] == pytest.approx(kept[1], abs=1e-5)  # whatever the order of the rows
    assert kept[0] != pytest.approx(everything, abs=1e-3)


def test_many_pairs_are_compared_block_by_block(monkeypatch):
    queries, documents = ["new", "q", "far", "near"], ["x", "y", "z", "x"]
    at_once = fitted().transform(queries, documents, encode)
    monkeypatch.setattr(neighbours, "_COSINES", 3)
    np.testing.assert_allclose(fitted().transform(queries, documents, encode), at_once, rtol=1e-5)


def test_without_another_query_there_is_nothing_to_tell():
    assert np.isnan(fitted(ROWS[:1]).transform(["q"], ["x"], encode)).all()
    assert np.isnan(fitted([("q", "x", np.nan)]).transform(["new"], ["x"], encode)).all()
    assert fitted().transform([], [], encode).shape == (0, len(NEIGHBOUR_NAMES))


def test_many_queries_are_as_one_by_one():
    features = fitted()
    queries, documents = ["new", "q", "new", "far"], ["x", "y", "z", "x"]
    rows = features.transform(queries, documents, encode)
    for row, query, document in zip(rows, queries, documents, strict=True):
        alone = features.transform([query], [document], encode)[0]
        np.testing.assert_allclose(row, alone, rtol=1e-5)


def test_inputs_go_by_the_words_where_there_is_no_sentence_encoder(tmp_path):
    documents = ["led bulb", "led lamp", "steel shelf", "wood shelf"] * 3
    queries = ["led", "lamp", "shelf", "wood"] * 3

    def near(encode):
        fold = np.arange(12) % 4
        return NeighbourFeatures.fit(encode, queries, documents, np.arange(12.0), fold, 5)

    inputs = GbdtInputs.fit(documents, queries, "en", dimension=4, neighbours=near)
    assert inputs.names[-len(NEIGHBOUR_NAMES) :] == NEIGHBOUR_NAMES
    rows = inputs.transform(["bulb", "led"], ["led lamp", "steel shelf"])
    assert rows.shape == (2, len(inputs.names))
    assert np.isfinite(rows[:, -len(NEIGHBOUR_NAMES) :]).all()
    inputs.save(tmp_path)
    again = GbdtInputs.load(tmp_path)
    assert again.names == inputs.names
    expected = inputs.transform(["bulb"], ["led lamp"])
    assert np.array_equal(again.transform(["bulb"], ["led lamp"]), expected)
    without = GbdtInputs.fit(documents, queries, "en", neighbours=near)
    assert not set(NEIGHBOUR_NAMES) & set(without.names)  # no vectors to go by
