"""Scores to `metrics.json`: intervals, paired comparisons, latency."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.evaluation.evaluate import evaluate_and_compare
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.scoring import score_models

COMPARED = ("auc", "gauc", "ndcg@10")


def evaluate_table(
    config: Config,
    root: Path,
    table: pa.Table,
    split: str,
    console: Console,
    scores_file: Path | None = None,
) -> dict[str, Any]:
    """Metrics of every model of a run on a labelled table.

    A student's numbers are means over its seeds; its `seeds` lists each seed's.

    Args:
        config: Config of the run.
        root: Path of the run.
        table: pyarrow.Table in the dataset's schema.
        split: str. What the table is, for the record.
        console: Console for progress.
        scores_file: Path to write every model's scores to, as Parquet.

    Returns:
        the contents of `metrics.json`, latencies and sizes not yet filled in.
    """
    rows, teachers, students = score_models(config, root, table, console)
    settings: dict[str, Any] = {
        "positive_threshold": config.data.positive_threshold,
        "teacher": "teacher",
        "resamples": config.evaluation.resamples,
        "seed": config.seed,
    }
    scores = teachers | students
    pairs = _comparisons(list(teachers), list(students))
    models, compared = evaluate_and_compare(
        rows.label, rows.group, scores, pairs, COMPARED, **settings
    )
    if scores_file is not None:
        columns = {f"score_{name}": np.atleast_2d(one)[0] for name, one in scores.items()}
        pq.write_table(
            pa.table({"query_id": rows.query_id, "label": rows.label, **columns}), scores_file
        )
    return {
        "dataset": config.name,
        "split": split,
        "positive_threshold": config.data.positive_threshold,
        "rows": len(rows),
        "models": models,
        "comparisons": compared,
    }


def time_export(version: Path, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Latency of one raw-text pair through a SavedModel in this process, in ms."""
    from kdmatch.evaluation.latency import latency_ms
    from kdmatch.serving.session import SavedModelSession

    session = SavedModelSession(version)
    turn = cycle(pairs)

    def one() -> None:
        query, document = next(turn)
        session.score([query], [document])

    return latency_ms(one, repeats=len(pairs), warmup=20)


def _comparisons(teachers: list[str], students: list[str]) -> list[tuple[str, str]]:
    pairs = [("teachers", "teacher"), ("teacher", "gbdt")]
    apart = ("teachers", "teacher", "gbdt")
    pairs += [(name, "teacher") for name in teachers if name not in apart]
    for name in students:
        pairs.append((name, "teacher"))
        if f"{name}_control" in students:
            pairs.append((name, f"{name}_control"))
    return pairs
