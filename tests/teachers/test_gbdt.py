"""The GBDT teacher: it learns, it stops early, and out-of-fold scores do not leak."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kdmatch.errors import UserError
from kdmatch.teachers.gbdt import GbdtRanker
from kdmatch.teachers.labelled_rows import label_levels, query_folds

SMALL: dict[str, Any] = {"num_rounds": 60, "min_data_in_leaf": 10, "early_stopping_rounds": 10}


def rows(
    seed: int = 0, queries: int = 150, each: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    query = np.repeat(np.arange(queries), each)
    features = random.normal(size=(len(query), 5)).astype(np.float32)
    signal = features[:, 0] + 0.5 * features[:, 1] + random.normal(scale=0.5, size=len(query))
    return features, np.digitize(signal, [-0.5, 0.7]).astype(float), query


def test_levels_of_thirds() -> None:
    assert label_levels(np.array([1.0, 2.33, 2.67, 3.0, 2.33])).tolist() == [0, 1, 2, 3, 1]
    assert label_levels(np.linspace(0, 1, 101)).max() == 30


def test_levels_of_small_and_of_large_labels_are_told_apart() -> None:
    assert label_levels(np.array([0.001, 0.002, 0.004])).tolist() == [0, 1, 2]
    assert label_levels(np.array([0.0, 5e6, 1e7])).tolist() == [0, 1, 2]
    assert label_levels(np.array([2.33, 2.3300002, 3.0], np.float32)).tolist() == [0, 0, 1]


@pytest.mark.parametrize("objective", ["regression", "lambdarank"])
def test_rows_of_weight_0_teach_nothing(objective: str) -> None:
    features, label, query = rows()
    wrong = np.repeat(np.random.default_rng(1).random(150) < 0.6, 8)
    spoilt = np.where(wrong, label.max() - label, label)
    plain = GbdtRanker(objective, SMALL).fit(features, spoilt, query)
    told = GbdtRanker(objective, SMALL).fit(features, spoilt, query, weight=1.0 - wrong)
    fresh, truth, _ = rows(2)
    assert roc_auc_score(truth >= 2, plain.predict(fresh)) < 0.6
    assert roc_auc_score(truth >= 2, told.predict(fresh)) > 0.85


def test_a_query_of_more_rows_than_lightgbm_takes() -> None:
    features, label, _ = rows(queries=1500)
    query = np.where(np.arange(len(label)) < 11_000, 0, 1)
    ranker = GbdtRanker("lambdarank", {**SMALL, "num_rounds": 5}).fit(features, label, query)
    assert roc_auc_score(rows(2)[1] >= 2, ranker.predict(rows(2)[0])) > 0.8


@pytest.mark.parametrize("objective", ["regression", "lambdarank", "both"])
def test_learns_and_says_which_columns(objective: str, tmp_path: Path) -> None:
    ranker = GbdtRanker(objective, SMALL).fit(*rows(0), valid=rows(1), names=list("abcde"))
    features, label, _ = rows(2)
    score = ranker.predict(features)
    assert score.dtype == np.float64
    assert roc_auc_score(label >= 2, score) > 0.85
    importance = ranker.importance()
    assert next(iter(importance)) == "a"
    assert sum(importance.values()) == pytest.approx(1)
    assert sum(ranker.weights.values()) == pytest.approx(1)
    ranker.save(tmp_path / "model")
    loaded = GbdtRanker.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(features), score)
    assert loaded.importance() == importance


def test_same_seed_same_scores() -> None:
    first, second = (GbdtRanker("both", SMALL, seed=3).fit(*rows()) for _ in range(2))
    np.testing.assert_array_equal(first.predict(rows(2)[0]), second.predict(rows(2)[0]))


def test_order_of_rows_does_not_matter_for_grouping() -> None:
    features, label, query = rows()
    order = np.random.default_rng(0).permutation(len(query))
    ranker = GbdtRanker("lambdarank", SMALL).fit(features[order], label[order], query[order])
    assert roc_auc_score(rows(2)[1] >= 2, ranker.predict(rows(2)[0])) > 0.85


def test_stops_early() -> None:
    params = {**SMALL, "num_rounds": 1000, "learning_rate": 0.3}
    ranker = GbdtRanker("regression", params).fit(*rows(0), valid=rows(1))
    assert 1 <= ranker.rounds["regression"] < 200
    assert GbdtRanker("regression", SMALL).fit(*rows(0)).rounds == {"regression": 60}


def test_out_of_fold_never_saw_the_query() -> None:
    random = np.random.default_rng(0)
    query = np.repeat(np.arange(200), 5)
    features = np.column_stack([random.normal(size=(1000, 4)), query]).astype(np.float32)
    label = np.repeat(random.integers(0, 2, 200), 5).astype(float)  # by query: only leaks help
    params = {**SMALL, "num_rounds": 200, "min_data_in_leaf": 5, "learning_rate": 0.2}
    ranker = GbdtRanker("regression", params).fit(features, label, query)
    assert roc_auc_score(label, ranker.predict(features)) > 0.95
    held_out = ranker.out_of_fold(features, label, query, query_folds(query, 4, 0))
    assert 0.38 < roc_auc_score(label, held_out) < 0.62


def test_out_of_fold_is_useful_unfitted_and_scores_unlabelled_rows() -> None:
    features, label, query = rows()
    some = label.copy()
    some[::7] = np.nan
    fold = query_folds(query, 3, 1)
    scores = GbdtRanker("both", SMALL).out_of_fold(features, some, query, fold)
    assert np.isfinite(scores).all()
    assert roc_auc_score(label >= 2, scores) > 0.8


def test_folds_keep_queries_whole() -> None:
    query = np.array(["a", "b", "a", "c", "d", "b"])
    fold = query_folds(query, 2, 0)
    assert fold[0] == fold[2]
    assert fold[1] == fold[5]
    assert sorted(np.bincount([fold[0], fold[1], fold[3], fold[4]])) == [2, 2]


def test_queries_of_one_row_and_missing_values() -> None:
    features, label, _ = rows()
    features[::3, 4] = np.nan
    single = np.arange(len(label))
    ranker = GbdtRanker("both", SMALL).fit(features, label, single)
    assert list(ranker.rounds) == ["regression"]
    assert np.isfinite(ranker.predict(features)).all()
    assert ranker.predict(features[:0]).shape == (0,)
    with pytest.raises(UserError, match="two different labels"):
        GbdtRanker("lambdarank", SMALL).fit(features, label, single)


def test_rows_without_clicks_are_still_ranked_by_text() -> None:
    random = np.random.default_rng(0)
    query = np.repeat(np.arange(200), 8)
    text, clicks = random.normal(size=(2, 1600))
    label = ((text + 2 * clicks) > 1).astype(float)
    ranker = GbdtRanker("regression", SMALL)
    ranker.fit(np.column_stack([text, clicks]), label, query, names=["text", "f_clicks"])
    without = np.column_stack([text, np.full(1600, np.nan)])
    zero = np.column_stack([text, np.zeros(1600)])
    assert roc_auc_score(text > 1, ranker.predict(without)) > 0.9
    assert not np.allclose(ranker.predict(without), ranker.predict(zero))


def test_mistakes_are_said(tmp_path: Path) -> None:
    features, label, query = rows()
    with pytest.raises(UserError, match="objective 'rank'"):
        GbdtRanker("rank")
    with pytest.raises(UserError, match="no labelled rows"):
        GbdtRanker().fit(features, label * np.nan, query)
    with pytest.raises(UserError, match="every training label is 1"):
        GbdtRanker().fit(features, label * 0 + 1, query)
    with pytest.raises(UserError, match="no saved GBDT"):
        GbdtRanker.load(tmp_path)
    (tmp_path / "gbdt.json").write_text('{"format": 0}')
    with pytest.raises(UserError, match="written by another version"):
        GbdtRanker.load(tmp_path)
    with pytest.raises(UserError, match="call fit first"):
        GbdtRanker().predict(features)
    with pytest.raises(UserError, match="900 folds"):
        query_folds(query, 900, 0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_leafs": 8}, "no parameter 'num_leafs'; did you mean 'num_leaf"),
        ({"num_rounds": "many"}, "num_rounds: give a whole number above 0 .found 'many'"),
        ({"hidden_share": 1.5}, "hidden_share: give a number from 0 to below 1 .found 1.5"),
    ],
)
def test_params_that_are_none_are_refused_before_training(params, message):
    with pytest.raises(UserError, match=f"gbdt.params.*{message}"):
        GbdtRanker(params=params)


def test_a_parameter_has_one_name_whichever_it_is_given_by() -> None:
    aliases = {"n_estimators": 40, "min_child_samples": 5, "eta": 0.2, "early_stopping_round": 7}
    ranker = GbdtRanker("regression", aliases)
    assert ranker.params == {
        "num_rounds": 40,
        "min_data_in_leaf": 5,
        "learning_rate": 0.2,
        "early_stopping_rounds": 7,
    }
    features, label, query = rows(queries=30)
    ours = GbdtRanker("regression", ranker.params).fit(features, label, query)
    assert (ranker.fit(features, label, query).predict(features) == ours.predict(features)).all()
    assert ranker.rounds == {"regression": 40}
    with pytest.raises(UserError, match=r"gbdt\.params: eta is learning_rate, which is given too"):
        GbdtRanker("regression", {"learning_rate": 0.1, "eta": 0.2})


def test_what_lightgbm_refuses_is_one_line():
    with pytest.raises(
        UserError, match=r"gbdt.params: LightGBM cannot train with them: .*num_leaves"
    ):
        GbdtRanker("regression", {**SMALL, "num_leaves": 1}).fit(*rows(0))


def test_a_query_under_many_ids_is_in_one_fold() -> None:
    """Labels are coins, so only a model that has seen a row's text can know its label."""
    random = np.random.default_rng(0)
    text = np.repeat(np.arange(120), 4)
    features, label = random.normal(size=(480, 4)), random.integers(0, 2, 480).astype(float)
    features, label, text = (np.concatenate([one] * 4) for one in (features, label, text))
    session = np.arange(len(text)) // 4
    params = {**SMALL, "min_data_in_leaf": 3, "learning_rate": 0.2}

    def known(by: np.ndarray) -> float:
        ranker = GbdtRanker("regression", params)
        scores = ranker.out_of_fold(features, label, session, query_folds(by, 3, 0))
        return float(roc_auc_score(label, scores))

    assert known(session) > 0.7
    assert known(text) < 0.6


