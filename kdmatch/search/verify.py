"""Does what wins on the sample win on all data? The best trials, trained in full."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from keras_tuner.engine.trial import Trial
from scipy.stats import spearmanr

from kdmatch.errors import CollapsedRunError, UserError
from kdmatch.files import read_json, write_json
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import Stage
from kdmatch.pipeline.student_stage import student_stage
from kdmatch.pipeline.work import Run
from kdmatch.search.record import (
    VERIFIED,
    finished_trials,
    searched,
    with_own_values,
    write_best,
)
from kdmatch.search.safe_oracle import SafeOracle
from kdmatch.search.space import Parameter, overrides, with_overrides


def verify_top(
    work: Run, oracle: SafeOracle, student: str, space: list[Parameter], count: int
) -> list[dict[str, Any]]:
    """Train the `count` best trials on all rows, the config's own values too; write `verify.json`.

    Each is the run's ordinary training with the run's first seed, a stage
    `search/STUDENT/verify/TRIAL` of its own. `best_hyperparameters.yaml` is then of the one that
    is best on all rows, which may be the config's own values.

    Returns:
        a row for each trial, in the order of the sample: `{"trial", "sample",
        "full", "rank_sample", "rank_full", "own"}`, ranks being those among these trials. One
        whose training collapses has None in `full`, the last rank, and its `reason`.
    """
    objective, seed = work.config.search.objective, work.config.seeds[0]
    finished, own = finished_trials(oracle), with_own_values(oracle)
    trials = finished[:count]
    if own is not None and searched(own) not in map(searched, trials):
        trials.append(own)
    is_own = [own is not None and searched(trial) == searched(own) for trial in trials]
    stages = [
        _stage(work, student, trial, {} if mine else overrides(space, trial.hyperparameters.values))
        for trial, mine in zip(trials, is_own, strict=True)
    ]
    work.directory.stages(stages, work.jobs)
    rows: list[dict[str, Any]] = []
    for rank, (trial, stage, mine) in enumerate(zip(trials, stages, is_own, strict=True), 1):
        done = read_json(work.root / stage.name / "done.json")
        row = {"trial": trial.trial_id, "sample": trial.score, "full": done[f"valid_{objective}"]}
        row |= {"own": mine}
        row |= {"reason": done["reason"]} if "reason" in done else {}
        rows.append({**row, "rank_sample": rank})
    best_first = sorted(rows, key=lambda row: math.inf if row["full"] is None else -row["full"])
    for rank, row in enumerate(best_first, 1):
        row["rank_full"] = rank
    found: dict[str, Any] = {"objective": objective, "seed": seed, "top": count, "trials": rows}
    top = rows[:count]  # the config's own values may stand below, whatever their rank
    if len(top) > 2:
        ranks = [[row[f"rank_{of}"] for row in top] for of in ("sample", "full")]
        found["spearman"] = float(spearmanr(*ranks).statistic)
    folder = work.root / "search" / student
    write_json(folder / VERIFIED, found)
    if all(row["full"] is None for row in rows):
        raise UserError(
            f"search of {student}: the training on all rows collapses with each of the best "
            f"{len(rows)} trials: {rows[0]['reason']}; search lower rates"
        )
    write_best(oracle, folder, work.config, student, space)
    return rows


def _stage(work: Run, student: str, trial: Trial, values: dict[str, Any]) -> Stage:
    """The training of a trial's student on all rows, done too where it collapses."""
    objective = work.config.search.objective
    by_objective = with_overrides(work.config, student, {"training": {"objective": objective}})
    stage = student_stage(
        work,
        with_overrides(by_objective, student, values),
        student,
        work.config.seeds[0],
        f"search/{student}/verify/trial_{trial.trial_id}",
    )
    return dataclasses.replace(stage, work=partial(_or_reason, stage.work, f"valid_{objective}"))


def _or_reason(
    train: Callable[[Path, Console], dict[str, Any] | None],
    value: str,
    folder: Path,
    console: Console,
) -> dict[str, Any] | None:
    try:
        return train(folder, console)
    except CollapsedRunError as error:
        return {value: None, "reason": str(error)}
