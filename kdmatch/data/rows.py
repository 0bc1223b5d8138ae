"""A checked table as arrays: what training and evaluation read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass
class Labels:
    """What trainings and metrics read of `n` query-document rows: no documents, no features.

    Attributes:
        query: texts, Arrow string array `(n,)`.
        query_id: Arrow string array `(n,)`.
        group: int32 `(n,)`. Number of the row's query, from 0.
        label: float32 `(n,)`; NaN where unlabelled.
        weight: float32 `(n,)`.
    """

    query: pa.ChunkedArray
    query_id: pa.ChunkedArray
    group: np.ndarray
    label: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read these columns of a stage's Parquet table."""
        columns = ["query", "query_id", "label", "weight"]
        return cls(**_labels(pq.read_table(path, columns=columns)))


@dataclass
class Rows(Labels):
    """All columns of `n` query-document rows.

    Attributes:
        document: texts, Arrow string array `(n,)`.
        features: float32 `(n, k)`; NaN where missing.
        feature_names: the `f_*` columns.
        scores: teacher name to float32 `(n,)`; NaN where not scored.

    The others are those of `Labels`.
    """

    document: pa.ChunkedArray
    features: np.ndarray
    feature_names: list[str]
    scores: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Arrays of a table in the dataset's schema."""
        names = [name for name in table.column_names if name.startswith("f_")]
        columns = [_floats(table, name) for name in names]
        return cls(
            **_labels(table),
            document=table.column("document"),
            features=np.stack(columns, axis=1)
            if columns
            else np.zeros((table.num_rows, 0), np.float32),
            feature_names=names,
            scores={
                name.removeprefix("score_"): _floats(table, name)
                for name in table.column_names
                if name.startswith("score_")
            },
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the Parquet table of a stage."""
        return cls.from_table(pq.read_table(path))

    def pairs(self) -> tuple[list[str], list[str]]:
        """Queries and documents as lists."""
        return self.query.to_pylist(), self.document.to_pylist()


def _labels(table: pa.Table) -> dict[str, Any]:
    codes = table.column("query_id").combine_chunks().dictionary_encode()
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.combine_chunks()
    return {
        "query": table.column("query"),
        "query_id": table.column("query_id"),
        "group": codes.indices.to_numpy().astype(np.int32),
        "label": _floats(table, "label"),
        "weight": _floats(table, "weight"),
    }


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy(zero_copy_only=False).astype(np.float32)
