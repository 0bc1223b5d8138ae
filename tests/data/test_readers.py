"""Every file kind gives the one table, however it is written and however long it is."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdmatch.data.readers import read, read_batches
from kdmatch.data.schema import text_id
from kdmatch.errors import UserError

from .row_files import error_of, skipped, write

ROWS = [
    {"query": "led bulb", "document": "bulb, 60 W", "label": 2.5, "query_id": 7, "f_price": 3.5},
    {"query": "led bulb", "document": "tulip\nbulb", "label": None, "query_id": 7, "f_price": None},
    {
        "query": "北京大学",
        "document": 'the "old" café',
        "label": 0.0,
        "query_id": 12,
        "f_price": -1,
    },
]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_every_kind_gives_the_same_table(tmp_path, suffix):
    table = read(write(tmp_path / f"rows{suffix}", ROWS))
    assert table.to_pydict() == {
        "query_id": ["7", "7", "12"],
        "query": ["led bulb", "led bulb", "北京大学"],
        "doc_id": [text_id(row["document"]) for row in ROWS],
        "document": ["bulb, 60 W", "tulip\nbulb", 'the "old" café'],
        "label": [2.5, None, 0.0],
        "weight": [1.0, 1.0, 1.0],
        "f_price": [3.5, None, -1.0],
    }
    assert table.schema.field("label").type == pa.float32()


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_triples_become_pairs(tmp_path, suffix):
    rows = [{"query": "q", "positive": "good", "negative": "bad"}]
    table = read(write(tmp_path / f"rows{suffix}", rows))
    pairs = zip(*(table[name].to_pylist() for name in ("query", "document", "label")), strict=True)
    assert sorted(pairs) == [("q", "bad", 0.0), ("q", "good", 1.0)]
    assert len(set(table["query_id"].to_pylist())) == 1
    assert len(set(table["doc_id"].to_pylist())) == 2


def test_triples_keep_their_weight_and_each_side_has_its_own_id(tmp_path):
    rows = [{"query": "q", "positive": "good", "negative": "bad", "weight": 0.5, "doc_id": "x"}]
    table = read(write(tmp_path / "rows.csv", rows))
    assert table["weight"].to_pylist() == [0.5, 0.5]
    assert set(table["doc_id"].to_pylist()) == {text_id("good"), text_id("bad")}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_columns_are_mapped(tmp_path, suffix):
    rows = [{"title": "d", "q": "x", "relevance": 3, "document": "not this one", "other": "é"}]
    path = write(tmp_path / f"rows{suffix}", rows)
    table = read(path, {"query": "q", "document": "title", "label": "relevance"})
    assert table["document"].to_pylist() == ["d"]
    assert table["label"].to_pylist() == [3.0]
    assert "other" not in table.column_names


def test_missing_ids_come_from_the_text(tmp_path):
    rows = [{"query": q, "document": "d", "query_id": i} for q, i in (("a", ""), ("b", 5))]
    assert read(write(tmp_path / "rows.csv", rows))["query_id"].to_pylist() == [text_id("a"), "5"]
    rows = [{"query": "a", "document": "d", "query_id": i} for i in (None, 5)]
    for name in ("rows.parquet", "rows.jsonl"):
        ids = read(write(tmp_path / name, rows))["query_id"].to_pylist()
        assert ids == [text_id("a"), "5"]
    assert text_id("a") != text_id("b")
    assert text_id("led bulb") == "c7ed2b38650cc67b"  # the same on every machine


def test_a_quoted_field_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b'\xef\xbb\xbf"query","document",label\r\na,"line one\nline, ""two""",1\r\n\r\n"b",c,\r\n'
    )
    table = read(path)
    assert table["query"].to_pylist() == ["a", "b"]
    assert table["document"].to_pylist() == ['line one\nline, "two"', "c"]
    assert table["label"].to_pylist() == [1.0, None]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"query": "a", "document": "b", "label": true}\n')
    assert read(path)["label"].to_pylist() == [1.0]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_a_megabyte_document_passes(tmp_path, suffix):
    document = "word " * 200_000
    rows = [{"query": "q", "document": document}, {"query": "q", "document": "short"}]
    table = read(write(tmp_path / f"rows{suffix}", rows))
    assert table["document"].to_pylist() == [document, "short"]


def test_rows_stream(tmp_path):
    """The first rows come before the end of the file has been looked at."""
    path = tmp_path / "rows.jsonl"
    line = json.dumps({"query": "q", "document": "d"}) + "\n"
    path.write_text(line * 40_000 + "{broken\n")
    batches = read_batches(path)
    first = next(batches)
    assert 0 < first.num_rows < 40_000
    with pytest.raises(UserError, match="row 40001"):
        list(batches)


def test_rows_are_numbered_across_batches(tmp_path):
    path = tmp_path / "rows.parquet"
    documents = ["d"] * 40_000
    documents[35_000] = ""
    pq.write_table(pa.table({"query": ["q"] * 40_000, "document": documents}), path)
    assert "row 35001, column 'document'" in error_of(path)
    path, rejects = tmp_path / "rows.csv", tmp_path / "bad.jsonl"
    path.write_text("query,document\n" + "q,\n" + "q\n" + "q,document\n" * 500_000 + "q\nq,\n")
    kept, entries, _ = skipped(path, rejects)
    assert len(kept) == 500_000
    assert [entry["row"] for entry in entries] == [1, 2, 500_003, 500_004]


def test_whole_ids_are_the_same_from_every_kind_of_file(tmp_path):
    rows = [{"query": "a", "document": "b", "query_id": one} for one in (7.0, None, 12.5)]
    ids = [
        read(write(tmp_path / f"rows.{kind}", rows))["query_id"].to_pylist()
        for kind in ("parquet", "csv", "tsv", "jsonl")
    ]
    assert ids == [["7", text_id("a"), "12.5"]] * 4
