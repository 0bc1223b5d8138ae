"""Every file kind gives the one table, and every bad row one clear line."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdmatch.data.readers import read, read_batches
from kdmatch.data.schema import BadRows, text_id
from kdmatch.errors import UserError

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


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as out:
            delimiter = "," if path.suffix == ".csv" else "\t"
            writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def error_of(path: Path, **arguments) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


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


def test_a_negative_weight_is_a_bad_row(tmp_path):
    rows = [{"query": "q", "document": "d", "weight": w} for w in (1, 0, -2)]
    message = error_of(write(tmp_path / "rows.csv", rows))
    assert "row 3, column 'weight': a weight is 0 or more (found -2.0)" in message


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


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"label": "high"}, ["row 2", "'label'", "not a number", "'high'"]),
        ({"label": "nan"}, ["row 2", "'label'", "not a finite number"]),
        ({"weight": "inf"}, ["row 2", "'weight'", "not a finite number"]),
        ({"f_price": "cheap"}, ["row 2", "'f_price'", "not a number"]),
        ({"query": " "}, ["row 2", "'query'", "empty"]),
        ({"document": ""}, ["row 2", "'document'", "empty"]),
    ],
)
def test_a_bad_value_is_named(tmp_path, suffix, change, parts):
    good = {"query": "q", "document": "d", "label": "1", "weight": "1", "f_price": "2"}
    message = error_of(write(tmp_path / f"rows{suffix}", [good, {**good, **change}, good]))
    assert all(part in message for part in parts), message
    assert "on_bad_row" in message


def test_a_nan_in_parquet_is_named(tmp_path):
    rows = [{"query": "q", "document": "d", "label": label} for label in (1.0, float("nan"))]
    assert "row 2, column 'label'" in error_of(write(tmp_path / "rows.parquet", rows))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("missing", ["query", "document"])
def test_a_missing_column_is_named(tmp_path, suffix, missing):
    row = {"query": "q", "document": "d", "title": "t"}
    del row[missing]
    message = error_of(write(tmp_path / f"rows{suffix}", [row]))
    assert f"no column {missing!r}" in message
    assert "title" in message


def test_a_half_triple_names_its_other_half(tmp_path):
    message = error_of(write(tmp_path / "rows.csv", [{"query": "q", "positive": "d"}]))
    assert "no column 'negative'" in message


def test_two_columns_of_one_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("query,document,query\na,b,c\n")
    assert "two columns are named 'query'" in error_of(path)


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("rows.csv", b"query,document\na,b\nc,d\xff\n", ["row 2", "'document'", "UTF-8"]),
        ("rows.csv", b"query,document\na,b\nc\n", ["row 2", "1 columns instead of 2"]),
        ("rows.csv", b"query,document\na,b\nc,d,e\n", ["row 2", "3 columns instead of 2"]),
        ("rows.csv", b"que\xffry,document\na,b\n", ["header", "UTF-8"]),
        ("rows.csv", b"query,document\n", ["no rows"]),
        ("rows.csv", b"query,document", ["no rows"]),
        ("rows.csv", b"\n", ["no rows"]),
        ("rows.csv", b"", ["empty"]),
        ("rows.parquet", b"query,document\na,b\n", ["not a Parquet file"]),
        ("rows.xlsx", b"x", [".xlsx", ".parquet"]),
        ("rows", b"x", ["suffix"]),
        (
            "rows.jsonl",
            b'{"query": "a", "document": "b"}\n\n{"query": "c", "document": "d\xff"}\n',
            ["row 3", "'document'", "UTF-8"],
        ),
        ("rows.jsonl", b'{"query": "\xff", "document": "b"}\n', ["row 1", "'query'", "UTF-8"]),
        ("rows.jsonl", b'{"query": "a", "document": "b"}\n{"query": \n', ["row 2", "JSON"]),
        ("rows.jsonl", b"[1, 2]\n", ["row 1", "not a JSON object"]),
        ("rows.jsonl", b"\n", ["no rows"]),
        ("rows.jsonl", b"", ["empty"]),
        ("rows.jsonl", b'{"query": "a", "document": "b", "label": [1]}', ["row 1", "'label'"]),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path, name, content, parts, capfd):
    path = tmp_path / name
    path.write_bytes(content)
    message = error_of(path)
    assert all(part in message for part in parts), message
    assert capfd.readouterr().err == ""


def test_a_missing_file_and_an_unknown_choice(tmp_path):
    assert "no such file" in error_of(tmp_path / "rows.csv")
    with pytest.raises(UserError, match=r"'drop'.*'skip'"):
        read(tmp_path / "rows.csv", on_bad_row="drop")


def test_text_of_the_wrong_type(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"query": [["a"]], "document": ["b"]}), path)
    assert "'query'" in error_of(path)


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


def skipped(path: Path, rejects: Path) -> tuple[list[str], list[dict], int]:
    """Documents kept, rejected entries in the order of rows, and their count."""
    bad = BadRows("skip", rejects)
    kept = [d for batch in read_batches(path, bad=bad) for d in batch["document"].to_pylist()]
    entries = [json.loads(line) for line in rejects.read_text("utf-8").splitlines()]
    return kept, sorted(entries, key=lambda entry: entry["row"]), bad.count


def test_bad_csv_rows_are_skipped_counted_and_written(tmp_path):
    path, rejects = tmp_path / "rows.csv", tmp_path / "bad.jsonl"
    path.write_bytes(
        b"query,document,label\na,one,1\nb\nc,,1\nd,two,0\n,,x\ne,three\xff,1\nf,three,nan\ng,four,\n"
    )
    kept, entries, count = skipped(path, rejects)
    assert kept == ["one", "two", "four"]
    assert count == 5
    assert [(entry["row"], entry["column"]) for entry in entries] == [
        (2, "*"),
        (3, "document"),
        (5, "query"),
        (6, "document"),
        (7, "label"),
    ]
    assert {entry["file"] for entry in entries} == {str(path)}
    assert "UTF-8" in entries[3]["reason"]
    assert "nan" in entries[4]["value"]


def test_bad_json_lines_are_skipped_once_each(tmp_path):
    path, rejects = tmp_path / "rows.jsonl", tmp_path / "bad.jsonl"
    path.write_bytes(
        b'{oops\n{"query": "a", "document": "one"}\n\n3\n{"document": "two"}\n'
        b'{"query": "a\xff", "document": "x"}\n{"query": "b", "document": "two", "label": 1}\n'
    )
    kept, entries, count = skipped(path, rejects)
    assert kept == ["one", "two"]
    assert count == 4
    assert [(entry["row"], entry["column"]) for entry in entries] == [
        (1, "*"),
        (4, "*"),
        (5, "query"),
        (6, "query"),
    ]


def test_a_bad_half_of_a_triple_leaves_both_out(tmp_path):
    path, rejects = tmp_path / "rows.csv", tmp_path / "bad.jsonl"
    path.write_text("query,positive,negative\na,one,two\nb,three,\n")
    kept, entries, _ = skipped(path, rejects)
    assert kept == ["one", "two"]
    assert [(entry["row"], entry["column"]) for entry in entries] == [(2, "negative")]


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


def test_a_column_that_begins_late_is_not_lost_silently(tmp_path):
    path = tmp_path / "rows.jsonl"
    line = json.dumps({"query": "q", "document": "d"}) + "\n"
    late = json.dumps({"query": "q", "document": "d", "f_price": 1}) + "\n"
    path.write_text(line * 20_000 + late)
    message = error_of(path)
    assert "row 20001" in message
    assert "'f_price'" in message
    path.write_text(late + line * 20_000)
    assert read(path)["f_price"].null_count == 20_000


def test_a_mapping_to_a_column_that_is_not_there(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("query,document,relevance\nled,bulb,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no column 'relevanse', which is mapped to 'label'"):
        read(path, {"label": "relevanse"})


def test_a_quote_that_is_not_closed_swallows_no_line_of_a_tsv_unseen(tmp_path):
    path, rejects = tmp_path / "rows.tsv", tmp_path / "bad.jsonl"
    path.write_text(
        "query\tdocument\tlabel\na\tone\t1\n"
        'b\t"19 inch monitor\t0\nc\t"24 inch monitor"\t1\n'  # one row, to a reader of quotes
        'd\t"two ""quoted"" words"\t1\n'
    )
    said = error_of(path)
    assert "row 2, column 'document'" in said
    assert "a quote opens it and is not closed before" in said
    kept, entries, count = skipped(path, rejects)
    assert (kept, count) == (["one", 'two "quoted" words'], 1)
    assert "holds 2 lines" in entries[0]["reason"]
    path.write_text('query\tdocument\na\tone\nb\t"19 inch\nc\ttwo\nd\tthree\n')
    assert "a quote opens it" in error_of(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", b"query,document\ra,b\r", "end lines with"),
        ("rows.jsonl", b'{"query": ["led", "bulb"], "document": "x"}', "a list, where a text"),
        ("rows.jsonl", b'{"query": "a", "document": "x", "label": {}}', "an object, where a text"),
        ("rows.csv", b"query,document,label\na,b,1e39\n", "'label': too large for float32"),
        ("rows.csv", b"query,document,f_x\na,b,-1e300\n", "'f_x': too large for float32"),
        ("rows.csv", b"query,document,weight\na,b,1e39\n", "'weight': too large for float32"),
    ],
)
def test_what_would_come_in_as_something_else(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    found = error_of(tmp_path / name)
    assert said in found
    assert "\n" not in found


def test_a_directory_is_called_one(tmp_path):
    (tmp_path / "rows.parquet").mkdir()
    assert "a directory; give one file" in error_of(tmp_path / "rows.parquet")


def test_whole_ids_are_the_same_from_every_kind_of_file(tmp_path):
    rows = [{"query": "a", "document": "b", "query_id": one} for one in (7.0, None, 12.5)]
    ids = [
        read(write(tmp_path / f"rows.{kind}", rows))["query_id"].to_pylist()
        for kind in ("parquet", "csv", "tsv", "jsonl")
    ]
    assert ids == [["7", text_id("a"), "12.5"]] * 4


def test_rows_left_out_of_a_read_are_counted(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("query,document\na,b\n,c\n,d\n")
    with pytest.warns(UserWarning, match="2 bad rows were left out"):
        assert read(path, on_bad_row="skip").num_rows == 1
    with pytest.raises(UserError, match='on_bad_row="skip"'):
        read(path)
