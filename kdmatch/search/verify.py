"""Does what wins on the sample win on all data? The best trials, trained in full."""

from typing import Any

from scipy.stats import spearmanr

from kdmatch.pipeline.run_directory import read_json, write_json
from kdmatch.pipeline.student_stage import student_stage
from kdmatch.pipeline.work import Run
from kdmatch.search.oracles import SafeOracle
from kdmatch.search.record import finished_trials
from kdmatch.search.space import Parameter, overrides, with_overrides


def verify_top(
    work: Run, oracle: SafeOracle, student: str, space: list[Parameter], count: int
) -> list[dict[str, Any]]:
    """Train the `count` best trials on all rows and write `verify.json`.

    Each is the run's ordinary training with the run's first seed, a stage
    `search/STUDENT/verify/TRIAL` of its own.

    Returns:
        a row for each trial, in the order of the sample: `{"trial", "sample",
        "full", "rank_sample", "rank_full"}`.
    """
    objective, seed = work.config.search.objective, work.config.seeds[0]
    trials = finished_trials(oracle)[:count]
    stages = [
        student_stage(
            work,
            with_overrides(work.config, student, overrides(space, trial.hyperparameters.values)),
            student,
            seed,
            f"search/{student}/verify/trial_{trial.trial_id}",
            objective,
        )
        for trial in trials
    ]
    work.directory.stages(stages, work.jobs)
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.trial_id,
            "sample": trial.score,
            "full": read_json(work.root / stage.name / "done.json")[f"valid_{objective}"],
            "rank_sample": rank,
        }
        for rank, (trial, stage) in enumerate(zip(trials, stages, strict=True), 1)
    ]
    for rank, row in enumerate(sorted(rows, key=lambda row: -row["full"]), 1):
        row["rank_full"] = rank
    found: dict[str, Any] = {"objective": objective, "seed": seed, "trials": rows}
    if len(rows) > 2:
        ranks = [[row[f"rank_{of}"] for row in rows] for of in ("sample", "full")]
        found["spearman"] = float(spearmanr(*ranks).statistic)
    write_json(work.root / "search" / student / "verify.json", found)
    return rows
