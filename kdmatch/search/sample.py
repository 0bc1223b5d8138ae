"""The part of the training rows that trials learn from: whole queries."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.rows import Labels
from kdmatch.data.splits import sample_queries
from kdmatch.errors import UserError
from kdmatch.pipeline.student_stage import student_pairs


def sample_pairs(root: Path, kind: str, share: float, seed: int) -> tuple[ScoredPairs, list[str]]:
    """Labelled and transfer rows of a seeded sample of the queries.

    A transfer row belongs to the training query of its text; one whose query
    is not among them is drawn by its own id.

    Args:
        root: Path of a run whose `scores` are there.
        kind: "wordpiece" or "words".
        share: float. Of the training queries.
        seed: int.

    Returns:
        the pairs, and the sorted ids of the training queries among them.

    Raises:
        UserError: if no query falls into the sample.
    """
    rows = Labels.load(root / "data" / "train.parquet")
    ids = rows.query_id.to_pylist()
    inside = sample_queries(ids, share, seed)
    if not inside.any():
        raise UserError(
            f"search.sample: {share:g} of {len(set(ids))} queries holds none; raise the sample"
        )
    transfer = pq.read_table(root / "transfer" / "pairs.parquet", columns=["query", "query_id"])
    known = set(rows.query.unique().to_pylist())
    chosen = set(rows.query.filter(pa.array(inside)).unique().to_pylist())
    drawn = sample_queries(transfer.column("query_id").to_pylist(), share, seed)
    kept = [
        query in chosen or (query not in known and bool(other))
        for query, other in zip(transfer.column("query").to_pylist(), drawn, strict=True)
    ]
    taken = np.flatnonzero(np.concatenate([inside, np.array(kept, bool)]))
    sampled = sorted({name for name, there in zip(ids, inside, strict=True) if there})
    return student_pairs(root, kind).take(taken), sampled
