"""What every matcher promises: one score a pair, whatever stands beside it."""

import json

import keras
import numpy as np
import pytest

from kdmatch.data.roles import Role
from kdmatch.errors import UserError
from kdmatch.models.matcher import with_logits
from kdmatch.models.registry import (
    MATCHERS,
    PRESETS,
    build_matcher,
    load_matcher,
    save_matcher,
)
from kdmatch.text.traits import spellings

VOCABULARY = 30
SMALL = {
    "bert": ("bert_2l_64", {"hidden_dim": 16, "num_layers": 1, "head_dim": 8}),
    "albert": ("albert_1l_64", {"hidden_dim": 16, "embedding_dim": 8, "head_dim": 8}),
    "textcnn": ("textcnn_64", {"embedding_dim": 8, "filters": 6, "head_dim": 8}),
    "cnn_attention": ("cnn_attention_64", {"embedding_dim": 8, "filters": 6, "head_dim": 8}),
}


def small(kind: str, seed: int = 0, **overrides):
    """A matcher whose weights are large enough to tell pairs apart."""
    keras.utils.set_random_seed(seed)
    preset, arguments = SMALL[kind]
    matcher = build_matcher(preset, vocabulary_size=VOCABULARY, **{**arguments, **overrides})
    generator = np.random.default_rng(seed)
    matcher.set_weights(
        [w + generator.normal(0, 0.3, w.shape).astype(w.dtype) for w in matcher.get_weights()]
    )
    return matcher


def pair(matcher, query: list[int], document: list[int], extra: int = 0) -> dict[str, np.ndarray]:
    """One row of inputs, padded by `extra` on each input."""
    if "token_ids" in matcher.input_names:
        left, right = [2, *query, 3], [*document, 3]
        row = {"token_ids": left + right, "segment_ids": [0] * len(left) + [1] * len(right)}
    else:
        row = {"query_ids": query or [0], "document_ids": document or [0]}
    return {name: np.array([ids + [0] * extra], np.int32) for name, ids in row.items()}


