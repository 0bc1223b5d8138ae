"""Text features: values worked out by hand, independence of rows, round trips."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors

from kdmatch.data.language import detect_language
from kdmatch.errors import UserError
from kdmatch.teachers.analysis import analyse
from kdmatch.teachers.features import TextFeatures
from kdmatch.teachers.grams import GRAM_NAMES, gram_rows
from kdmatch.teachers.nearest import EMBEDDING_NAMES, NearestSpelling
from kdmatch.teachers.overlap import OVERLAP_NAMES
from kdmatch.teachers.pairs import PAIR_NAMES
from kdmatch.teachers.spelling import Speller, edit_distance
from kdmatch.text.letters import letter_pairs

DOCUMENTS = [
    "red towel bar",
    "blue towel ring",
    "KOHLER 24 in. StainlessSteel Towel Bar in White",
    "60-Watt light bulb (4-Pack)",
    "carpet cleaner shampoo 1/2 gal.",
    "carpet shampoo machine",
    "carpet tile and shampoo for vinyl",
    "vinyl plank",
]


@pytest.fixture(scope="module")
def features() -> TextFeatures:
    return TextFeatures.fit(DOCUMENTS, language="en")


def value(features: TextFeatures, query: str, document: str, name: str) -> float:
    return float(features.transform([query], [document])[0, features.names.index(name)])


def test_overlap_by_hand(features: TextFeatures) -> None:
    pair = ("towel bar", "red towel bar")
    assert value(features, *pair, "word_cover") == 1
    assert value(features, *pair, "word_doc_cover") == pytest.approx(2 / 3)
    assert value(features, *pair, "word_jaccard") == pytest.approx(2 / 3)
    assert value(features, *pair, "word_first_position") == pytest.approx(1 / 3)
    assert value(features, *pair, "word_span") == 2
    assert value(features, *pair, "word_bigrams") == 1
    assert value(features, *pair, "word_ordered") == 1
    assert value(features, *pair, "contains_query") == 1
    assert value(features, *pair, "word_doc_first") == 0
    assert value(features, *pair, "word_doc_last") == 1
    assert value(features, *pair, "substring") == 1


def test_order_of_words_shows(features: TextFeatures) -> None:
    assert value(features, "bar towel", "red towel bar", "word_cover") == 1
    assert value(features, "bar towel", "red towel bar", "word_ordered") == 0
    assert value(features, "bar towel", "red towel bar", "word_subsequence") == 0.5
    assert value(features, "bar towel", "red towel bar", "contains_query") == 0


def test_bm25_by_hand(features: TextFeatures) -> None:
    idf = math.log(1 + (8 - 3 + 0.5) / (3 + 0.5))  # towel stands in 3 of 8 documents
    average = features.collection.words / 8
    expected = idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 3 / average))
    assert value(features, "towel", "red towel bar", "word_bm25") == pytest.approx(expected)
    assert value(features, "towel lamp", "red towel bar", "word_missing") == 1
    assert value(features, "towel", "blue towel ring", "word_matched_idf_max") == pytest.approx(idf)


def test_character_grams_by_hand(features: TextFeatures) -> None:
    # "abcd" has ab, bc, cd; "abcx" has ab, bc, cx: two common of four
    assert value(features, "abcd", "abcx", "gram2_cover") == pytest.approx(2 / 3)
    assert value(features, "abcd", "abcx", "gram2_jaccard") == pytest.approx(0.5)
    assert gram_rows(["", "a", "abab"], 2).getnnz(axis=1).tolist() == [0, 0, 2]


def test_numbers_and_units(features: TextFeatures) -> None:
    assert analyse('4" pipe', "en").measures == analyse("4 inch pipe", "en").measures
    assert analyse("60w bulb", "en").measures == analyse("60-Watt bulb", "en").measures
    assert ("0.5", "gallon") in analyse("1/2 gal.", "en").measures
    assert ("30.5", "inch") in analyse("30-1/2 in. sink", "en").measures
    bulb = "60-Watt light bulb (4-Pack)"
    assert value(features, "60w bulb", bulb, "measures_matched") == 1
    assert value(features, "60 bulb", bulb, "numbers_matched") == 1
    assert value(features, "75w bulb", bulb, "numbers_missing") == 1
    assert value(features, "75w bulb", bulb, "numbers_conflicting") == 1


def test_cleaning() -> None:
    title = "KOHLER 24 in. StainlessSteel Towel Bar in White &amp; Gold<br>"
    analysis = analyse(title, "en")
    assert analysis.words[3:5] == ("stainless", "steel")
    assert analysis.words[analysis.head] == "bar"
    assert "br" not in analysis.words
    assert analyse("34x60 in. door", "en").words == ("34", "60", "inch", "door")
    assert analyse("3-in-1 tool", "en").words == ("3in1", "tool")
    assert analyse("the", "en").words == ("the",)


def test_misspelled_and_glued_queries(features: TextFeatures) -> None:
    assert edit_distance("shmapoo", "shampoo") == 1
    assert edit_distance("abc", "") == 3
    assert value(features, "carpetshampoo", "carpet shampoo machine", "word_cover") == 1
    assert value(features, "vynil plank", "vinyl plank", "word_cover") == 1
    assert value(features, "vynil plank", "vinyl plank", "query_corrected") == 1
    assert value(features, "vinyl plank", "vinyl plank", "query_corrected") == 0
    assert Speller({"vinyl": 9}).correct(["vinyl", "zzzzzz", "42"]) == {}


def test_the_nearest_spelling_by_hand() -> None:
    words = ["lamp", "lamps", "plank"]
    near = NearestSpelling(words)
    query, document = np.array([[0, 2, -1]]), np.array([[1, 2]])
    hit = np.array([[False, True, False]])
    pairs = [letter_pairs(word) for word in words]
    dice = 2 * len(pairs[0] & pairs[1]) / (len(pairs[0]) + len(pairs[1]))
    assert near.best(query, document, hit)[0, :2] == pytest.approx([dice, 1.0])
    assert 0.5 < dice < 1


def test_rows_do_not_depend_on_their_neighbours(features: TextFeatures) -> None:
    queries = ["towel bar", "60w bulb", "carpet", "x" * 300, "vynil", "red towel rings 24 in"] * 3
    documents = [*DOCUMENTS, *DOCUMENTS[:7], "a very long " * 300, "b", "?!"]
    together = features.transform(queries, documents)
    order = np.random.default_rng(0).permutation(len(queries))
    shuffled = features.transform([queries[i] for i in order], [documents[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], rtol=1e-5, atol=1e-6)
    alone = np.concatenate(
        [features.transform([q], [d]) for q, d in zip(queries, documents, strict=True)]
    )
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("query", ["zzz qqq", "?", "", "42", "&"])
def test_no_overlap_is_finite(features: TextFeatures, query: str) -> None:
    rows = features.transform([query] * 3, ["red towel bar", "", "!!"])
    assert rows.shape == (3, len(features.names))
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("M12 Volt drill", "m12 volt drill"),
        ("HZ10 5/16 in. plank", "hz10 0.3125 inch plank"),
        ("8'x10' rug", "8 foot 10 foot rug"),
        ("8' x 10' rug", "8 foot 10 foot rug"),
        ('12"x12" tile', "12 inch 12 inch tile"),
        ("36x80 door", "36 80 door"),
    ],
)
def test_a_number_is_whole_or_part_of_a_word(text: str, words: str) -> None:
    assert " ".join(word for word in analyse(text, "en").words if word != "x") == words


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("第三季", "第3季"),
        ("第十二集", "第12集"),
        ("第一百二十集", "第120集"),
        ("第一百零五集", "第105集"),
        ("第两千集", "第2000集"),
        ("第二三十名", "第二三十名"),
        ("第一万名", "第一万名"),
    ],
)
def test_ordinals_are_numbers(written: str, meant: str) -> None:
    assert analyse(written, "zh").text == meant


def test_chinese() -> None:
    documents = ["爱情公寓第三季第5集高清", "小猫头像", "天龙八部 第5集", "爱情故事"]
    assert detect_language(documents) == "zh"
    features = TextFeatures.fit(documents)
    assert features.language == "zh"
    assert analyse("第十二集", "zh").measures == {("12", "集")}
    assert value(features, "爱情公寓", documents[0], "char_cover") == 1
    assert value(features, "爱情公寓", documents[3], "char_cover") == 0.5
    assert value(features, "爱情公寓第5集", documents[0], "measures_matched") == 1
    assert value(features, "爱情公寓第7集", documents[0], "numbers_missing") == 1
    assert np.isfinite(features.transform(["猫"], ["abc"])).all()


def test_embeddings(tmp_path: Path) -> None:
    vectors = KeyedVectors(2)
    vectors.add_vectors(["lamp", "light", "towel"], np.array([[1, 0], [1, 0], [0, 1.0]]))
    features = TextFeatures.fit(DOCUMENTS, language="en").with_vectors(vectors)
    assert value(features, "lamp", "light", "vector_best_mean") == pytest.approx(1)
    assert value(features, "lamp", "towel", "vector_best_mean") == pytest.approx(0)
    assert value(features, "unseen", "unseen", "vector_best_min") == pytest.approx(1)
    features.save(tmp_path / "features")
    loaded = TextFeatures.load(tmp_path / "features")
    pairs = (["lamp towel", "vynil"], ["light", "vinyl plank"])
    np.testing.assert_array_equal(features.transform(*pairs), loaded.transform(*pairs))


def test_save_and_load(features: TextFeatures, tmp_path: Path) -> None:
    features.save(tmp_path / "features.npz")
    loaded = TextFeatures.load(tmp_path / "features.npz")
    assert loaded.names == features.names
    queries = ["towel bar", "60w blub", "vynil"]
    np.testing.assert_array_equal(
        features.transform(queries, DOCUMENTS[:3]), loaded.transform(queries, DOCUMENTS[:3])
    )


def test_a_huge_document_is_one_row(features: TextFeatures) -> None:
    assert np.isfinite(features.transform(["towel bar"], ["towel bar " * 100_000])).all()
    # A pattern that tries again at each digit would take hours for this.
    assert np.isfinite(features.transform(["towel bar"], ["1" * 1_000_000])).all()


def test_every_feature_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "gbdt_features.md").read_text("utf-8")
    told = set(re.findall(r"`([a-z_0-9]+)`", page))
    names = [*OVERLAP_NAMES, *PAIR_NAMES, *EMBEDDING_NAMES]
    names += [name.split("_", 1)[1] for name in GRAM_NAMES]
    assert not set(names) - told


def test_mistakes_are_said() -> None:
    with pytest.raises(UserError, match="language 'fr'"):
        TextFeatures.fit(DOCUMENTS, language="fr")
    with pytest.raises(UserError, match="no documents"):
        TextFeatures.fit([])
