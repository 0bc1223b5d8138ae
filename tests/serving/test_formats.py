"""Models for ONNX Runtime and OpenVINO, and the tokenizer that goes with them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from kdmatch.errors import UserError
from kdmatch.models.registry import build_matcher
from kdmatch.serving.bulk import score_file
from kdmatch.serving.engines import load_engine
from kdmatch.serving.formats import export_format
from kdmatch.serving.tokenizer import PairTokenizer, write_tokenizer
from kdmatch.text.traits import characters, roles, spellings, stem_ids
from kdmatch.text.wordpiece import SPECIAL_TOKENS, WordPieceEncoder
from kdmatch.text.words import PADDING, UNKNOWN, WordEncoder

LETTERS = list("abcdeghilsté6")
PIECES = [*SPECIAL_TOKENS, *LETTERS, *(f"##{c}" for c in LETTERS), "led", "light", "北", "[", "]"]
WORDS = [PADDING, UNKNOWN, *LETTERS, "北", "京", "大", "学", "-", ".", "led", "light", "北京", "60"]
QUERIES = ["led light", "led light", "北京大学", "", "a", "LED " * 40, "x" * 500 + " led", "led"]
DOCUMENTS = [
    "LED-Light bulb, 60 W.",
    "Café [SEP] led",
    "北京大学生\u3000led\u00a0light",
    "６０ ｌｅｄ",
    "\ufffd\U0001f600 ж\tled\x01light",
    "",
    "light." * 900,
    "Straße led ＣＡＦÉ",
]


def encoder_of(kind: str) -> WordPieceEncoder | WordEncoder:
    if kind == "wordpiece":
        return WordPieceEncoder(PIECES, max_query_tokens=6, max_tokens=20)
    return WordEncoder(WORDS, max_query_words=5, max_document_words=9)


@pytest.mark.parametrize("kind", ["wordpiece", "words"])
def test_the_tokenizer_gives_the_ids_of_the_graph(tmp_path, kind):
    encoder = encoder_of(kind)
    write_tokenizer(encoder, tmp_path)
    expected = encoder(tf.constant(QUERIES), tf.constant(DOCUMENTS))
    ids = PairTokenizer(tmp_path)(QUERIES, DOCUMENTS)
    assert list(ids) == list(encoder.input_names)
    for name, one in expected.items():
        assert ids[name].tolist() == one.numpy().tolist()
        assert ids[name].dtype == np.int32


def test_a_pair_in_the_tokenizer_s_own_template_is_the_same_row(tmp_path):
    from tokenizers import Tokenizer

    encoder = encoder_of("wordpiece")
    write_tokenizer(encoder, tmp_path)
    row = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("led light", "led cab")
    ids = encoder(tf.constant(["led light"]), tf.constant(["led cab"]))
    assert row.ids == ids["token_ids"][0].numpy().tolist()
    assert row.type_ids == ids["segment_ids"][0].numpy().tolist()


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("preset", "kind", "arguments"),
    [
        ("albert_1l_64", "wordpiece", {"hidden_dim": 16, "embedding_dim": 8}),
        ("cnn_attention_64", "words", {"embedding_dim": 8, "filters": 6}),
        (
            "albert_1l_64",
            "wordpiece",
            {
                "hidden_dim": 16,
                **dict.fromkeys(("match_details", "match_coverage"), True),
            },
        ),
        (
            "textcnn_64",
            "words",
            {
                "embedding_dim": 8,
                **dict.fromkeys(("match_details", "match_coverage", "match_characters"), True),
            },
        ),
    ],
)
def test_scores_are_those_of_keras(tmp_path, format, preset, kind, arguments):
    pytest.importorskip({"onnx": "tf2onnx"}.get(format, format))
    pytest.importorskip({"onnx": "onnxruntime"}.get(format, format))
    encoder = encoder_of(kind)
    size = len(encoder.vocabulary)
    matcher = build_matcher(preset, vocabulary_size=size, head_dim=8, **arguments)
    generator = np.random.default_rng(0)
    for weight in matcher.trainable_variables:
        weight.assign_add(generator.normal(0, 0.3, weight.shape))
    if matcher.traits is not None:
        matcher.traits.set_tables(
            *(stem_ids(encoder.vocabulary), generator.random(size)), roles(encoder.vocabulary)
        )
    if matcher.spelling is not None:
        matcher.spelling.set_tables(*spellings(encoder.vocabulary, matcher.spelling.dimension))
    if matcher.characters is not None:
        table = characters(encoder.vocabulary, matcher.characters.most)
        matcher.characters.set_tables(table, generator.random(size))
    # A second takes the place of the first; one case shows that.
    for _ in range(2 if preset == "cnn_attention_64" else 1):
        folder = export_format(matcher, encoder, tmp_path / "m", format)
    # Not before: an export must not need a model that was called.
    expected = matcher(encoder(tf.constant(QUERIES), tf.constant(DOCUMENTS))).numpy()
    assert folder == tmp_path / "m" / format
    assert [path.name for path in (tmp_path / "m").iterdir()] == [format]
    assert np.abs(load_engine(folder)(QUERIES, DOCUMENTS) - expected).max() <= 1e-5

    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"query": QUERIES, "document": DOCUMENTS}), rows)
    texts = [i for i, query in enumerate(QUERIES) if query and DOCUMENTS[i]]
    pq.write_table(pq.read_table(rows).take(texts), rows)
    assert score_file(folder, rows, tmp_path / "scored.parquet", 2) == len(texts)
    scored = pq.read_table(tmp_path / "scored.parquet")["score"].to_numpy()
    assert np.abs(scored - expected[texts]).max() <= 1e-5


def test_mistakes_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="format 'tflite' is unknown; choose one of savedmodel"):
        export_format(None, encoder_of("words"), tmp_path, "tflite")
    with pytest.raises(UserError, match="no exported model here"):
        load_engine(tmp_path)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"no tokenizer here \(encoder\.json is missing\)"):
        PairTokenizer(tmp_path)
