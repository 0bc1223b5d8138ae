"""Rows of CSV and TSV as their files have them, and what is wrong with those that are none."""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from kdmatch.data.schema import BadRows
from kdmatch.errors import UserError

_BLOCK_BYTES = 1 << 22
_OPEN_QUOTE = (
    "a quote opens it and is not closed before; put a text that begins with a quote into quotes, "
    "its own doubled"
)
NumberedRows = tuple[Sequence[int], pa.RecordBatch]


def delimited_batches(path: Path, delimiter: str, bad: BadRows) -> Iterator[NumberedRows]:
    """Batches of a file's raw rows, each with the numbers of its rows, from 1.

    Args:
        path: Path of the file, with a header.
        delimiter: str.
        bad: BadRows. Gets the rows with more or fewer columns than the header.

    Raises:
        UserError: if it is not UTF-8 or not such a file, or holds a bad row that is not to be
            skipped.
    """
    with path.open("rb") as lines:
        header = lines.readline()
    try:
        names = next(csv.reader([header.decode("utf-8-sig")], delimiter=delimiter), [])
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the header is not valid UTF-8; save the file as UTF-8") from error
    except csv.Error as error:
        raise UserError(
            f"{path}: the header cannot be read ({error}); end lines with \\n or \\r\\n"
        ) from error
    ragged: list[pa_csv.InvalidRow] = []
    reported = 0

    def wrong(row: pa_csv.InvalidRow) -> str:
        # An exception raised here would be printed and lost, so the row is kept for later.
        ragged.append(row)
        return bad.on_bad_row

    def report() -> None:
        nonlocal reported
        for row in ragged[reported:]:
            reason = f"{row.actual_columns} columns instead of {row.expected_columns}"
            if lines := row.text.count("\n"):
                reason += f", over {lines + 1} lines: {_OPEN_QUOTE}"
            bad.add(str(path), (row.number or 2) - 1, "*", reason, row.text)
        reported = len(ragged)

    try:
        reader = pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=wrong
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                check_utf8=False,
                strings_can_be_null=False,
            ),
        )
        following = itertools.count(1)
        for batch in reader:
            report()
            missing = {(row.number or 2) - 1 for row in ragged}
            present = (row for row in following if row not in missing)
            numbers = list(itertools.islice(present, batch.num_rows))
            if delimiter == "\t":
                numbers, batch = _without_swallowed_lines(path, numbers, batch, bad)
            yield numbers, batch
        report()
    except pa.ArrowInvalid as error:
        report()
        if "Empty CSV file" in str(error):
            return
        reason = str(error)
        if found := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", reason):
            # The row's text could not be decoded, so it could not be handed over either.
            number, expected, actual = map(int, found.groups())
            reason = (
                f"row {number - 1} has {actual} columns instead of {expected}, and is not valid "
                "UTF-8; save the file as UTF-8"
            )
        if "straddling" in reason:
            reason = f"a row is longer than {_BLOCK_BYTES >> 20} MB; {_OPEN_QUOTE}"
        raise UserError(f"{path}: cannot be read as {path.suffix[1:].upper()}: {reason}") from error


def _without_swallowed_lines(
    path: Path, numbers: list[int], batch: pa.RecordBatch, bad: BadRows
) -> tuple[list[int], pa.RecordBatch]:
    """The batch without rows in which a quote that is not closed has swallowed the lines after it.

    A field of a TSV that holds a tab and a line's end is taken for such: phrase quotes and inches
    begin a field more often than tables are pasted into one.
    """
    kept = np.ones(batch.num_rows, bool)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        swallowed = pc.and_(pc.match_substring(column, "\t"), pc.match_substring(column, "\n"))
        for place in np.flatnonzero(swallowed.to_numpy(zero_copy_only=False)):
            value = column[place.item()].as_py()
            if kept[place]:
                text = value.decode("utf-8", "replace")
                reason = f"holds {len(text.splitlines())} lines: {_OPEN_QUOTE}"
                bad.add(str(path), numbers[place], name, reason, text)
            kept[place] = False
    if kept.all():
        return numbers, batch
    return [n for n, keep in zip(numbers, kept, strict=True) if keep], batch.filter(pa.array(kept))
