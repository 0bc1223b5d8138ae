"""Rows from Parquet, CSV, TSV and JSON lines, streamed into the one schema."""

import json
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.delimited import NumberedRows, delimited_batches
from kdmatch.data.schema import REQUIRED, TRIPLE, BadRows, conform
from kdmatch.errors import UserError

_BATCH_ROWS = 16_384
_NAMES = {*REQUIRED, *TRIPLE, "query_id", "doc_id", "label", "weight"}


def read_batches(
    path: Path,
    columns: Mapping[str, str] | None = None,
    bad: BadRows | None = None,
    optional: Collection[str] = (),
    ignored: Collection[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Stream a file's rows, checked, in the dataset's schema.

    Args:
        path: `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.json` (lines); rows are
            `query, document[, label, …]` or triples `query, positive, negative`.
        columns: mapping of the table's column name to the file's.
        bad: BadRows. What happens to rows that fail; default an error.
        optional: names in `columns` that the file may lack.
        ignored: columns of the table that are not read where the file has them.

    Yields:
        pyarrow.RecordBatch, see `kdmatch.data.schema`.

    Raises:
        UserError: if the file is missing, empty, of an unknown kind, lacks a
            column, or holds a bad row that is not to be skipped.
    """
    bad = bad or BadRows()
    renames = {theirs: ours for ours, theirs in (columns or {}).items()}
    seen, skipped = False, bad.count
    for rows, raw in _raw_batches(path, renames, bad):
        raw = _renamed(path, raw, renames)
        # By place: columns that are not the table's may share a name.
        raw = raw.select([i for i, name in enumerate(raw.schema.names) if name not in ignored])
        if not seen:
            mapped = {k: v for k, v in (columns or {}).items() if k not in optional}
            _require_columns(path, raw.schema.names, mapped)
        seen = seen or raw.num_rows > 0
        yield from conform(raw, str(path), rows, bad)
    if not seen:
        if left := bad.count - skipped:
            where = f"; see {bad.path}" if bad.path is not None else ""
            raise UserError(f"{path}: none of its {left} rows can be read, all were skipped{where}")
        raise UserError(f"{path}: the file holds no rows; give one with at least a query a line")


def read(
    path: str | Path, columns: Mapping[str, str] | None = None, on_bad_row: str = "error"
) -> pa.Table:
    """A whole file as one table; see `read_batches` for formats and errors.

    Args:
        path: str or Path.
        columns: mapping of the table's column name to the file's.
        on_bad_row: str. "error", or "skip", which warns of how many were left out.

    Returns:
        pyarrow.Table of `query_id, query, doc_id, document` (string), `label, weight` and
        any `f_*` and `score_*` (float32); ids are made from the text where there are none.
    """
    if on_bad_row not in ("error", "skip"):
        raise UserError(f"on_bad_row is {on_bad_row!r}; choose 'error' or 'skip'")
    bad = BadRows(on_bad_row, skip_by='on_bad_row="skip"')  # type: ignore[arg-type]
    table = pa.Table.from_batches(list(read_batches(Path(path), columns, bad)))
    if bad.count:
        warnings.warn(f"{path}: {bad.count} bad rows were left out", stacklevel=2)
    return table


def _renamed(path: Path, raw: pa.RecordBatch, renames: Mapping[str, str]) -> pa.RecordBatch:
    """The table's columns of a raw batch; a mapped one goes before one of the same name."""
    theirs = raw.schema.names
    mapped = {renames[name] for name in theirs if name in renames}
    kept = [
        (place, renames.get(name, name))
        for place, name in enumerate(theirs)
        if name in renames or name not in mapped
    ]
    names = [name for _, name in kept]
    for name in names:
        if _of_table(name) and names.count(name) > 1:
            raise UserError(f"{path}: two columns are named {name!r}; rename one")
    return raw.select([place for place, _ in kept]).rename_columns(names)


def _of_table(name: str) -> bool:
    return name in _NAMES or name.startswith(("f_", "score_"))


def _require_columns(path: Path, names: list[str], columns: Mapping[str, str]) -> None:
    triples = "document" not in names and ("positive" in names or "negative" in names)
    needed = TRIPLE if triples else REQUIRED
    for name in needed:
        if name not in names:
            raise UserError(
                f"{path}: no column {name!r} (it has {', '.join(names)}); rename one, "
                f"or map it with data.columns: {{{name}: YOURS}} in a config, --column {name}=YOURS"
            )
    for name, theirs in columns.items():
        if name not in names:
            raise UserError(
                f"{path}: no column {theirs!r}, which is mapped to {name!r} "
                f"(it has {', '.join(names)}); mend the name"
            )


def _raw_batches(path: Path, renames: Mapping[str, str], bad: BadRows) -> Iterator[NumberedRows]:
    """Batches as the file has them, each with the numbers of its rows, from 1."""
    if path.is_dir():
        raise UserError(f"{path}: a directory; give one file, its parts joined")
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; give one with at least one row")
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind in (".csv", ".tsv"):
        yield from delimited_batches(path, "," if kind == ".csv" else "\t", bad)
    elif kind in (".jsonl", ".json", ".ndjson"):
        yield from _json_lines(path, renames, bad)
    else:
        raise UserError(
            f"{path}: unknown kind {kind or 'without a suffix'}; use .parquet, .csv, .tsv or .jsonl"
        )


def _parquet(path: Path) -> Iterator[NumberedRows]:
    try:
        first = 1
        for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS):
            yield range(first, first + batch.num_rows), batch
            first += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({error}); write it again") from error


def _json_lines(path: Path, renames: Mapping[str, str], bad: BadRows) -> Iterator[NumberedRows]:
    names: list[str] = []
    rows: dict[int, dict[str, Any]] = {}
    first = True

    def batch() -> NumberedRows:
        nonlocal first
        for number, row in rows.items():
            for name in row:
                if name in names:
                    continue
                if first:
                    names.append(name)
                elif _of_table(renames.get(name, name)):
                    raise UserError(
                        f"{path}, row {number}, column {name!r}: not in the first {_BATCH_ROWS} "
                        "rows; give the first row this column too, null where it has no value"
                    )
        first = False
        arrays = [
            pa.array([_as_bytes(row.get(name)) for row in rows.values()], pa.binary())
            for name in names
        ]
        return list(rows), pa.RecordBatch.from_arrays(arrays, names=names)

    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row = _json_row(path, number, line, renames, bad) if line.strip() else None
            if row is not None:
                rows[number] = row
            if len(rows) == _BATCH_ROWS:
                yield batch()
                rows = {}
    if rows:
        yield batch()


def _json_row(
    path: Path, number: int, line: bytes, renames: Mapping[str, str], bad: BadRows
) -> dict[str, Any] | None:
    # A broken byte survives as a surrogate and is reported with its column by the later checks.
    text = line.decode("utf-8-sig", "surrogateescape")
    reason = "not a JSON object"
    try:
        row = json.loads(text)
        if isinstance(row, dict):
            for name, value in row.items():
                if isinstance(value, dict | list) and _of_table(renames.get(name, name)):
                    kind = "an object" if isinstance(value, dict) else "a list"
                    reason = f"{kind}, where a text or a number belongs"
                    bad.add(str(path), number, name, reason, value)
                    return None
            return row
    except (ValueError, RecursionError) as error:
        reason += f": {error}"
    bad.add(str(path), number, "*", reason, text.strip().encode("utf-8", "replace").decode())
    return None


def _as_bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bool):
        value = int(value)
    try:
        return str(value).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return str(value).encode("utf-8", "surrogatepass")
