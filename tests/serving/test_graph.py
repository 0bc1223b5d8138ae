"""The inference graphs score as the Keras model does, whatever they are asked."""

from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kdmatch.data.roles import Role
from kdmatch.errors import UserError
from kdmatch.models.registry import build_matcher
from kdmatch.models.textcnn import TextCnnMatcher
from kdmatch.serving.export import export
from kdmatch.serving.ops import read_meta_graphs
from kdmatch.serving.servable import Servable
from kdmatch.serving.warmup import read_warmup
from kdmatch.text.spelling import Spelling
from kdmatch.text.traits import characters as characters_of
from kdmatch.text.traits import spellings, stem_ids
from kdmatch.text.wordpiece import SPECIAL_TOKENS, WordPieceEncoder
from kdmatch.text.words import PADDING, UNKNOWN, WordEncoder

WORDS = ["led", "bulb", "light", "steel", "shelf", "北", "京", "大", "学"]
LETTERS = list("abdeghilstu")
SPELLING = Spelling(["bulb", "light", "steel", "shelf"], offered=4)
ENCODERS: dict[str, Any] = {
    "wordpiece": lambda: WordPieceEncoder(
        [*SPECIAL_TOKENS, *WORDS, *LETTERS, *(f"##{c}" for c in LETTERS)],
        max_query_tokens=6,
        max_tokens=20,
        spelling=SPELLING,
    ),
    "words": lambda: WordEncoder(
        [PADDING, UNKNOWN, *LETTERS, *WORDS, "北京", "大学"],
        max_query_words=5,
        max_document_words=9,
        spelling=SPELLING,
    ),
}
ENCODER_SIZE = {"hidden_dim": 24, "num_heads": 3, "head_dim": 8, "max_sequence_length": 32}
CNN_SIZE = {"embedding_dim": 8, "filters": 6, "head_dim": 8}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("bert_2l_64", "wordpiece", ENCODER_SIZE),
    "bert_plain": ("bert_2l_64", "wordpiece", {**ENCODER_SIZE, "match_segments": False}),
    "albert": ("albert_1l_64", "wordpiece", {**ENCODER_SIZE, "embedding_dim": 8}),
    "albert_twice": (
        "albert_1l_64",
        "wordpiece",
        {**ENCODER_SIZE, "embedding_dim": 8, "num_layers": 2, "match_segments": False},
    ),
    "bert_detailed": ("bert_2l_64", "wordpiece", {**ENCODER_SIZE, "match_details": True}),
    "albert_detailed": (
        "albert_1l_64",
        "wordpiece",
        {**ENCODER_SIZE, "embedding_dim": 8, "match_details": True},
    ),
    "albert_covered": (
        "albert_1l_64",
        "wordpiece",
        {**ENCODER_SIZE, "embedding_dim": 8, "match_coverage": True},
    ),
    "bert_covered": (
        "bert_2l_64",
        "wordpiece",
        {**ENCODER_SIZE, "match_coverage": True, "match_details": True, "match_sides": True},
    ),
    "textcnn_covered": (
        "textcnn_64",
        "words",
        {
            **CNN_SIZE,
            **dict.fromkeys(("match_coverage", "match_details", "match_characters"), True),
        },
    ),
    "cnn_attention_covered": (
        "cnn_attention_64",
        "words",
        {**CNN_SIZE, "match_coverage": True, "match_channels": False, "kernels": 0},
    ),
    "textcnn_detailed": ("textcnn_64", "words", {**CNN_SIZE, "match_details": True}),
    "attention_detailed": (
        "cnn_attention_64",
        "words",
        {**CNN_SIZE, "match_details": True, "match_channels": False},
    ),
    "textcnn": ("textcnn_64", "words", CNN_SIZE),
    "textcnn_plain": (
        "textcnn_64",
        "words",
        {**CNN_SIZE, "widths": [3, 4, 1], "match_channels": False, "kernels": 0},
    ),
    "textcnn_kernels": ("textcnn_64", "words", {**CNN_SIZE, "match_channels": False}),
    "cnn_attention": ("cnn_attention_64", "words", CNN_SIZE),
    "cnn_attention_plain": (
        "cnn_attention_64",
        "words",
        {**CNN_SIZE, "widths": [2], "match_channels": False, "kernels": 0},
    ),
}
PAIRS = [
    ("led bulb", "LED light bulb, led"),
    ("led bulb", "steel shelf"),
    ("led bulb", "LED light bulb, led"),
    ("北京大学", "北京大学 light 学"),
    ("", "bulb"),
    ("light", ""),
    ("", ""),
    ("a", "a"),
    ("zebra ☂", "ж zebra led"),
    ("light " * 40, "bulb shelf " * 2000),
    ("x" * 900 + " led", "lightbulb" * 300),
    ("steel", "\ufffd\U0001f600 s t e e l"),
    ("ligth bulbb", "light bulb"),
    ("LIGTH\0steel", "shelf"),
]


def matcher_of(case: str) -> keras.Model:
    """A matcher with weights that are large enough to tell pairs apart."""
    preset, kind, arguments = CASES[case]
    keras.utils.set_random_seed(1)
    size = len(ENCODERS[kind]().vocabulary)
    matcher = build_matcher(preset, vocabulary_size=size, **arguments)
    generator = np.random.default_rng(1)
    matcher.set_weights(
        [w + generator.normal(0, 0.3, w.shape).astype(w.dtype) for w in matcher.get_weights()]
    )
    if matcher.traits is not None:
        # "lights" is not in these vocabularies, so two tokens are given one stem by hand.
        vocabulary = ENCODERS[kind]().vocabulary
        stems = stem_ids(vocabulary)
        stems[vocabulary.index("bulb")] = stems[vocabulary.index("light")]
        matcher.traits.set_tables(
            stems, generator.random(size), generator.integers(0, len(Role), size)
        )
    if matcher.spelling is not None:
        matcher.spelling.set_tables(*spellings(vocabulary, matcher.spelling.dimension))
    if matcher.characters is not None:
        table = characters_of(vocabulary, matcher.characters.most)
        matcher.characters.set_tables(table, generator.random(size))
    return matcher


