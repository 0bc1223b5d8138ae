"""Does what wins on the sample win on all data? The best trials, trained in full."""

import math
from typing import Any

from keras_tuner.engine.trial import Trial
from scipy.stats import spearmanr

from kdmatch.errors import UserError
from kdmatch.files import read_json, write_json
from kdmatch.pipeline.run_directory import Stage
from kdmatch.pipeline.student_stage import student_stage
from kdmatch.pipeline.work import Run
from kdmatch.search.collapse import collapse_or_value
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
        whose training collapses has None in `full`, the last rank, and its `reason`. Of the
        config's own values, `trial` and `sample` are None if no trial of theirs was finished.
    """
    objective, seed = work.config.search.objective, work.config.seeds[0]
    finished = finished_trials(oracle)
    count = min(count, len(finished))
    # Where a range lacks the config's value, the first trial has another.
    is_moved = any(parameter.is_moved for parameter in space)
    own = None if is_moved else with_own_values(oracle)
    top: list[tuple[Trial | None, bool]] = [
        (trial, own is not None and searched(trial) == searched(own)) for trial in finished[:count]
    ]
    if not any(mine for _, mine in top):
        top.append((own, True))
    stages = [_stage(work, student, trial, space, mine) for trial, mine in top]
    work.directory.stages(stages, work.jobs)
    rows: list[dict[str, Any]] = []
    for rank, ((trial, mine), stage) in enumerate(zip(top, stages, strict=True), 1):
        done = read_json(work.root / stage.name / "done.json")
        row = {
            "trial": trial.trial_id if trial is not None else None,
            "sample": trial.score if trial is not None else None,
            "full": done[f"valid_{objective}"],
            "own": mine,
        }
        row |= {"reason": done["reason"]} if "reason" in done else {}
        rows.append({**row, "rank_sample": rank})
    best_first = sorted(rows, key=lambda row: math.inf if row["full"] is None else -row["full"])
    for rank, row in enumerate(best_first, 1):
        row["rank_full"] = rank
    found: dict[str, Any] = {"objective": objective, "seed": seed, "top": count, "trials": rows}
    best = rows[:count]  # the config's own values may stand below, whatever their rank
    if len(best) > 2:
        ranks = [[row[f"rank_{of}"] for row in best] for of in ("sample", "full")]
        found["spearman"] = float(spearmanr(*ranks).statistic)
    folder = work.root / "search" / student
    write_json(folder / VERIFIED, found)
    write_best(oracle, folder, work.config, student, space)
    if all(row["full"] is None for row in rows):
        raise UserError(
            f"search of {student}: the training on all rows collapses with each of the best "
            f"{len(rows)} trials: {rows[0]['reason']}; search lower rates"
        )
    return rows


def _stage(
    work: Run, student: str, trial: Trial | None, space: list[Parameter], own: bool
) -> Stage:
    """The training of a trial's student on all rows, done too where it collapses."""
    objective = work.config.search.objective
    values = {} if own or trial is None else overrides(space, trial.hyperparameters.values)
    name = "own" if trial is None else f"trial_{trial.trial_id}"
    by_objective = with_overrides(work.config, student, {"training": {"objective": objective}})
    stage = student_stage(
        work,
        with_overrides(by_objective, student, values),
        student,
        work.config.seeds[0],
        f"search/{student}/verify/{name}",
    )
    return collapse_or_value(stage, f"valid_{objective}")
