"""Does what wins on the sample win on all data? The best trials, trained in full."""

from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from kdmatch.pipeline.config import Config
from kdmatch.pipeline.run_directory import read_json, write_json
from kdmatch.pipeline.student_stage import student_inputs, train_student
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
    rows: list[dict[str, Any]] = []
    objective, seed = work.config.search.objective, work.config.seeds[0]
    for rank, trial in enumerate(finished_trials(oracle)[:count], 1):
        keys = overrides(space, trial.hyperparameters.values)
        config = with_overrides(work.config, student, keys)

        def train(folder: Path, config: Config = config) -> dict[str, Any]:
            title = f"{student} {folder.name} on all rows"
            return {
                "value": train_student(
                    work, config, student, seed, folder, title, objective=objective
                )
            }

        inputs = student_inputs(config, student, seed) | {"objective": objective}
        name = f"search/{student}/verify/trial_{trial.trial_id}"
        folder = work.directory.stage(name, inputs, ["scores", "text"], train)
        value = read_json(folder / "done.json")["value"]
        rows.append(
            {"trial": trial.trial_id, "sample": trial.score, "full": value, "rank_sample": rank}
        )
    for rank, row in enumerate(sorted(rows, key=lambda row: -row["full"]), 1):
        row["rank_full"] = rank
    found: dict[str, Any] = {"objective": objective, "seed": seed, "trials": rows}
    if len(rows) > 2:
        ranks = [[row[f"rank_{of}"] for row in rows] for of in ("sample", "full")]
        found["spearman"] = float(spearmanr(*ranks).statistic)
    write_json(work.root / "search" / student / "verify.json", found)
    return rows
