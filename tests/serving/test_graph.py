"""The inference graphs score as the Keras model does, whatever they are asked."""

from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kdmatch.serving.export import export
from kdmatch.serving.graph.scorers import make_scorer
from kdmatch.serving.graph.sizes import SIZES, spare
from kdmatch.serving.ops import read_meta_graphs

from .matchers import CASES, ENCODERS, PAIRS, by_text, matcher_of, strings


@pytest.fixture(scope="module", params=list(CASES))
def exported(request, tmp_path_factory) -> tuple[keras.Model, Any, Any, Path]:
    """Matcher, encoder, loaded export and its folder."""
    matcher, encoder = matcher_of(request.param), ENCODERS[CASES[request.param][1]]()
    version = export(matcher, encoder, tmp_path_factory.mktemp("models") / request.param)
    return matcher, encoder, tf.saved_model.load(str(version)), version


def test_both_signatures_score_as_keras_does(exported):
    matcher, encoder, loaded, _ = exported
    ids = encoder(**strings(PAIRS))
    expected = matcher(ids).numpy()
    assert len(set(np.round(expected, 4))) >= len(PAIRS) - 2  # one pair stands twice
    assert np.abs(by_text(loaded, PAIRS) - expected).max() <= 1e-5
    tokens = loaded.signatures["tokens"]
    assert np.abs(tokens(**ids)["score"].numpy() - expected).max() <= 1e-5
    padded = {name: tf.pad(one, [[0, 0], [0, 3]]) for name, one in ids.items()}
    assert np.abs(tokens(**padded)["score"].numpy() - expected).max() <= 1e-5


def test_a_row_is_scored_alike_alone_and_in_any_company(exported):
    _, _, loaded, _ = exported
    together = by_text(loaded, PAIRS)
    assert together.dtype == np.float32
    alone = np.concatenate([by_text(loaded, [pair]) for pair in PAIRS])
    assert np.abs(together - alone).max() <= 2e-6
    order = np.random.default_rng(0).permutation(len(PAIRS))
    shuffled = by_text(loaded, [PAIRS[i] for i in order])
    assert np.abs(shuffled - together[order]).max() <= 2e-6


def test_an_empty_batch_has_no_scores(exported):
    _, encoder, loaded, _ = exported
    assert by_text(loaded, []).shape == (0,)
    nothing = {name: tf.zeros([0, 4], tf.int32) for name in encoder.input_names}
    assert loaded.signatures["tokens"](**nothing)["score"].shape == (0,)


def test_a_row_of_padding_alone_is_finite_and_leaves_others_be(exported):
    _, encoder, loaded, _ = exported
    tokens = loaded.signatures["tokens"]
    ids = encoder(**strings(PAIRS[:3]))
    expected = tokens(**ids)["score"].numpy()
    more = {name: tf.pad(one, [[0, 1], [0, 0]]) for name, one in ids.items()}
    scores = tokens(**more)["score"].numpy()
    assert np.abs(scores[:3] - expected).max() <= 2e-6
    assert np.isfinite(scores[3])
    alone = tokens(**{name: one[3:] for name, one in more.items()})["score"].numpy()
    assert alone == pytest.approx(scores[3:], abs=2e-6)


def test_a_side_without_tokens_scores_as_keras_does(exported):
    matcher, encoder, loaded, _ = exported
    ids = encoder(**strings(PAIRS[:3]))
    if "token_ids" in ids:
        query = ids["segment_ids"] == 0
        lacking = {name: tf.where(query, one, 0) for name, one in ids.items()}
    else:
        lacking = {**ids, "document_ids": tf.zeros_like(ids["document_ids"])}
    found = loaded.signatures["tokens"](**lacking)["score"].numpy()
    assert np.abs(found - matcher(lacking).numpy()).max() <= 1e-5


def test_nothing_is_left_to_restore(exported):
    *_, version = exported
    names = [name for name, _ in tf.train.list_variables(str(version / "variables" / "variables"))]
    assert names == ["_CHECKPOINTABLE_OBJECT_GRAPH"]


def test_no_table_of_the_vocabulary_is_held_twice(exported):
    _, encoder, _, version = exported
    [meta_graph] = read_meta_graphs(version)
    functions = meta_graph.graph_def.library.function
    nodes = [node for function in functions for node in function.node_def]
    tensors = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
    tables = Counter(
        tensor.SerializeToString(deterministic=True)
        for tensor in tensors
        if [dim.size for dim in tensor.tensor_shape.dim][:1] == [len(encoder.vocabulary)]
    )
    assert set(tables.values()) == {1}


def test_bfloat16_is_near(tmp_path):
    matcher, encoder = matcher_of("albert"), ENCODERS["wordpiece"]()
    version = export(matcher, encoder, tmp_path / "m", precision="bfloat16")
    expected = matcher(encoder(**strings(PAIRS))).numpy()
    difference = np.abs(by_text(tf.saved_model.load(str(version)), PAIRS) - expected)
    assert 1e-6 < difference.max() < 0.05


@pytest.mark.parametrize("case", ["albert_covered", "textcnn", "cnn_attention_covered"])
def test_products_meet_few_shapes(case: str, monkeypatch: pytest.MonkeyPatch):
    scorer = make_scorer(matcher_of(case), ENCODERS[CASES[case][1]](), "packed", "float32")
    rows: set[int] = set()
    product = tf.matmul

    def recorded(a: tf.Tensor, b: tf.Tensor, **options: Any) -> tf.Tensor:
        rows.update([a.shape[0]] if a.shape.rank == 2 else [])
        return product(a, b, **options)

    monkeypatch.setattr(tf, "matmul", recorded)
    tf.config.run_functions_eagerly(True)
    try:
        for first in range(len(PAIRS)):
            page = [PAIRS[(first + i) % len(PAIRS)] for i in range(5)]
            scorer.from_text(**strings(page))
    finally:
        tf.config.run_functions_eagerly(False)
    assert rows > {5}
    assert rows - {5} <= set(SIZES.tolist())


def test_sizes_are_near():
    counts = np.unique(np.geomspace(1, 3e6, 500).astype(np.int32))
    spares = np.array([int(spare(tf.constant(count))) for count in counts])
    inside = counts <= SIZES[-1]
    assert set((counts + spares)[inside].tolist()) <= set(SIZES.tolist())
    assert (spares[~inside] == 0).all()
    assert not inside.all()
    assert (spares >= 0).all()
    assert (spares < np.maximum(4, counts / 16 + 1)).all()
    assert int(spare(tf.constant(0))) == 0