def scores(matcher, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return keras.ops.convert_to_numpy(matcher(inputs))


def stack(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    width = {name: max(row[name].shape[1] for row in rows) for name in rows[0]}
    return {
        name: np.concatenate(
            [np.pad(row[name], ((0, 0), (0, width[name] - row[name].shape[1]))) for row in rows]
        )
        for name in rows[0]
    }


PAIRS = [([5, 6], [6, 7, 8]), ([9], [10, 11, 12, 13, 14, 9]), ([5, 6], []), ([4] * 5, [4])]


@pytest.fixture(
    scope="module",
    params=[(kind, told) for told in ((), ("details",), ("details", "coverage")) for kind in SMALL],
)
def matcher(request):
    kind, told = request.param
    return with_tables(small(kind, **{f"match_{what}": True for what in told}))


def with_tables(matcher):
    """The matcher with what it knows of its vocabulary, where it has tables for it."""
    if matcher.traits is not None:
        stems = np.arange(VOCABULARY)
        stems[7] = 6
        matcher.traits.set_tables(
            stems, np.linspace(0, 1, VOCABULARY), np.arange(VOCABULARY) % len(Role)
        )
    if matcher.spelling is not None:
        words = [f"word{number}" for number in range(VOCABULARY)]
        matcher.spelling.set_tables(*spellings(words, matcher.spelling.dimension))
    return matcher


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_builds(preset):
    matcher = build_matcher(preset, vocabulary_size=VOCABULARY)
    row = pair(matcher, [5, 6], [6, 7])
    assert matcher.kind in MATCHERS
    assert abs(float(scores(matcher, row)[0])) < 1
    keras.backend.clear_session()


def test_padding_never_changes_a_score(matcher):
    for query, document in PAIRS:
        plain = scores(matcher, pair(matcher, query, document))
        for extra in (1, 9):
            padded = scores(matcher, pair(matcher, query, document, extra))
            assert padded == pytest.approx(plain, abs=2e-6)


def test_batch_mates_never_change_a_score(matcher):
    rows = [pair(matcher, *sides) for sides in PAIRS]
    alone = np.concatenate([scores(matcher, row) for row in rows])
    together = scores(matcher, stack(rows))
    assert together.shape == (len(PAIRS),)
    assert together.dtype == np.float32
    assert together == pytest.approx(alone, abs=2e-6)
    assert scores(matcher, stack(rows[::-1])) == pytest.approx(alone[::-1], abs=2e-6)
    assert len(set(np.round(alone, 4))) == len(PAIRS)  # the scores do differ
    assert (np.abs(alone) < 1).all()


def test_the_order_of_words_and_the_sides_count(matcher):
    base, swapped, turned = (
        float(scores(matcher, pair(matcher, *sides))[0])
        for sides in (([5, 6], [6, 7, 8]), ([6, 7, 8], [5, 6]), ([5, 6], [8, 6, 7]))
    )
    assert abs(base - swapped) > 1e-5
    assert abs(base - turned) > 1e-5


def test_config_round_trip(matcher):
    config = json.loads(json.dumps(matcher.get_config()))
    again = type(matcher).from_config(config)
    assert again.get_config() == matcher.get_config()
    again.set_weights(matcher.get_weights())
    row = pair(matcher, [5, 6], [6, 7, 8])
    assert scores(again, row) == pytest.approx(scores(matcher, row), abs=1e-7)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_changes_scores_little(kind, policy, tmp_path):
    """By the global policy and by `dtype`, which the config keeps."""
    told = {"match_details": True, "match_coverage": True}
    plain = with_tables(small(kind, **told))
    rows = stack([pair(plain, *sides) for sides in PAIRS])
    wanted = scores(plain, rows)
    keras.config.set_dtype_policy(policy)
    try:
        everywhere = with_tables(small(kind, **told))
        assert scores(everywhere, rows) == pytest.approx(wanted, abs=0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    own = with_tables(small(kind, **told, dtype=policy))
    assert scores(own, rows) == pytest.approx(wanted, abs=0.1)
    assert own.get_config()["dtype"] == policy
    own.save(tmp_path / "own.keras")
    loaded = keras.saving.load_model(tmp_path / "own.keras")
    assert loaded.get_config() == own.get_config()
    assert {one.compute_dtype for one in loaded.layers} == {one.compute_dtype for one in own.layers}


def test_equal_words_count_as_equal_in_half_precision():
    """A cosine that rounds off 1 would miss the kernel that counts exact matches."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        matcher = small("textcnn")
    finally:
        keras.config.set_dtype_policy("float32")
    kernels = keras.Model(matcher.input, matcher.get_layer("kernels").output)
    counts = keras.ops.convert_to_numpy(kernels(pair(matcher, [5, 6, 7], [5, 6, 7])))
    assert counts[0, 0] == pytest.approx(np.log(2), abs=1e-3)


def test_save_and_load(matcher, tmp_path):
    save_matcher(matcher, tmp_path / "model")
    loaded = load_matcher(tmp_path / "model")
    assert type(loaded) is type(matcher)
    row = pair(matcher, [5, 6], [6, 7, 8])
    assert scores(loaded, row) == pytest.approx(scores(matcher, row), abs=1e-7)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"model.json", "model.weights.h5"}
    whole = tmp_path / "whole.keras"
    matcher.save(whole)
    assert scores(keras.models.load_model(whole), row) == pytest.approx(scores(matcher, row))


def test_an_encoder_of_version_0_3_loads_where_what_it_lacks_now_was_off(tmp_path):
    matcher = small("albert")
    save_matcher(matcher, tmp_path)
    saved = json.loads((tmp_path / "model.json").read_text("utf-8"))
    saved["config"]["match_sides"] = False
    (tmp_path / "model.json").write_text(json.dumps(saved), "utf-8")
    assert load_matcher(tmp_path).get_config() == matcher.get_config()
    saved["config"]["match_sides"] = True
    (tmp_path / "model.json").write_text(json.dumps(saved), "utf-8")
    with pytest.raises(UserError, match="another version of kdmatch wrote it; train it again"):
        load_matcher(tmp_path)


def test_the_logit_is_the_score_before_tanh(matcher):
    row = pair(matcher, [5, 6], [6, 7, 8])
    both = {k: keras.ops.convert_to_numpy(v) for k, v in with_logits(matcher)(row).items()}
    assert both["logit"].shape == both["score"].shape == (1,)
    assert np.tanh(both["logit"]) == pytest.approx(both["score"], abs=1e-6)
    assert both["score"] == pytest.approx(scores(matcher, row), abs=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow's has traces")
def test_rows_of_any_shape_are_predicted_by_one_trace(matcher, monkeypatch):
    view = with_logits(matcher)
    traces, step = [], view.predict_step
    monkeypatch.setattr(view, "predict_step", lambda data: traces.append(data) or step(data))
    for query, document in PAIRS:
        row = pair(matcher, query, document)
        assert view.predict_on_batch(row)["score"] == pytest.approx(scores(matcher, row), abs=1e-6)
        twice = {name: np.repeat(ids, 2, axis=0) for name, ids in row.items()}
        assert view.predict(twice, verbose=0)["logit"].shape == (2,)
    assert len(traces) == 1


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_the_head_reads_cls_max_and_mean(kind):
    matcher = small(kind)
    assert matcher.get_layer("head").kernel.shape == (3 * 16, 8)
    assert matcher.get_layer("logit").kernel.shape == (8, 1)
    hidden = matcher.get_layer("encoder").output
    hidden = hidden["sequence_output"] if isinstance(hidden, dict) else hidden
    inputs = matcher.get_layer("encoder").input
    row = pair(matcher, [5, 6], [6, 7, 8], extra=3)
    layer = matcher.get_layer("match_segments")
    segments = keras.ops.convert_to_numpy(layer(row["token_ids"], row["segment_ids"]))
    encode = keras.Model(inputs, hidden)
    states = keras.ops.convert_to_numpy(
        encode(
            {
                "token_ids": row["token_ids"],
                "segment_ids": segments,
                "padding_mask": (row["token_ids"] != 0).astype("int32"),
            }
        )
    )[0]
    real = states[row["token_ids"][0] != 0]
    expected = np.concatenate([states[0], real.max(axis=0), real.mean(axis=0)])
    pooled = keras.Model(matcher.input, matcher.get_layer("pooled").output)(row)
    assert keras.ops.convert_to_numpy(pooled)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "switches"),
    [
        ("bert", {"match_segments": False}),
        ("albert", {"match_segments": False}),
        ("textcnn", {"match_channels": False, "kernels": 0}),
        ("cnn_attention", {"match_channels": False, "kernels": 0}),
    ],
)
def test_match_inputs_can_be_left_out(kind, switches):
    matcher, plain = small(kind), small(kind, **switches)
    assert plain.count_params() < matcher.count_params()
    row = pair(plain, [5, 6], [6, 7, 8])
    assert scores(plain, pair(plain, [5, 6], [6, 7, 8], 4)) == pytest.approx(
        scores(plain, row), abs=2e-6
    )
    assert type(plain).from_config(plain.get_config()).count_params() == plain.count_params()


def test_keras_hubs_own_pooler_is_not_trained():
    for kind in ("bert", "albert"):
        assert not any("pooled_dense" in w.path for w in small(kind).trainable_weights)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match=r"'bert_9l'.*bert_4l_384"):
        build_matcher("bert_9l")
    with pytest.raises(UserError, match="'head_dims'"):
        build_matcher("textcnn_64", vocabulary_size=VOCABULARY, head_dims=3)
    with pytest.raises(UserError, match="vocabulary_size"):
        build_matcher("bert_2l_64")
    with pytest.raises(TypeError, match="'head_dims'"):
        MATCHERS["albert"](vocabulary_size=VOCABULARY, head_dims=3)
    with pytest.raises(ValueError, match=r"'x'.*textcnn_64"):
        MATCHERS["textcnn"].from_preset("x")
    with pytest.raises(UserError, match="no model here"):
        load_matcher(tmp_path / "nowhere")
    save_matcher(small("textcnn"), tmp_path)
    (tmp_path / "model.weights.h5").write_bytes(b"half a file")
    with pytest.raises(UserError, match="its model does not load"):
        load_matcher(tmp_path)
    (tmp_path / "model.json").write_text('{"kind": "lstm", "config": {}}')
    with pytest.raises(UserError, match=r"does not load.*KeyError: 'lstm'"):
        load_matcher(tmp_path)
    (tmp_path / "model.json").write_text('{"kind"')
    with pytest.raises(UserError, match=r"model\.json: not JSON"):
        load_matcher(tmp_path)
    with pytest.raises(ValueError, match="no layer named 'logit'"):
        with_logits(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
