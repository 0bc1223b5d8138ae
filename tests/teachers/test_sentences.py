"""What a sentence encoder tells the GBDT of a pair."""

import shutil

import numpy as np
import pytest

from kdmatch.errors import UserError
from kdmatch.models.sentence_encoder import SentenceEncoder
from kdmatch.teachers.inputs import GbdtInputs
from kdmatch.teachers.sentences import SentenceFeatures

DOCUMENTS = ["a b c", "c d", "e f g h i j", "k", "a b", "z y x w"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory, write_bert) -> str:
    folder = tmp_path_factory.mktemp("bert")
    write_bert(folder, words=40, hidden=8, inside=12, heads=2, layers=1, positions=10)
    return str(folder)


@pytest.fixture(scope="module")
def features(bert) -> SentenceFeatures:
    return SentenceFeatures.fit(bert, DOCUMENTS, components=3)


def test_features_by_hand(bert, features):
    queries, documents = ["a b", "k"], ["c d", "k"]
    rows = features.transform(queries, documents)
    found = {name: rows[:, i] for i, name in enumerate(features.names)}
    assert len(features.names) == 1 + 4 * 3
    q, d = (SentenceEncoder(bert).encode(side) for side in (queries, documents))
    assert found["sentence_cosine"] == pytest.approx((q * d).sum(axis=1), abs=2e-3)
    assert found["sentence_cosine"][1] == pytest.approx(1.0, abs=2e-3)
    a, b = found["sentence_query_0"], found["sentence_document_0"]
    assert found["sentence_product_0"] == pytest.approx(a * b, abs=1e-6)
    assert found["sentence_distance_0"] == pytest.approx(np.abs(a - b), abs=1e-6)
    # The first direction is that along which documents differ most.
    spread = [
        features.transform(DOCUMENTS, DOCUMENTS)[:, features.names.index(f"sentence_query_{i}")]
        for i in range(3)
    ]
    variance = [one.var() for one in spread]
    assert variance == sorted(variance, reverse=True)


def test_a_row_depends_on_its_pair_alone_and_survives_saving(bert, features, tmp_path):
    """Vectors that are known and those computed anew are the same."""
    queries, documents = ["q r", "a b c", ""], ["c d", "never seen", "k"]
    rows = features.transform(queries, documents)
    for i, pair in enumerate(zip(queries, documents, strict=True)):
        assert features.transform(*([side] for side in pair))[0] == pytest.approx(rows[i], abs=2e-3)
    features.save(tmp_path / "sentences.npz")
    loaded = SentenceFeatures.load(tmp_path / "sentences.npz", bert)
    assert loaded.names == features.names
    assert np.array_equal(loaded.transform(queries, documents), rows)
    assert features.transform([], []).shape == (0, len(features.names))


def test_more_directions_than_the_encoder_has_are_refused(bert):
    with pytest.raises(UserError, match=r"components is 9.*have 8"):
        SentenceFeatures.fit(bert, DOCUMENTS, components=9)


def test_what_is_known_is_not_read_again(features, monkeypatch):
    read: list[str] = []
    encode = SentenceEncoder.encode

    def spy(self, texts, advance=None):
        read.extend(texts)
        return encode(self, texts, advance)

    monkeypatch.setattr(SentenceEncoder, "encode", spy)
    features.transform(["a b", "new", "new"], ["c d", "k", "c d"])
    assert read == ["new"]


def test_training_queries_are_read_once_and_move_no_direction(features, bert, monkeypatch):
    queries = ["a b", "long query of many words"]
    told = SentenceFeatures.fit(bert, DOCUMENTS, components=3, queries=queries)
    pairs = queries, DOCUMENTS[:2]
    expected = features.transform(*pairs)
    monkeypatch.setattr(SentenceEncoder, "encode", lambda *_: pytest.fail("read again"))
    assert told.transform(*pairs) == pytest.approx(expected, abs=2e-3)


def test_inputs_put_sentences_after_the_words(bert, tmp_path):
    inputs = GbdtInputs.fit(DOCUMENTS, ["a"], "en", sentences=bert, components=2)
    rows = inputs.transform(["a b"], ["a b c"])
    assert rows.shape == (1, len(inputs.names))
    assert inputs.names[-9] == "sentence_cosine"
    inputs.save(tmp_path)
    again = GbdtInputs.load(tmp_path, bert)
    assert np.array_equal(again.transform(["a b"], ["a b c"]), rows)
    plain = GbdtInputs.fit(DOCUMENTS, ["a"], "en")
    assert inputs.names[: len(plain.names)] == plain.names


def test_vectors_of_two_encoders_are_not_compared(features, bert, tmp_path):
    """The encoder may lie elsewhere, but must be what the known vectors are of."""
    features.save(tmp_path / "sentences.npz")
    moved = tmp_path / "moved"
    shutil.copytree(bert, moved)
    queries, documents = ["q r"], ["c d"]
    elsewhere = SentenceFeatures.load(tmp_path / "sentences.npz", str(moved))
    expected = features.transform(queries, documents)
    assert np.array_equal(elsewhere.transform(queries, documents), expected)
    (moved / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    other = SentenceFeatures.load(tmp_path / "sentences.npz", str(moved))
    with pytest.raises(UserError, match=r"moved is not the encoder .* tokenizer_config\.json"):
        other.transform(queries, documents)
    assert np.array_equal(
        other.transform(["a b"], ["k"]), features.transform(["a b"], ["k"])
    )  # both known
    gone = SentenceFeatures.load(tmp_path / "sentences.npz", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"gbdt\.sentences: .*gone is not a Hugging Face"):
        gone.transform(queries, documents)
