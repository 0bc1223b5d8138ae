"""Made-up queries: new, like those of the log, and none that is held out."""

import pytest

from kdmatch.data.made_queries import made_queries

QUERIES = ["red table lamp", "sofa", "garden hose 50 ft"]
DOCUMENTS = ["Blue sofa cover, 3-seat", "Towel bar in satin nickel", "LED lamp", "!?"]


def test_they_are_new_distinct_seeded_and_no_longer_than_those_asked():
    made = made_queries(QUERIES, DOCUMENTS, 30, seed=1)
    assert len(made) == len(set(made)) == 30
    assert not set(made) & set(QUERIES)
    assert max(len(query.split()) for query in made) == 4
    assert made == made_queries(QUERIES, DOCUMENTS, 30, seed=1)
    assert made != made_queries(QUERIES, DOCUMENTS, 30, seed=2)


def test_documents_and_other_queries_lend_their_words():
    made = made_queries(QUERIES, DOCUMENTS, 40)
    asked, shown = ({word for text in texts for word in text.lower().split()} for texts in (
        QUERIES, DOCUMENTS,
    ))  # fmt: skip
    words = {word for query in made for word in query.split()}
    assert words & (shown - asked)
    assert any(len(set(query.split()) & asked) > 1 for query in made)
    assert words <= asked | shown | {"cover"}  # the comma went


def test_what_is_held_out_is_never_made():
    free = made_queries(["lamp"], ["red lamp"], 10)
    assert set(free) == {"red"}  # of one word, and not "lamp" itself
    assert made_queries(["lamp"], ["red lamp"], 10, avoid=["red"]) == []
    queries, documents = ["old lamp"], ["red lamp"]
    assert {"red lamp", "old"} <= set(made_queries(queries, documents, 20))
    assert not {"red lamp", "old"} & set(
        made_queries(queries, documents, 20, avoid=["Red, lamp!", "(old)"])
    )
    assert "北京" not in made_queries(["大学"], ["北京大学"], 20, avoid=["北 京"])


def test_a_chinese_character_is_a_word():
    made = made_queries(["北京"], ["上海大学LED灯"], 20)
    assert all(1 <= len(query.replace("led", "L").replace(" ", "")) <= 2 for query in made)
    assert "上海" in made
    assert not any(" " in query for query in made)


@pytest.mark.parametrize(("queries", "documents"), [([], ["a"]), (["a"], []), (["!"], ["a"])])
def test_nothing_to_make_them_of(queries: list[str], documents: list[str]):
    assert made_queries(queries, documents, 5) == []


@pytest.mark.parametrize(
    "held_out", ["red lamp", "Red lamp.", "ｒｅｄ lamp", "red-lamp", "red/ lamp"]
)
def test_a_held_out_query_is_not_made_however_it_is_written(held_out: str) -> None:
    assert "red lamp" in made_queries(["blue lamp"], ["red lamp"], 10)
    assert "red lamp" not in made_queries(["blue lamp"], ["red lamp"], 10, avoid=[held_out])
