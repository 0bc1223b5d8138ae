"""The one Arrow schema of a dataset, and the check that rows pass to enter it."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from kdmatch.errors import UserError

REQUIRED = ("query", "document")
TRIPLE = ("query", "positive", "negative")
_LARGEST = float(np.finfo(np.float32).max)
OnBadRow = Literal["error", "skip"]


def table_schema(features: list[str], scores: list[str]) -> pa.Schema:
    """The dataset's schema with its optional `f_*` and `score_*` columns."""
    fields = [
        ("query_id", pa.string()),
        ("query", pa.string()),
        ("doc_id", pa.string()),
        ("document", pa.string()),
        ("label", pa.float32()),
        ("weight", pa.float32()),
    ]
    return pa.schema(fields + [(name, pa.float32()) for name in [*features, *scores]])


def is_positive(label: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Whether each label is `threshold` or more, False where there is none.

    Compared as float32, which labels are kept in: as float64 a label 2.33 would lie
    below the threshold 2.33.

    >>> is_positive(np.array([2.33, 2.0, np.nan], "float32").astype(float), 2.33).tolist()
    [True, False, False]
    """
    return np.asarray(label, np.float32) >= np.float32(threshold)


def text_id(text: str) -> str:
    """A stable id for a text, 16 hexadecimal digits.

    >>> text_id("led bulb")
    'c7ed2b38650cc67b'
    """
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()


@dataclass
class BadRows:
    """Rows that cannot enter the table: an error, or a file of them beside the run.

    Attributes:
        on_bad_row: "error" raises at the first one, "skip" counts and writes.
        path: where skipped rows go, JSON lines with file, row, reason, value.
        skip_by: what a user sets to have them skipped, for the error; nothing where none can be.
        count: rows skipped so far.
    """

    on_bad_row: OnBadRow = "error"
    path: Path | None = None
    skip_by: str = "data.on_bad_row: skip"
    count: int = field(default=0, init=False)

    def add(self, file: str, row: int, column: str, reason: str, value: Any) -> None:
        """Report row `row` (from 1, a header not counted)."""
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        if self.on_bad_row == "error":
            skip = f", or set {self.skip_by}" if self.skip_by else ""
            raise UserError(
                f"{file}, row {row}, column {column!r}: {reason} (found {shown}); "
                f"mend the row{skip}"
            )
        self.count += 1
        if self.path is not None:
            entry = {"file": file, "row": row, "column": column, "reason": reason, "value": shown}
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(entry, ensure_ascii=False) + "\n")


def conform(
    batch: pa.RecordBatch, file: str, rows: Sequence[int], bad: BadRows
) -> Iterator[pa.RecordBatch]:
    """Rows of one raw batch in the dataset's schema, bad ones reported to `bad`.

    Args:
        batch: pyarrow.RecordBatch with `query` and `document`, or a triple's
            columns; text may be binary, numbers may be strings.
        file: str. Name for messages.
        rows: sequence of int. Number of each row in the file, from 1.
        bad: BadRows.

    Yields:
        one RecordBatch, or two for triples (positives, then negatives).
    """
    names = batch.schema.names
    if set(TRIPLE) <= set(names) and "document" not in names:
        yield from _conform_triples(batch, file, rows, bad)
        return
    checked = _Checked(batch, file, rows, bad)
    query = checked.text("query")
    document = checked.text("document")
    label = checked.number("label") if "label" in names else [None] * batch.num_rows
    weight = checked.weight()
    columns: dict[str, list[Any]] = {
        "query_id": checked.ids("query_id", query),
        "query": query,
        "doc_id": checked.ids("doc_id", document),
        "document": document,
        "label": label,
        "weight": weight,
    }
    extra = [name for name in names if name.startswith(("f_", "score_"))]
    columns |= {name: checked.number(name, missing_ok=True) for name in extra}
    yield checked.kept(columns, extra)


def _conform_triples(
    batch: pa.RecordBatch, file: str, rows: Sequence[int], bad: BadRows
) -> Iterator[pa.RecordBatch]:
    checked = _Checked(batch, file, rows, bad)
    query = checked.text("query")
    ids = checked.ids("query_id", query)
    weight = checked.weight()
    both = [(checked.text(side), label) for side, label in (("positive", 1.0), ("negative", 0.0))]
    for document, label in both:
        columns: dict[str, list[Any]] = {
            "query_id": ids,
            "query": query,
            "doc_id": [text_id(text) for text in document],  # a `doc_id` would be of which?
            "document": document,
            "label": [label] * batch.num_rows,
            "weight": weight,
        }
        yield checked.kept(columns, [])


class _Checked:
    """Typed columns of a raw batch; a row that fails one check is left out of all."""

    def __init__(self, batch: pa.RecordBatch, file: str, rows: Sequence[int], bad: BadRows) -> None:
        self.batch, self.file, self.rows, self.bad = batch, file, rows, bad
        self.wrong: set[int] = set()

    def _report(self, row: int, column: str, reason: str, value: Any) -> None:
        if row not in self.wrong:
            self.bad.add(self.file, self.rows[row], column, reason, value)
            self.wrong.add(row)

    def text(self, column: str) -> list[str]:
        raw = self.batch.column(column)
        if not pa.types.is_binary(raw.type) and not pa.types.is_large_binary(raw.type):
            kind = pa.large_binary() if pa.types.is_large_string(raw.type) else pa.binary()
            try:
                raw = pc.cast(pc.cast(raw, pa.string()) if kind == pa.binary() else raw, kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise UserError(
                    f"{self.file}, column {column!r}: {raw.type} is not text; write it as a string"
                ) from error
        values: list[str] = []
        for row, value in enumerate(raw.to_pylist()):
            try:
                text = "" if value is None else value.decode("utf-8")
            except UnicodeDecodeError:
                self._report(row, column, "the text is not valid UTF-8", value)
                text = ""
            if not text.strip():
                self._report(row, column, "the text is empty", value)
            values.append(text)
        return values

    def number(self, column: str, missing_ok: bool = False) -> list[float | None]:
        values: list[float | None] = []
        for row, value in enumerate(self.batch.column(column).to_pylist()):
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            if value is None or (isinstance(value, str) and not value.strip()):
                values.append(None)
                continue
            try:
                number = float(value)
            except (TypeError, ValueError):
                self._report(row, column, "not a number", value)
                number = math.nan
            if math.isnan(number) and missing_ok:
                values.append(None)
                continue
            if not math.isfinite(number):
                reason = "not a finite number; leave it empty where there is none"
                self._report(row, column, reason, value)
            elif abs(number) > _LARGEST:
                self._report(row, column, "too large for float32", value)
            values.append(number)
        return values

    def weight(self) -> list[float]:
        """1 where there is none."""
        if "weight" not in self.batch.schema.names:
            return [1.0] * self.batch.num_rows
        values = [1.0 if value is None else value for value in self.number("weight")]
        for row, value in enumerate(values):
            if value < 0:
                self._report(row, "weight", "a weight is 0 or more", value)
        return values

    def ids(self, column: str, texts: list[str]) -> list[str]:
        derived = {text: text_id(text) for text in set(texts)}
        if column not in self.batch.schema.names:
            return [derived[text] for text in texts]
        given = self.batch.column(column).to_pylist()
        return [_as_id(value) or derived[text] for value, text in zip(given, texts, strict=True)]

    def kept(self, columns: dict[str, list[Any]], extra: list[str]) -> pa.RecordBatch:
        schema = table_schema(extra, [])
        full = pa.RecordBatch.from_arrays(
            [pa.array(columns[name], schema.field(name).type) for name in schema.names],
            schema=schema,
        )
        if not self.wrong:
            return full
        return full.filter(pa.array([row not in self.wrong for row in range(full.num_rows)]))


def _as_id(value: Any) -> str:
    """An id as text, the same from every file kind; empty where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        # pandas writes whole numbers beside missing ones as 7.0.
        return re.sub(r"^(\d+)\.0$", r"\1", value.decode("utf-8", "replace").strip())
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
