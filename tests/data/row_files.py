"""Files of rows, written in every kind, and what is said of those that are bad."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdmatch.data.readers import read, read_batches
from kdmatch.data.schema import BadRows
from kdmatch.errors import UserError


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


def skipped(path: Path, rejects: Path) -> tuple[list[str], list[dict], int]:
    """Documents kept, rejected entries in the order of rows, and their count."""
    bad = BadRows("skip", rejects)
    kept = [d for batch in read_batches(path, bad=bad) for d in batch["document"].to_pylist()]
    entries = [json.loads(line) for line in rejects.read_text("utf-8").splitlines()]
    return kept, sorted(entries, key=lambda entry: entry["row"]), bad.count
