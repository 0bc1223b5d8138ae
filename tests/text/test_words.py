"""Words inside the graph, and the vocabulary and vectors learnt for them."""

from collections import Counter

import pytest

pytest.importorskip("tensorflow_text")

import numpy as np
import tensorflow as tf

from kdmatch.text.cache import encode_pairs
from kdmatch.text.encoder import load_encoder
from kdmatch.text.vocabulary import build_vocabulary, count_words, train_word2vec
from kdmatch.text.words import PADDING, UNKNOWN, WordEncoder, split_chunks

WORDS = ["北京", "大学", "北京大学", "大学生", "前来", "应聘", "light", "led", "bulb"]
CHARACTERS = sorted(set("".join(WORDS)) | set("生0123456789-,.w"))
VOCABULARY = [PADDING, UNKNOWN, *CHARACTERS, *WORDS]


@pytest.fixture(scope="module")
def encoder() -> WordEncoder:
    return WordEncoder(VOCABULARY, max_query_words=6, max_document_words=12)


def words(encoder: WordEncoder, text: str | bytes) -> list[str]:
    return [VOCABULARY[i] for i in encoder.tokenize(tf.constant([text]))[0].numpy()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("北京大学生前来应聘", "北京大学 生 前来 应聘"),
        ("LED light bulb", "led light bulb"),
        ("lightbulb", "light bulb"),
        ("ledx", f"led {UNKNOWN}"),
        ("北京龘大学", f"北京 {UNKNOWN} 大学"),
        ("zq light", f"{UNKNOWN} {UNKNOWN} light"),
        ("😀led", f"{UNKNOWN} led"),
        ("led,light-bulb", "led , light - bulb"),
        ("60w", "6 0 w"),
        ("ＬＥＤ　６０", "led 6 0"),
        ("led\n\tlight\u00a0bulb\u200b", "led light bulb"),
        ("", ""),
        ("   ", ""),
        ("[PAD]", f"{UNKNOWN} {UNKNOWN} {UNKNOWN} d {UNKNOWN}"),
    ],
)
def test_words_by_hand(encoder, text, expected):
    assert words(encoder, text) == expected.split()


def test_a_number_is_one_word_where_the_vocabulary_has_it():
    encoder = WordEncoder([PADDING, UNKNOWN, "6", "0", "w", "60"])
    assert encoder.tokenize(tf.constant(["60w 606"])).to_list() == [[5, 4, 5, 2]]


def test_digits_letters_and_marks_stand_apart():
    chunks = split_chunks(tf.constant(["Ab12cd 3.5x(北京)"])).to_list()[0]
    assert [c.decode() for c in chunks] == ["ab", "12", "cd", "3", ".", "5", "x", "(", "北京", ")"]


def test_broken_bytes_and_long_texts(encoder):
    assert words(encoder, b"led \xff light") == ["led", UNKNOWN, "light"]
    assert words(encoder, "led " * 250_000) == ["led"] * 12
    wide = WordEncoder(VOCABULARY, max_document_words=3000)
    assert words(wide, "北京" * 5000) == ["北京"] * 3000  # one chunk of 30 kB


def test_sides_apart_cut_padded_and_never_empty(encoder):
    ids = encoder(tf.constant(["led " * 9, ""]), tf.constant(["light " * 20, "bulb"]))
    assert ids["query_ids"].shape == (2, 6)
    assert ids["document_ids"].shape == (2, 12)
    assert not ids["query_ids"].numpy()[1].any()
    assert ids["document_ids"].numpy()[1].tolist() == [VOCABULARY.index("bulb")] + [0] * 11
    assert encoder(tf.constant([""]), tf.constant(["  "]))["query_ids"].numpy().tolist() == [[0]]


def test_batch_mates_and_the_cache_do_not_change_a_row(encoder):
    pairs = [("led", "light bulb 60w"), ("", "北京大学生"), ("a b c d", ""), ("60", "-" * 30)]
    cached = encode_pairs(encoder, [tuple(zip(*p, strict=True)) for p in (pairs[:3], pairs[3:])])
    queries, documents = zip(*pairs, strict=True)
    together = encoder(tf.constant(queries), tf.constant(documents))
    for row, (query, document) in enumerate(pairs):
        alone = encoder(tf.constant([query]), tf.constant([document]))
        for name, tensor in alone.items():
            real = [i for i in tensor.numpy()[0].tolist() if i]
            assert [i for i in together[name].numpy()[row].tolist() if i] == real
            assert [i for i in cached.pad([row])[name][0].tolist() if i] == real


