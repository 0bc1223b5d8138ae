"""Texts to vectors by a pre-trained sentence encoder."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from kdmatch.errors import UserError
from kdmatch.models.sentence_encoder import SentenceEncoder


@pytest.fixture(scope="module")
def bert(tmp_path_factory, write_bert) -> str:
    folder = tmp_path_factory.mktemp("bert")
    write_bert(folder, words=40, hidden=8, inside=12, heads=2, layers=1, positions=10)
    return str(folder)


def test_a_text_is_the_mean_of_its_hidden_vectors(bert):
    import keras_hub

    vectors = SentenceEncoder(bert).encode(["A b", "c"])
    backbone = keras_hub.models.BertBackbone.from_preset(bert)
    ids = np.array([[2, 5, 6, 3]])  # [CLS] a b [SEP]
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    hidden = keras.ops.convert_to_numpy(backbone(inputs)["sequence_output"])[0].mean(axis=0)
    assert vectors[0] == pytest.approx(hidden / np.linalg.norm(hidden), abs=1e-5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-6)


def test_texts_longer_than_the_bert_are_cut(bert):
    long, longer = SentenceEncoder(bert).encode(["a b c d e f", "a b c d e f g h i j k l m"])
    assert long == pytest.approx(longer, abs=1e-6)  # six letters and two special tokens
    assert SentenceEncoder(bert).encode([]).shape == (0, 8)


def test_case_is_the_encoders(bert, tmp_path):
    cased = tmp_path / "cased"
    shutil.copytree(bert, cased)
    (cased / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    lower, upper = SentenceEncoder(str(cased)).encode(["a b", "A B"])
    assert np.abs(lower - upper).max() > 1e-3  # it knows small letters alone
    lower, upper = SentenceEncoder(bert).encode(["a b", "A B"])
    assert lower == pytest.approx(upper)


def test_mistakes_are_named(bert, tmp_path, write_bert):
    with pytest.raises(UserError, match=r"components is 9.*have 8"):
        SentenceEncoder(bert).check(9)
    with pytest.raises(UserError, match=r"config\.json is missing"):
        SentenceEncoder(str(tmp_path))
    write_bert(tmp_path, words=40, hidden=8, inside=12, heads=2, layers=1, positions=10)
    Path(tmp_path / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"has no vocab\.txt"):
        SentenceEncoder(str(tmp_path))
