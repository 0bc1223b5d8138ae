"""Ids made outside TensorFlow are those made in the graph."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_text")

import tensorflow as tf

from kdmatch.serving.tokenizer import PairTokenizer, write_tokenizer
from kdmatch.text.spelling import Spelling
from kdmatch.text.wordpiece import WordPieceEncoder
from kdmatch.text.words import WordEncoder

WORDPIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("led", "light", "bulb", "##s", "60", "w", "cafe", "the", "北", "京", "大", "学"),
    *(".", ",", "-", "/", "(", ")", "!", "'", "$", "8", "##5", "c", "##m", "a", "##a"),
]
WORDS = [
    *("[PAD]", "\ufffd", "led", "light", "bulb", "bulbs", "60", "北京", "北京大学", "大学"),
    *("生", "北", "京", "大", "学", "-", "/", "(", ")", "!", "%", "]", "^", "\\", "é"),
    *"abcdefghijklmnopqrstuvwxyz0123456789",
]
PAGES = [
    ("led light", ["LED light bulbs, 60w", "", "北京大学", "led"]),
    ("北京大学生", ["北京 大学", "大😀学 (LED)", "the 北京 cafe"]),
    ("Café 85cm", ["CAFÉ - cafe\u0301 (the)", "$85 / 60w!", "100% ^ ] \\ -"]),
    ("", ["bulb", "led\tlight\nbulb", "zebra's  ＬＥＤ　６０"]),
    ("a " * 40, ["led " * 60, "x\u200by\u00a0z", "ab1c22d"]),
    ("LIGTH-bulbbs 60wat", ["ligth bulb", "light"]),
    ("lighté bubls² ligthٔ", ["light"]),
    # What has no width is taken away, and words are joined over it.
    ("led\ufe0f 北\u200b京", ["北\u00ad京大\u200d学", "6\ufeff0 led\ufe0fbulb"]),
]
SPELLING = Spelling(["light", "bulbs", "watt", "rare"], offered=3)


@pytest.mark.parametrize("kind", ["wordpiece", "words"])
def test_the_same_rows_as_in_the_graph(kind, tmp_path):
    if kind == "wordpiece":
        encoder = WordPieceEncoder(WORDPIECES, max_query_tokens=8, max_tokens=24, spelling=SPELLING)
    else:
        encoder = WordEncoder(WORDS, max_query_words=8, max_document_words=16, spelling=SPELLING)
    write_tokenizer(encoder, tmp_path)
    tokenizer = PairTokenizer(tmp_path)
    for query, documents in PAGES:
        want = encoder(tf.constant([query] * len(documents)), tf.constant(documents))
        found = tokenizer([query] * len(documents), documents)
        assert found.keys() == want.keys()
        for name, ids in found.items():
            assert ids.dtype == np.int32
            np.testing.assert_array_equal(ids, want[name].numpy(), err_msg=f"{query!r}, {name}")


def test_no_documents(tmp_path):
    write_tokenizer(WordPieceEncoder(WORDPIECES), tmp_path)
    ids = PairTokenizer(tmp_path)([], [])
    assert ids["token_ids"].shape[0] == 0