def test_save_and_load(encoder, tmp_path):
    encoder.save(tmp_path)
    loaded = load_encoder(tmp_path)
    text = tf.constant(["北京大学生 led 龘, 60w"])
    assert loaded(text, text)["document_ids"].numpy().tolist() == (
        encoder(text, text)["document_ids"].numpy().tolist()
    )
    assert loaded.max_query_words == 6


def test_every_mark_can_be_in_the_vocabulary():
    marks = [chr(c) for c in range(33, 127) if not chr(c).isalnum()]
    encoder = WordEncoder([PADDING, UNKNOWN, *marks])
    ids = encoder.tokenize(tf.constant(["".join(marks) + "é"]))[0].numpy()
    assert ids.tolist() == [*range(2, 2 + len(marks)), 1]


TEXTS = ["led light bulb", "LED bulb 60 W", "北京大学的大学生", "大学生前来应聘", "北京 light"] * 3


def test_words_are_counted_folded_and_segmented():
    counts = count_words(["LED Light, led", "北京大学 北京大学"])
    assert counts["led"] == 2
    assert counts["light"] == counts[","] == 1
    assert counts["北京大学"] == 2
    assert "LED" not in counts


@pytest.mark.parametrize("size", [4, 12, 30, 1000])
def test_a_vocabulary_is_closed_over_its_characters(size):
    vocabulary = build_vocabulary(count_words(TEXTS), size=size, min_count=1)
    assert vocabulary[:2] == [PADDING, UNKNOWN]
    assert len(vocabulary) <= size
    assert len(set(vocabulary)) == len(vocabulary)
    for word in vocabulary[2:]:
        assert set(word) <= set(vocabulary)
    if size == 1000:
        encoder = WordEncoder(vocabulary)
        assert not (encoder.tokenize(tf.constant(TEXTS)).flat_values.numpy() == 1).any()
        assert {"大学生", "light", "60"} <= set(vocabulary)


def test_rare_words_are_left_out_and_frequent_ones_come_first():
    counts = Counter({"bulb": 9, "light": 5, "blub": 1, "tub": 7, UNKNOWN: 50})
    vocabulary = build_vocabulary(counts, size=100, min_count=2)
    assert vocabulary[-3:] == ["bulb", "tub", "light"]
    assert vocabulary.count(UNKNOWN) == 1


@pytest.fixture(scope="module")
def toy() -> tuple[WordEncoder, list[str]]:
    """Sentences in which `red` and `blue` stand alike, and `cat` and `dog`."""
    generator = np.random.default_rng(0)
    kinds = [
        (["red", "blue"], ["paint", "wall", "brush", "roller"]),
        (["cat", "dog"], ["food", "collar", "bowl", "leash"]),
    ]
    texts = []
    for _ in range(600):
        names, others = kinds[generator.integers(2)]
        texts.append(" ".join([generator.choice(names), *generator.choice(others, 3)]))
    return WordEncoder(build_vocabulary(count_words(texts), 200)), texts


def test_vectors_of_like_words_are_close_and_repeatable(toy):
    encoder, texts = toy
    vectors = train_word2vec(encoder, texts, dimension=16, epochs=30, seed=1)
    assert vectors.shape == (len(encoder.vocabulary), 16)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    red, blue, cat, dog = (unit[encoder.vocabulary.index(w)] for w in ["red", "blue", "cat", "dog"])
    assert red @ blue > max(red @ cat, red @ dog)
    assert cat @ dog > max(cat @ red, cat @ blue)
    again = train_word2vec(encoder, iter(texts), dimension=16, epochs=30, seed=1)
    assert (again == vectors).all()
    assert (train_word2vec(encoder, texts, dimension=16, epochs=30, seed=2) != vectors).any()


def test_vectors_without_text_are_small(toy):
    vectors = train_word2vec(toy[0], [], dimension=8)
    assert vectors.shape == (len(toy[0].vocabulary), 8)
    assert 0 < np.abs(vectors).max() < 0.5
