"""A stage's table as arrays, whole or without what trainings do not read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdmatch.data.rows import Labels, Rows


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "query_id": ["b", "a", "b"],
            "query": ["led", "oak", "led"],
            "document": ["bulb", "shelf", "lamp"],
            "label": pa.array([2.0, None, 1.0], pa.float32()),
            "weight": pa.array([1.0, 0.5, 2.0], pa.float32()),
            "f_price": pa.array([3.0, None, 1.0], pa.float32()),
            "score_gbdt": pa.array([0.1, 0.2, None], pa.float32()),
        }
    )


def test_columns_become_arrays_and_what_is_missing_nan(table: pa.Table) -> None:
    rows = Rows.from_table(table)
    assert len(rows) == 3
    assert rows.pairs() == (["led", "oak", "led"], ["bulb", "shelf", "lamp"])
    assert rows.group.tolist() == [0, 1, 0]
    np.testing.assert_equal(rows.label, [2, np.nan, 1])
    np.testing.assert_equal(rows.features, np.float32([[3], [np.nan], [1]]))
    assert rows.feature_names == ["f_price"]
    np.testing.assert_equal(rows.scores["gbdt"], np.float32([0.1, 0.2, np.nan]))


def test_labels_are_those_of_the_rows_without_reading_documents(
    table: pa.Table, tmp_path: Path
) -> None:
    rows = Rows.from_table(table)
    kept = ["query_id", "query", "label", "weight"]
    pq.write_table(table.select(kept), tmp_path / "rows.parquet")
    labels = Labels.load(tmp_path / "rows.parquet")
    assert len(labels) == len(rows)
    for name in kept:
        np.testing.assert_equal(np.array(getattr(labels, name)), np.array(getattr(rows, name)))
    np.testing.assert_array_equal(labels.group, rows.group)
