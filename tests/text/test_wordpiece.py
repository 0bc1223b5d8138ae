"""BERT's input: the rows KerasHub would pack, and some that it would not."""

import json

import pytest

pytest.importorskip("tensorflow_text")

import numpy as np
import tensorflow as tf

from kdmatch.errors import UserError
from kdmatch.text.cache import encode_pairs
from kdmatch.text.encoder import load_encoder
from kdmatch.text.wordpiece import WordPieceEncoder

VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("led", "light", "bulb", "##s", "60", "w", "cafe", "the", "北", "京", "大", "学"),
    *(".", ",", "-", "/", "(", ")", "!", "'", "$", "8", "##5", "c", "##m", "a", "##a", "??"),
]
PAIRS = [
    ("led light", "LED light bulbs, 60w"),
    ("北京大学", "the 北京 cafe"),
    ("Café", "CAFÉ - cafe\u0301 (the)"),
    ("85cm", "$85 / 60 w!"),
    ("zebra's", "led\tlight\nbulb"),
    ("", "bulb"),
    ("bulb", ""),
    ("[SEP] led", "[PAD] bulb [CLS]"),
    ("led " + "a" * 150, "大😀学"),
]


@pytest.fixture(scope="module")
def encoder() -> WordPieceEncoder:
    return WordPieceEncoder(VOCABULARY, max_query_tokens=8, max_tokens=40)


def encode(encoder, *pairs: tuple[str | bytes, str | bytes]) -> dict[str, np.ndarray]:
    queries, documents = zip(*pairs, strict=True)
    ids = encoder(tf.constant(queries), tf.constant(documents))
    return {name: tensor.numpy() for name, tensor in ids.items()}


def words(ids: np.ndarray) -> str:
    return " ".join(VOCABULARY[i] for i in ids if i)


def test_a_row_by_hand(encoder):
    ids = encode(encoder, ("led light", "LED bulbs"), ("60w", "cafe"))
    assert words(ids["token_ids"][0]) == "[CLS] led light [SEP] led bulb ##s [SEP]"
    assert ids["segment_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]]
    assert words(ids["token_ids"][1]) == "[CLS] [UNK] [SEP] cafe [SEP]"


def test_rows_are_those_of_keras_hub(encoder):
    keras_hub = pytest.importorskip("keras_hub")
    tokenizer = keras_hub.models.BertTokenizer(VOCABULARY, lowercase=True, strip_accents=True)
    packer = keras_hub.layers.MultiSegmentPacker(
        40, tokenizer.cls_token_id, tokenizer.sep_token_id, pad_value=tokenizer.pad_token_id
    )
    queries, documents = zip(*PAIRS, strict=True)
    rows = tf.data.Dataset.from_tensors((list(queries), list(documents)))
    # Inside tf.data both are graphs, as they would be in a served model.
    packed = rows.map(lambda query, document: packer((tokenizer(query), tokenizer(document))))
    token_ids, segment_ids = next(iter(packed))
    ids = encode(encoder, *PAIRS)
    width = ids["token_ids"].shape[1]
    assert (token_ids.numpy()[:, :width] == ids["token_ids"]).all()
    assert (segment_ids.numpy()[:, :width] == ids["segment_ids"]).all()
    assert not token_ids.numpy()[:, width:].any()


def test_marks_without_a_shape_are_left_out(encoder):
    ids = encode(encoder, ("led\u00a0light", "bu\u200blb\x00 the bulb\u00ad"))
    assert words(ids["token_ids"][0]) == "[CLS] led light [SEP] bulb the bulb [SEP]"


def test_special_tokens_in_a_text_are_text(encoder):
    ids = encode(encoder, ("[SEP] led", "[PAD] bulb [CLS]"))["token_ids"][0].tolist()
    assert ids.count(VOCABULARY.index("[SEP]")) == 2
    assert ids.count(VOCABULARY.index("[CLS]")) == 1
    assert 0 not in ids


def test_the_query_stays_whole_and_the_document_is_cut():
    encoder = WordPieceEncoder(VOCABULARY, max_query_tokens=4, max_tokens=10)
    long = "bulb " * 50
    ids = encode(encoder, ("led light", long), ("the " * 6, long), (long, "led"))
    assert ids["token_ids"].shape == (3, 10)
    assert [words(row) for row in ids["token_ids"]] == [
        "[CLS] led light [SEP] bulb bulb bulb bulb bulb [SEP]",
        "[CLS] the the the the [SEP] bulb bulb bulb [SEP]",
        "[CLS] bulb bulb bulb bulb [SEP] led [SEP]",
    ]


def test_batch_mates_do_not_change_a_row(encoder):
    together = encode(encoder, *PAIRS)
    for row, pair in enumerate(PAIRS):
        alone = encode(encoder, pair)
        for name, ids in alone.items():
            width = ids.shape[1]
            assert (together[name][row, :width] == ids[0]).all()
            assert not together[name][row, width:].any()


def test_broken_bytes_and_a_megabyte(encoder):
    ids = encode(
        encoder, (b"led \xff\xfe", b"\xc3"), ("led", "bulb " * 200_000), ("a" * 10**6, "light")
    )
    rows = [words(row) for row in ids["token_ids"]]
    assert rows[0].startswith("[CLS] led ")
    assert rows[1] == "[CLS] led [SEP] " + "bulb " * 36 + "[SEP]"
    assert rows[2] == "[CLS] [UNK] [SEP] light [SEP]"


def test_case_and_accents_count_when_cased():
    encoder = WordPieceEncoder(VOCABULARY, lower_case=False, max_query_tokens=8, max_tokens=40)
    ids = encode(encoder, ("led LED", "cafe café"))["token_ids"][0]
    assert words(ids) == "[CLS] led [UNK] [SEP] cafe [UNK] [SEP]"


def test_save_and_load(encoder, tmp_path):
    encoder.save(tmp_path / "wordpiece")
    loaded = load_encoder(tmp_path / "wordpiece")
    for one, other in zip(
        encode(encoder, *PAIRS).values(), encode(loaded, *PAIRS).values(), strict=True
    ):
        assert (one == other).all()
    settings = json.loads((tmp_path / "wordpiece" / "encoder.json").read_text())
    assert settings["max_tokens"] == loaded.max_tokens == 40


def test_cached_ids_are_the_encoders_row_by_row(encoder):
    batches = [tuple(zip(*part, strict=True)) for part in (PAIRS[:4], PAIRS[4:])]
    cached = encode_pairs(encoder, batches)
    assert len(cached) == len(PAIRS)
    for row, pair in enumerate(PAIRS):
        for name, ids in encode(encoder, pair).items():
            padded = cached.pad([row])[name][0]
            assert (padded[: ids.shape[1]] == ids[0]).all()
            assert not padded[ids.shape[1] :].any()
    assert len(encode_pairs(encoder, [])) == 0


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"vocabulary": ["[PAD]", "[UNK]", "[CLS]", "led"]}, r"\[SEP\]"),
        ({"vocabulary": ["led", *VOCABULARY]}, r"\[PAD\] as its first line"),
        ({"vocabulary": []}, r"\[PAD\]"),
        ({"max_tokens": 10, "max_query_tokens": 8}, "max_tokens is 10"),
    ],
)
def test_settings_that_cannot_work(change, part):
    with pytest.raises(UserError, match=part):
        WordPieceEncoder(**{"vocabulary": VOCABULARY, **change})


def test_no_encoder_in_the_folder(tmp_path):
    with pytest.raises(UserError, match="no encoder here"):
        load_encoder(tmp_path)
