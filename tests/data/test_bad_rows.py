"""Every bad row or file gives one clear line, or is skipped, counted and written down."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdmatch.data.readers import read
from kdmatch.errors import UserError

from .row_files import error_of, skipped, write


def test_a_negative_weight_is_a_bad_row(tmp_path):
    rows = [{"query": "q", "document": "d", "weight": w} for w in (1, 0, -2)]
    message = error_of(write(tmp_path / "rows.csv", rows))
    assert "row 3, column 'weight': a weight is 0 or more (found -2.0)" in message


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


@pytest.mark.parametrize("header", ["query,document,label,,", "note,query,document,note,label"])
def test_columns_that_are_not_read_may_share_a_name(tmp_path, header):
    path = tmp_path / "rows.csv"
    cells = {"query": "q", "document": "d", "label": "2"}
    path.write_text(f"{header}\n{','.join(cells.get(name, '') for name in header.split(','))}\n")
    assert read(path).select(["query", "label"]).to_pylist() == [{"query": "q", "label": 2.0}]


def test_a_row_of_too_many_columns_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"query,document\nd,e\na\xff,b,c\n")
    with pytest.raises(UserError, match="row 2 has 3 columns instead of 2, and is not valid UTF-8"):
        read(path, on_bad_row="skip")


@pytest.mark.parametrize(
    ("name", "text"), [("rows.csv", "query,document,label\na,b,c,1\n"), ("rows.jsonl", "no\nno\n")]
)
def test_a_file_of_bad_rows_alone_does_not_pass_for_an_empty_one(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"none of its [12] rows can be read, all were skipped"):
        read(tmp_path / name, on_bad_row="skip")


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


def test_rows_left_out_of_a_read_are_counted(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("query,document\na,b\n,c\n,d\n")
    with pytest.warns(UserWarning, match="2 bad rows were left out"):
        assert read(path, on_bad_row="skip").num_rows == 1
    with pytest.raises(UserError, match='on_bad_row="skip"'):
        read(path)
