"""What one run's models gain over another's, on the same rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdmatch.errors import UserError, did_you_mean
from kdmatch.evaluation.evaluate import evaluate_and_compare
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.scoring import model_names, score_models


def compare_runs(
    new: tuple[Config, Path],
    old: tuple[Config, Path],
    table: pa.Table,
    models: Sequence[str],
    console: Console,
) -> dict[str, Any]:
    """AUC of models of two runs on a labelled table, and the paired differences.

    A student's numbers are means over its seeds.

    Args:
        new: Config and Path of a run.
        old: Config and Path of the run that it is compared with.
        table: pyarrow.Table in the dataset's schema.
        models: names of models; empty for all that both runs have.
        console: Console for progress.

    Returns:
        `{"runs": [new, old], "rows", "positive_threshold", "models"}`, where each of the
        models has `{"new", "old": {"value", "low", "high"}, "difference": {"difference",
        "low", "high"}}`, all of AUC.

    Raises:
        UserError: if a run lacks one of the models, the runs tell positives by different
            labels, or the table cannot be evaluated.
    """
    threshold = new[0].data.positive_threshold
    if threshold != old[0].data.positive_threshold:
        raise UserError(
            f"{new[1]} has data.positive_threshold {threshold:g}, {old[1]} has "
            f"{old[0].data.positive_threshold:g}: their AUCs are not of the same thing"
        )
    both = [model_names(config) for config, _ in (new, old)]
    names = list(models) or [name for name in both[0] if name in both[1]]
    for there, (_, root) in zip(both, (new, old), strict=True):
        for name in names:
            if name not in there:
                meant = did_you_mean(name, there, f"there are {', '.join(there)}")
                raise UserError(f"{root}: no model {name!r}; {meant}")
    scores: dict[str, np.ndarray] = {}
    for which, (config, root) in (("new", new), ("old", old)):
        rows, teachers, students = score_models(config, root, table, console, names)
        scores |= {f"{which} {name}": one for name, one in (teachers | students).items()}
    measured, differences = evaluate_and_compare(
        rows.label,
        rows.group,
        scores,
        [(f"new {name}", f"old {name}") for name in names],
        metrics=("auc",),
        positive_threshold=threshold,
        resamples=new[0].evaluation.resamples,
        seed=new[0].seed,
    )
    return {
        "runs": [str(new[1]), str(old[1])],
        "rows": len(rows),
        "positive_threshold": threshold,
        "models": {
            name: {which: measured[f"{which} {name}"]["auc"] for which in ("new", "old")}
            | {"difference": {key: found[key] for key in ("difference", "low", "high")}}
            for name, found in zip(names, differences, strict=True)
        },
    }
