"""Words that no document has, corrected alike in the graph and outside it."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_text")

import tensorflow as tf

from kdmatch.text.speller import Speller
from kdmatch.text.spelling import Spelling, save_spelling
from kdmatch.text.words import PADDING, UNKNOWN, WordEncoder

KNOWN = [
    "kitchen",
    "faucet",
    "lights",
    "light",
    "drill",
    "kohler",
    "café",
    "lamp",
    "mirror",
    "lamptm",
    "ab",
]
CASES = {
    "kitcheen faucet": "kitchen faucet",  # one letter more
    "kichen": "kitchen",  # one fewer
    "kitchan": "kitchen",  # another
    "facuet": "faucet",  # moved
    "mirror mirorr": "mirror mirror",
    "ligth": "light",
    "lampe lamb": "lamp lamb",  # another letter in four is another word
    "kohlers": "kohlers",  # kohler is known, and too rare to be meant
    "koh ler": "koh ler",
    "refrigerator": "refrigerator",  # nothing is near
    "Drlil 60W-kitchne": "drill 60w-kitchen",
    "KOHLER Faucet": "KOHLER Faucet",  # nothing to correct, nothing changed
    "drilé drillé": "drilé drillé",  # not of a to z alone
    "ligh_t": "light_t",  # a run of letters ends where letters do
    "ｆａｃｕｅｔ": "faucet",  # full width is folded, as a vocabulary's words are
    "Lamp™": "Lamp™",
    "": "",
    "  60 !": "  60 !",
    "drll" * 8: "drll" * 8,  # too long for a word
    "浴室 faucett": "浴室 faucet",
}


@pytest.fixture(scope="module")
def spelling() -> Spelling:
    rare = "kohler"
    known = [*(word for word in KNOWN if word != rare), "lamptm"]
    return Spelling([*known, rare], offered=len(known))


@pytest.mark.parametrize(("text", "meant"), CASES.items())
def test_what_was_meant(spelling: Spelling, text: str, meant: str):
    assert spelling.correct(text) == meant


def test_the_graph_corrects_alike(spelling: Spelling):
    speller = tf.function(Speller(spelling))
    texts = list(CASES)
    for text in texts:
        assert speller(tf.constant([text])).numpy()[0].decode() == spelling.correct(text), text
    together = [text.decode() for text in speller(tf.constant(texts)).numpy()]
    assert together == [spelling.correct(text) for text in texts]
    assert speller(tf.constant([], tf.string)).shape == (0,)


def test_random_words_are_corrected_alike():
    generator = np.random.default_rng(0)

    def words(count: int, longest: int) -> list[str]:
        lengths = generator.integers(3, longest, count)
        return ["".join(generator.choice(list("abcd"), length)) for length in lengths]

    spelling = Spelling(list(dict.fromkeys(words(200, 8))), offered=150)
    texts = [" ".join(words(3, 9)) for _ in range(300)]
    found = Speller(spelling)(tf.constant(texts)).numpy()
    assert [text.decode() for text in found] == [spelling.correct(text) for text in texts]
    assert sum(spelling.correct(text) != text for text in texts) > 100


def test_queries_are_corrected_and_documents_are_not():
    vocabulary = [PADDING, UNKNOWN, *"abcdefghijklmnopqrstuvwxyz", "kitchen", "lamp"]
    encoder = WordEncoder(vocabulary, spelling=Spelling(["kitchen", "lamp"], offered=2))
    ids = encoder(tf.constant(["kichen lamp"]), tf.constant(["kichen"]))
    query, document = (ids[name].numpy()[0].tolist() for name in encoder.input_names)
    assert [vocabulary[i] for i in query] == ["kitchen", "lamp"]
    assert [vocabulary[i] for i in document] == list("kichen")


def test_it_is_read_back(spelling: Spelling, tmp_path):
    save_spelling(spelling, tmp_path)
    again = Spelling.load(tmp_path)
    assert again is not None
    assert (list(again.known), again.words) == (list(spelling.known), spelling.words)
    save_spelling(None, tmp_path)
    assert Spelling.load(tmp_path) is None


def test_a_rare_word_of_the_documents_is_right_in_any_collection(monkeypatch):
    """A large one does not keep all its words, but those that would be taken for others."""
    from collections import Counter

    from kdmatch.text import vocabulary

    monkeypatch.setattr(vocabulary, "_KNOWN", 3)
    counts = Counter({"still": 50, "light": 40, "panel": 30, "stihl": 1, "quartz": 1})
    spelling = vocabulary.learn_spelling(counts, Counter())
    assert spelling.correct("stihl saw") == "stihl saw"
    assert spelling.correct("stil saw") == "still saw"
    assert list(spelling.known) == ["still", "light", "panel", "stihl"]
