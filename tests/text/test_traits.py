"""What a vocabulary's tokens are spelled with."""

import numpy as np

from kdmatch.text.traits import spellings


def cosine(vocabulary: list[str], one: str, other: str) -> float:
    vectors = spellings(vocabulary, 512)[0].astype(float)
    a, b = (vectors[vocabulary.index(token)] for token in (one, other))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_near_spellings_are_alike_numbers_and_single_letters_are_not():
    words = ["[PAD]", "toilet", "tolet", "faucet", "60", "65", "a", "b", "北京", "北京大学", "电影"]
    assert cosine(words, "toilet", "tolet") > 0.6
    assert abs(cosine(words, "60", "65")) < 0.2
    assert abs(cosine(words, "a", "b")) < 0.2
    assert cosine(words, "北京", "北京大学") > 0.4
    assert abs(cosine(words, "北京", "电影")) < 0.2


def test_a_piece_has_no_edge_where_its_word_goes_on():
    vectors, continues = spellings(["ab", "##ab"], 512)
    difference = vectors[0].astype(int) - vectors[1]
    whole = spellings(["ab"], 512)[0]
    # ^a and nothing else is missing; the two are told apart by it alone.
    assert 0 < np.abs(difference).sum() < np.abs(whole.astype(int)).sum()
    assert continues.tolist() == [False, True]


def test_two_calls_agree_and_special_tokens_have_no_spelling():
    vocabulary = ["[PAD]", "[UNK]", "\ufffd", "led", "light"]
    first, second = (spellings(vocabulary, 64)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not first[:3].any()
    assert first[3:].any(axis=1).all()
