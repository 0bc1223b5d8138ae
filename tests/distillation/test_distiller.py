"""The Distiller's losses: their sum, what each of them reads, and rows that have none."""

import keras
import numpy as np
import pytest

from kdmatch.data.batches import TrainingBatches
from kdmatch.distillation.distiller import Distiller
from kdmatch.distillation.losses import exponential_scaling, grouped_hinge, masked_mse
from kdmatch.models.matcher import with_logits

from .small import PARTS, compiled, number, student, train, whole


@pytest.mark.parametrize("arguments", [{}, {"jit_compile": True}, {"steps_per_execution": 5}])
def test_fit_lowers_every_loss(pairs, random_pairs, arguments):
    if arguments.get("jit_compile"):
        pairs = random_pairs(24, 6, unlabelled=48, longest=8)  # one shape
    distiller = compiled(Distiller(student(dropout=0.0), hard="both"), **arguments)
    x, y, weight = whole(pairs)
    before = distiller.evaluate(
        x, y, sample_weight=weight, batch_size=len(pairs), verbose=0, return_dict=True
    )
    batches = TrainingBatches(pairs, 32, unlabelled_share=0.25, steps=20)
    history = train(distiller, batches, epochs=5)
    assert set(history) == PARTS
    assert all(len(values) == 5 for values in history.values())
    after = distiller.evaluate(
        x, y, sample_weight=weight, batch_size=len(pairs), verbose=0, return_dict=True
    )
    assert all(after[name] < before[name] for name in PARTS)


@pytest.mark.parametrize("hard", ["hinge", "pointwise", "both"])
@pytest.mark.parametrize("scaling", ["exp", "none"])
def test_the_loss_is_the_weighted_sum(pairs, hard, scaling):
    matcher = student()
    distiller = compiled(
        Distiller(matcher, alpha=0.5, beta=2.0, gamma=0.25, margin=0.4, scaling=scaling, hard=hard)
    )
    x, y, _ = whole(pairs)
    weight = np.random.default_rng(0).uniform(0, 2, len(pairs)).astype(np.float32)
    both = with_logits(matcher)(x)
    logit, score = both["logit"], both["score"]
    soft = number(masked_mse(logit, y["scores"]["teacher"], weight))
    relevance = number(masked_mse(logit, y["scores"]["gbdt"], weight))
    hinge = number(grouped_hinge(score, y["label"], y["group"], weight, 0.4))
    pointwise = number(masked_mse(logit, y["label"], weight))
    expected_hard = {"hinge": hinge, "pointwise": pointwise, "both": hinge + pointwise}[hard]
    total = 0.5 * soft + 2.0 * expected_hard + 0.25 * relevance
    if scaling == "exp":
        total = number(exponential_scaling(np.float32(total)))
    got = distiller.evaluate(
        x, y, sample_weight=weight, batch_size=len(pairs), verbose=0, return_dict=True
    )
    assert got == pytest.approx(
        {"loss": total, "soft_loss": soft, "hard_loss": expected_hard, "relevance_loss": relevance},
        rel=1e-4,
    )


def test_labels_alone_need_no_scores(pairs):
    pairs.scores = {}
    batches = TrainingBatches(pairs, 16, steps=3)
    history = train(compiled(Distiller(student(), alpha=0, gamma=0)), batches)
    assert history["hard_loss"][0] > 0
    assert history["loss"][0] == pytest.approx(np.expm1(history["hard_loss"][0]), rel=0.05)
    distiller = compiled(Distiller(student(), alpha=1, gamma=0, soft_score="bert"))
    with pytest.raises(ValueError, match=r"no score 'bert'.*soft loss"):
        train(distiller, batches)


@pytest.mark.parametrize("soft", ["mse", "listwise"])
def test_columns_of_a_data_frame_are_flattened(pairs, soft):
    """Against a logit `(batch,)` a column `(batch, 1)` would be broadcast to a square."""
    x, y, weight = whole(pairs)
    weight = np.random.default_rng(0).uniform(0, 2, len(pairs)).astype(np.float32)
    distiller = compiled(Distiller(student(), hard="both", soft=soft))
    given = {"batch_size": len(pairs), "verbose": 0, "return_dict": True}
    wanted = distiller.evaluate(x, y, sample_weight=weight, **given)
    columns = keras.tree.map_structure(lambda one: np.asarray(one, np.float64)[:, None], y)
    columns["group"] = y["group"][:, None]
    found = distiller.evaluate(x, columns, sample_weight=weight[:, None], **given)
    assert found == pytest.approx(wanted, rel=1e-6)
    y["scores"]["gbdt"] = np.zeros((len(pairs), 2), np.float32)
    with pytest.raises(ValueError, match=r"scores\['gbdt'\] has shape \(\d+, 2\)"):
        distiller.evaluate(x, y, **given)


@pytest.mark.parametrize(
    ("arguments", "lacks", "said"),
    [
        ({}, "label", "has no 'label' .it has group, scores.*hard loss"),
        ({"hard": "hinge"}, "group", "has no 'group'.*hard loss"),
        ({"beta": 0, "soft": "listwise"}, "group", "has no 'group'.*soft loss"),
        ({}, "scores", "has no score 'teacher' .it has nothing.*soft loss"),
        ({"beta": 0}, "label", None),
        ({"hard": "pointwise"}, "group", None),
        ({"alpha": 0, "gamma": 0}, "scores", None),
    ],
)
def test_only_what_a_loss_reads_must_be_there(pairs, arguments, lacks, said):
    x, y, _ = whole(pairs)
    y = {name: value for name, value in y.items() if name != lacks}
    distiller = compiled(Distiller(student(), **arguments))
    given = {"batch_size": len(pairs), "verbose": 0}
    if said is None:
        assert distiller.fit(x, y, **given).history["loss"][0] > 0
    else:
        with pytest.raises(ValueError, match=said):
            distiller.fit(x, y, **given)


def test_losses_are_means_over_batches_in_evaluation_too(pairs):
    x, y, _ = whole(pairs)
    distiller = compiled(Distiller(student(), alpha=0, gamma=0, scaling="none"))
    rows = slice(0, 144 // 4 * 4 - 20)  # the last batch is a short one
    x, y = (keras.tree.map_structure(lambda one: one[rows], part) for part in (x, y))
    found = distiller.evaluate(x, y, batch_size=48, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(found["hard_loss"], rel=1e-6)


def test_a_loss_without_weight_is_still_shown(pairs):
    batches = TrainingBatches(pairs, 16, steps=2)
    history = train(compiled(Distiller(student(), alpha=0, gamma=0)), batches)
    assert history["soft_loss"][0] > 0


def test_rows_without_labels_or_scores_do_no_harm(pairs):
    rows = np.flatnonzero(np.isnan(pairs.label))
    pairs.scores["teacher"][rows] = np.nan
    pairs.scores["gbdt"][rows[1:]] = np.nan
    x, y, weight = pairs.batch(rows)
    matcher = student()
    distiller = compiled(Distiller(matcher, hard="both"))
    distiller.fit(x, y, sample_weight=weight, batch_size=len(rows), epochs=2, verbose=0)
    assert all(np.isfinite(w).all() for w in matcher.get_weights())
    before = matcher.get_weights()
    pairs.scores["gbdt"][rows] = np.nan  # nothing at all to learn from
    x, y, weight = pairs.batch(rows)
    logs = compiled(Distiller(matcher)).fit(
        x, y, sample_weight=weight, batch_size=len(rows), verbose=0
    )
    assert logs.history["loss"] == [0.0]
    for one, other in zip(before, matcher.get_weights(), strict=True):
        assert (one == other).all()