def test_features_made_of_labels_are_those_of_each_fold() -> None:
    """Or a column that knows all labels would make every score a perfect one."""
    random = np.random.default_rng(0)
    query = np.repeat(np.arange(100), 5)
    label = np.repeat(random.integers(0, 2, 100), 5).astype(float)
    fold = query_folds(query, 4, 0)

    def features(without: int) -> np.ndarray:
        known = np.where(fold == without, 0.5, label)
        return np.column_stack([known, random.normal(size=500)])

    ranker = GbdtRanker("regression", SMALL)
    assert np.ptp(ranker.out_of_fold(features, label, query, fold)) < 1.0
    assert roc_auc_score(label, ranker.out_of_fold(features, label, query, fold)) < 0.7
    told = ranker.out_of_fold(features(-1), label, query, fold)
    assert roc_auc_score(label, told) > 0.99


def test_trees_that_never_split_give_nothing() -> None:
    features, label, query = rows(queries=5)
    ranker = GbdtRanker("regression", {**SMALL, "min_data_in_leaf": 1000})
    ranker.fit(features, label, query)
    assert not ranker.has_learned
    assert np.abs(ranker.predict(rows(2)[0])).max() < 1e-6
    scores = ranker.out_of_fold(features, label, query, query_folds(query, 2, 0))
    assert np.ptp(scores) < 1e-6
    assert GbdtRanker("regression", SMALL).fit(*rows()).has_learned


def test_lambdarank_stops_by_queries_that_can_be_ranked() -> None:
    features, label, _ = rows(1)
    single = (features, label, np.arange(len(label)))  # one document a query
    with pytest.raises(UserError, match=r"no validation query has; set gbdt\.objective"):
        GbdtRanker("lambdarank", SMALL).fit(*rows(), valid=single)
    both = GbdtRanker("both", SMALL).fit(*rows(), valid=single)
    assert list(both.rounds) == ["regression"]