@pytest.fixture(scope="module", params=list(CASES))
def exported(request, tmp_path_factory) -> tuple[keras.Model, Any, Any, Path]:
    """Matcher, encoder, loaded export and its folder."""
    matcher, encoder = matcher_of(request.param), ENCODERS[CASES[request.param][1]]()
    version = export(matcher, encoder, tmp_path_factory.mktemp("models") / request.param)
    return matcher, encoder, tf.saved_model.load(str(version)), version


def strings(pairs: list[tuple[str, str]]) -> dict[str, tf.Tensor]:
    return {
        side: tf.constant([pair[i] for pair in pairs], tf.string)
        for i, side in enumerate(("query", "document"))
    }


def by_text(loaded: Any, pairs: list[tuple[str, str]]) -> np.ndarray:
    return loaded.signatures["serving_default"](**strings(pairs))["score"].numpy()


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


def test_batching_parameters_are_in_the_version_as_it_appears(tmp_path):
    parameters = Path(__file__).parents[2] / "serving" / "batching_params.pbtxt"
    matcher, encoder = matcher_of("textcnn"), ENCODERS["words"]()
    version = export(matcher, encoder, tmp_path / "m", batching=parameters)
    assert (version / "batching_params.pbtxt").read_bytes() == parameters.read_bytes()
    with pytest.raises(OSError, match="absent"):
        export(matcher, encoder, tmp_path / "m", batching=tmp_path / "absent")
    assert [one.name for one in (tmp_path / "m").iterdir()] == ["1"]


def test_the_keras_graph_remains_as_a_control(tmp_path):
    matcher, encoder = matcher_of("albert"), ENCODERS["wordpiece"]()
    loaded = tf.saved_model.load(str(export(matcher, encoder, tmp_path / "m", graph="keras")))
    expected = matcher(encoder(**strings(PAIRS))).numpy()
    assert by_text(loaded, PAIRS) == pytest.approx(expected, abs=1e-6)


class Halved(TextCnnMatcher):
    """A student of one's own: it halves what is compared, and the packed graph does not know."""

    @staticmethod
    def _compare(hidden, masks, filters, dtype):
        return [0.5 * one for one in TextCnnMatcher._compare(hidden, masks, filters, dtype)]


def test_a_graph_that_scores_otherwise_is_not_published(tmp_path):
    matcher, encoder = matcher_of("textcnn"), ENCODERS["words"]()
    own = Halved(**{k: v for k, v in matcher.get_config().items() if k != "name"})
    own.set_weights(matcher.get_weights())
    with pytest.raises(UserError, match=r"differ from the model's by.*nothing is published"):
        export(own, encoder, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []
    assert export(own, encoder, tmp_path / "m", graph="keras").is_dir()


def test_an_encoder_that_makes_more_than_the_model_reads_is_refused(tmp_path):
    encoder = ENCODERS["wordpiece"]()
    size = len(encoder.vocabulary)
    few = build_matcher("albert_1l_64", vocabulary_size=size - 1)
    with pytest.raises(UserError, match=f"knows {size - 1} tokens, the encoder has {size}"):
        export(few, encoder, tmp_path / "m")
    short = build_matcher("albert_1l_64", vocabulary_size=size, max_sequence_length=8)
    with pytest.raises(UserError, match=f"reads 8 tokens.*up to {encoder.max_tokens}"):
        export(short, encoder, tmp_path / "m")


def test_all_that_is_asked_for_is_warmed_up(tmp_path):
    matcher, encoder = matcher_of("albert"), ENCODERS["wordpiece"]()
    version = export(matcher, encoder, tmp_path / "m", warmup=("led", ["led bulb", "shelf", "a"]))
    requests = [one.predict_log.request for one in read_warmup(version)]
    by_text = [one for one in requests if one.model_spec.signature_name == "serving_default"]
    assert [len(one.inputs["document"].string_val) for one in by_text] == [1, 2, 5, 10, 20, 50, 200]
    (by_ids,) = [one for one in requests if one.model_spec.signature_name == "tokens"]
    assert set(by_ids.inputs) == {"token_ids", "segment_ids"}
    Servable("m", 1, version)  # plays them all


def test_bfloat16_is_near(tmp_path):
    matcher, encoder = matcher_of("albert"), ENCODERS["wordpiece"]()
    version = export(matcher, encoder, tmp_path / "m", precision="bfloat16")
    expected = matcher(encoder(**strings(PAIRS))).numpy()
    difference = np.abs(by_text(tf.saved_model.load(str(version)), PAIRS) - expected)
    assert 1e-6 < difference.max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"graph": "fast"}, "graph 'fast' is unknown; choose one of packed, keras"),
        ({"precision": "int3"}, "precision 'int3' is unknown to graph 'packed'"),
        ({"graph": "keras", "precision": "bfloat16"}, "unknown to graph 'keras'.*float32"),
    ],
)
def test_mistakes_are_named(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        export(matcher_of("albert"), ENCODERS["wordpiece"](), tmp_path / "m", **arguments)
    assert not (tmp_path / "m").exists()


def test_a_textcnn_has_float32_alone(tmp_path):
    with pytest.raises(UserError, match="has no graph in bfloat16; export it with precision"):
        export(matcher_of("textcnn"), ENCODERS["words"](), tmp_path / "m", precision="bfloat16")
