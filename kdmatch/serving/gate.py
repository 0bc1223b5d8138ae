"""The gate before a promotion: a candidate against the version that serves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from kdmatch.data.schema import is_positive
from kdmatch.errors import UserError
from kdmatch.evaluation.metrics import auc
from kdmatch.serving.bench.measure import measure
from kdmatch.serving.bench.pages import make_pages
from kdmatch.serving.engines import version_folder
from kdmatch.serving.engines.savedmodel import SavedModelScorer


@dataclass(frozen=True)
class GateLimits:
    """What a candidate may cost.

    Attributes:
        tolerance: float. Largest difference of a score; None where the
            candidate is another model, whose scores may differ.
        auc_drop: float. AUC of the baseline less the candidate's.
        latency_ratio: float. Candidate's p50 over the baseline's.
        documents: int. Documents of the timed pages.
        seconds: float. Measured for each of the two.
        positive_threshold: float. Labels from which a row counts as positive.
    """

    tolerance: float | None = 1e-3
    auc_drop: float = 0.0005
    latency_ratio: float = 1.1
    documents: int = 10
    seconds: float = 5.0
    positive_threshold: float = 1.0


@dataclass(frozen=True)
class Check:
    """One line of the gate: passes where `value <= limit`."""

    name: str
    value: float
    limit: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.value <= self.limit)


def gate(baseline: Path, candidate: Path, rows: pa.Table, limits: GateLimits) -> list[Check]:
    """Compare two exports on the same rows, in this process.

    Args:
        baseline, candidate: version folders, or models' base folders.
        rows: table with `query`, `document` and perhaps `label`.
        limits: GateLimits.

    Returns:
        a check for each of scores, AUC (where rows of both classes have
        labels) and latency.

    Raises:
        UserError: if there is no export, or no rows, both are the same version,
            or neither scores nor AUC can be compared.
    """
    folders = [version_folder(path) for path in (baseline, candidate)]
    if folders[0].resolve() == folders[1].resolve():
        raise UserError(
            f"{baseline} and {candidate} are one version, {folders[0]}, which differs from itself "
            "in nothing; name the folder of the version that serves, such as albert/1"
        )
    if rows.num_rows == 0:
        raise UserError("the gate needs rows; the file has none")
    scorers = [SavedModelScorer(folder) for folder in folders]
    queries, documents = (rows.column(name).to_pylist() for name in ("query", "document"))
    old, new = (scorer.score_pairs(queries, documents) for scorer in scorers)
    checks = []
    if not np.isfinite(new).all():
        checks.append(Check("scores not finite", float((~np.isfinite(new)).sum()), 0.0))
    if limits.tolerance is not None:
        difference = np.abs(new - old)
        worst = int(np.nanargmax(difference)) if np.isfinite(difference).any() else 0
        note = f"row {worst + 1} differs most: {old[worst]:.6f} → {new[worst]:.6f}"
        checks.append(Check("score difference", float(difference.max()), limits.tolerance, note))
    label = _labels(rows)
    known = ~np.isnan(label)
    positive = is_positive(label[known], limits.positive_threshold)
    if positive.any() and not positive.all():
        before, after = (
            auc(positive, scores[known]) if np.isfinite(scores[known]).all() else float("nan")
            for scores in (old, new)
        )
        note = f"{before:.5f} → {after:.5f}"
        checks.append(Check("AUC drop", before - after, limits.auc_drop, note))
    elif limits.tolerance is None:
        found = "are none"
        if known.any():
            found = f"lie between {np.nanmin(label):g} and {np.nanmax(label):g}"
        raise UserError(
            "without a tolerance of the scores the gate compares AUC, which needs rows of both "
            f"classes; the file's labels {found}, positive from {limits.positive_threshold:g} on: "
            "give other rows or another threshold"
        )
    checks.append(_latency_check(scorers, rows, limits))
    return checks


def _labels(rows: pa.Table) -> np.ndarray:
    """Label of each row, float `(n,)`, NaN where there is none."""
    if "label" not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    return rows.column("label").to_numpy().astype(float)


def _latency_check(scorers: list[SavedModelScorer], rows: pa.Table, limits: GateLimits) -> Check:
    pages = {limits.documents: make_pages(rows, limits.documents, 32)}
    names = ("baseline", "candidate")
    times = measure(
        {(name, "savedmodel"): one for name, one in zip(names, scorers, strict=True)},
        pages,
        limits.seconds,
    )
    old, new = (float(np.median(times[name, "savedmodel", limits.documents])) for name in names)
    note = f"p50 of {limits.documents} documents: {old:.2f} → {new:.2f} ms"
    return Check("latency ratio", new / old, limits.latency_ratio, note)
