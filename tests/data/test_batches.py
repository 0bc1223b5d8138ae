"""What a training step is given, and when."""

import keras
import numpy as np
import pytest

from kdmatch.data.batches import ScoredPairs, TrainingBatches


@pytest.fixture
def pairs(random_pairs) -> ScoredPairs:
    """30 queries of 8 rows, 100 unlabelled rows; a row's weight is its number."""
    pairs = random_pairs(30, 8, unlabelled=100)
    pairs.weight = np.arange(len(pairs), dtype=np.float32)
    return pairs


def rows_of(batches: TrainingBatches, count: int) -> np.ndarray:
    """Row numbers of the next `count` batches, epoch after epoch, as Keras asks for them."""
    rows = []
    while len(rows) < count:
        batches.on_epoch_begin()
        rows += [batches[i][2].astype(int) for i in range(len(batches))]
        batches.on_epoch_end()
    return np.array(rows[:count])


def test_a_batch_is_the_rows_it_says(pairs):
    inputs, targets, weight = TrainingBatches(pairs, 16, unlabelled_share=0.5)[0]
    rows = weight.astype(int)
    assert (targets["label"][:8] == pairs.label[rows[:8]]).all()
    assert np.isnan(targets["label"][8:]).all()
    assert (targets["group"] == pairs.group[rows]).all()
    for name, score in pairs.scores.items():
        assert (targets["scores"][name] == score[rows]).all()
    for name, padded in pairs.ids.pad(rows).items():
        assert (inputs[name] == padded).all()


def test_the_unlabelled_share_holds_in_every_batch(pairs):
    rows = rows_of(TrainingBatches(pairs, 20, unlabelled_share=0.25, steps=10), 60)
    assert (np.isnan(pairs.label[rows]).sum(axis=1) == 5).all()


@pytest.mark.parametrize(("share", "labelled"), [(0.99, 1), (0.01, 7)])
def test_both_kinds_stand_in_every_batch(pairs, share, labelled):
    _, targets, _ = TrainingBatches(pairs, 8, unlabelled_share=share)[0]
    assert (~np.isnan(targets["label"])).sum() == labelled


@pytest.mark.parametrize(("labels", "unlabelled"), [(8, 0), (0, 60)])
def test_one_kind_of_row_fills_the_batch(random_pairs, labels, unlabelled):
    pairs = random_pairs(labels, 8, unlabelled=unlabelled)
    _, targets, weight = TrainingBatches(pairs, 16, unlabelled_share=0.5)[0]
    assert weight.shape == (16,)
    assert np.isnan(targets["label"]).all() == (labels == 0)


def test_every_labelled_row_is_seen_once_in_a_pass(pairs):
    # A window of 24 batches of 10 rows is one pass over the 240 labelled rows.
    rows = rows_of(TrainingBatches(pairs, 10, steps=8), 72)
    for one_pass in rows.reshape(3, 240):
        assert sorted(one_pass) == list(range(240))


def test_passes_that_do_not_fit_a_window_still_take_turns(pairs):
    seen = np.bincount(rows_of(TrainingBatches(pairs, 14, steps=10), 240).ravel(), minlength=340)
    assert set(seen[:240]) == {14}  # 240 batches of 14 rows are 14 passes
    unlabelled = rows_of(TrainingBatches(pairs, 20, 0.25, steps=10), 240)
    seen = np.bincount(unlabelled.ravel(), minlength=340)[240:]
    assert set(seen) == {12}  # 240 × 5 rows over 100


def test_queries_stand_together(pairs):
    """A batch of 16 holds whole queries of 8, except where it cuts one at either end."""
    for batch in rows_of(TrainingBatches(pairs, 16, steps=15), 15):
        counts = np.bincount(pairs.group[batch], minlength=30)
        assert (np.isin(counts, (0, 8))).sum() >= 28


def test_no_query_has_more_rows_than_the_cap(pairs):
    rows = rows_of(TrainingBatches(pairs, 5, rows_per_query=4, steps=24), 240)
    for one_pass in rows.reshape(10, 120):
        assert (np.bincount(pairs.group[one_pass], minlength=30) == 4).all()
        assert len(set(one_pass)) == 120
    assert len(set(rows.ravel())) > 200  # other rows of the query in other passes


def test_parts_of_a_batch_are_alike_in_length(pairs):
    batches = TrainingBatches(pairs, 16, 0.5, steps=24, rows_per_query=1)
    rows = rows_of(batches, 24)
    longest = pairs.ids.sizes[rows].max(axis=1)
    shuffled = np.random.default_rng(0).permutation(rows.ravel()).reshape(rows.shape)
    assert longest.mean() < pairs.ids.sizes[shuffled].max(axis=1).mean()
    assert np.corrcoef(longest, np.arange(24))[0, 1] < 0.8  # short batches do not all come first


def test_a_resumed_pass_gives_what_would_have_come(pairs):
    whole = rows_of(TrainingBatches(pairs, 12, 0.5, steps=7, seed=3), 35)
    resumed = rows_of(TrainingBatches(pairs, 12, 0.5, steps=7, seed=3, first_epoch=2), 21)
    assert (whole[14:] == resumed).all()
    backwards = TrainingBatches(pairs, 12, 0.5, steps=7, seed=3)
    assert (backwards[6][2] == whole[6]).all()
    assert (backwards[0][2] == whole[0]).all()


def test_the_seed_decides_the_order(pairs):
    one, other = (rows_of(TrainingBatches(pairs, 12, seed=seed), 5) for seed in (1, 2))
    assert (one != other).any()


def test_fit_takes_rows_of_any_width(pairs):
    """TensorFlow holds a `PyDataset` to the widths of its first batches; `for_fit` does not."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow's input has a signature")
    batches = TrainingBatches(pairs, 12, 0.5, steps=7)
    inputs, targets, weight = batches.for_fit().element_spec
    assert all(spec.shape.as_list() == [None, None] for spec in inputs.values())
    assert weight.shape.as_list() == targets["label"].shape.as_list() == [None]


def test_batches_are_copies(pairs):
    batches = TrainingBatches(pairs, 12)
    inputs, targets, weight = batches[0]
    kept = weight.copy()
    for array in (*inputs.values(), targets["label"], *targets["scores"].values(), weight):
        array[...] = 1
    targets["group"][...] = 1
    again = batches[0]
    assert (again[2] == kept).all()
    assert not (again[1]["group"] == 1).all()
    assert not any((ids == 1).all() for ids in again[0].values())
