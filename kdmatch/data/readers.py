"""Rows from Parquet, CSV, TSV and JSON lines, streamed into the one schema."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from kdmatch.data.schema import REQUIRED, TRIPLE, BadRows, conform
from kdmatch.errors import UserError

_BATCH_ROWS = 16_384


def read_batches(
    path: Path, columns: Mapping[str, str] | None = None, bad: BadRows | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream a file's rows, checked, in the dataset's schema.

    Args:
        path: `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.json` (lines); rows are
            `query, document[, label, …]` or triples `query, positive, negative`.
        columns: mapping of the table's column name to the file's.
        bad: BadRows. What happens to rows that fail; default an error.

    Yields:
        pyarrow.RecordBatch, see `kdmatch.data.schema`.

    Raises:
        UserError: if the file is missing, empty, of an unknown kind, lacks a
            column, or holds a bad row that is not to be skipped.
    """
    bad = bad or BadRows()
    renames = {theirs: ours for ours, theirs in (columns or {}).items()}
    row, seen = 1, False
    for raw in _raw_batches(path, bad):
        names = [renames.get(name, name) for name in raw.schema.names]
        raw = raw.rename_columns(names)
        if not seen:
            _require_columns(path, names)
            seen = True
        yield from conform(raw, str(path), row, bad)
        row += raw.num_rows
    if row == 1:
        raise UserError(f"{path}: the file holds no rows; give one with at least a query a line")


def read(
    path: str | Path, columns: Mapping[str, str] | None = None, on_bad_row: str = "error"
) -> pa.Table:
    """A whole file as one table; see `read_batches` for formats and errors."""
    if on_bad_row not in ("error", "skip"):
        raise UserError(f"on_bad_row is {on_bad_row!r}; choose 'error' or 'skip'")
    batches = list(read_batches(Path(path), columns, BadRows(on_bad_row)))  # type: ignore[arg-type]
    return pa.Table.from_batches(batches)


def _require_columns(path: Path, names: list[str]) -> None:
    needed = TRIPLE if "positive" in names or "negative" in names else REQUIRED
    for name in needed:
        if name not in names:
            raise UserError(
                f"{path}: no column {name!r} (it has {', '.join(names)}); rename one, "
                f"or map it with data.columns: {{{name}: YOURS}}"
            )


def _raw_batches(path: Path, bad: BadRows) -> Iterator[pa.RecordBatch]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path in the config")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; give one with at least one row")
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind in (".csv", ".tsv"):
        yield from _delimited(path, "," if kind == ".csv" else "\t", bad)
    elif kind in (".jsonl", ".json", ".ndjson"):
        yield from _json_lines(path, bad)
    else:
        raise UserError(
            f"{path}: unknown kind {kind or 'without a suffix'}; use .parquet, .csv, .tsv or .jsonl"
        )


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        yield from pq.ParquetFile(path).iter_batches(_BATCH_ROWS)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file ({error}); write it again") from error


def _delimited(path: Path, delimiter: str, bad: BadRows) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as lines:
        header = lines.readline()
    try:
        names = header.decode("utf-8-sig").strip().split(delimiter)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the header is not valid UTF-8; save the file as UTF-8") from error
    kinds: dict[str, pa.DataType] = {name.strip('"'): pa.binary() for name in names}

    def wrong(row: pa_csv.InvalidRow) -> str:
        bad.add(
            str(path),
            (row.number or 2) - 1,
            "*",
            f"{row.actual_columns} columns instead of {row.expected_columns}",
            row.text,
        )
        return "skip"

    try:
        reader = pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=1 << 22),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=wrong
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=kinds, check_utf8=False, strings_can_be_null=False
            ),
        )
        yield from reader
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: cannot be read as {path.suffix[1:].upper()}: {error}") from error


def _json_lines(path: Path, bad: BadRows) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            rows.append(_json_row(path, number, line, bad))
            if len(rows) == _BATCH_ROWS:
                yield _from_rows(rows)
                rows = []
    if rows:
        yield _from_rows(rows)


def _json_row(path: Path, number: int, line: bytes, bad: BadRows) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return {"query": line}  # reported as invalid UTF-8 with the other checks
    except json.JSONDecodeError as error:
        bad.add(str(path), number, "*", f"not a JSON object: {error.msg}", line.decode("utf-8"))
        return {}
    if not isinstance(row, dict):
        bad.add(str(path), number, "*", "not a JSON object", row)
        return {}
    return row


def _from_rows(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = ("query", "document", "positive", "negative")
    return pa.RecordBatch.from_arrays(
        [
            pa.array([_as_bytes(row.get(name)) for row in rows], pa.binary())
            if name in text or any(isinstance(row.get(name), (str, bytes)) for row in rows)
            else pa.array([_number(row.get(name)) for row in rows])
            for name in names
        ],
        names=names,
    )


def _as_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass")


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, (int, float)) else value
