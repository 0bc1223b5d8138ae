"""Scoring a file of rows with an exported model, a batch at a time."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.readers import read_batches
from kdmatch.data.schema import BadRows
from kdmatch.files import whole
from kdmatch.serving.engines import load_engine


def score_file(
    model: Path,
    data: Path,
    out: Path,
    batch_rows: int = 512,
    columns: Mapping[str, str] | None = None,
) -> int:
    """Write the rows of `data` with a column `score` to the Parquet file `out`.

    Args:
        model: a version's folder, or a model's base folder, whose latest
            version is taken, or a folder for ONNX Runtime or OpenVINO.
        data: any file that `kdmatch.read` reads.
        out: Parquet file; it appears complete or not at all.
        batch_rows: int. Rows scored at a time.
        columns: mapping of the table's column name to the file's.

    Returns:
        number of rows.

    Raises:
        UserError: if there is no model or a row is bad.
    """
    score = load_engine(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    writer: pq.ParquetWriter | None = None
    count = 0
    with whole(out) as partial:
        for rows in read_batches(data, columns, BadRows(skip_by="")):
            scores: list[float] = []
            for start in range(0, rows.num_rows, batch_rows):
                part = rows.slice(start, batch_rows)
                queries, documents = (
                    part.column(side).to_pylist() for side in ("query", "document")
                )
                scores.extend(score(queries, documents).tolist())
            scored = rows.append_column("score", pa.array(scores, pa.float32()))
            writer = writer or pq.ParquetWriter(partial, scored.schema)
            writer.write_batch(scored)
            count += scored.num_rows
        if writer is not None:
            writer.close()
    return count
