"""The students: what they learn from, and a stage for each, its control and each seed."""

from functools import partial
from pathlib import Path
from typing import Any

import keras
import pyarrow.parquet as pq

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.rows import Labels
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import Stage
from kdmatch.pipeline.teacher_stage import load_scores
from kdmatch.pipeline.text_stage import load_ids
from kdmatch.pipeline.training_stage import (
    encoder_kind,
    train_matcher,
    training_pairs,
    transfer_groups,
    with_transfer,
)
from kdmatch.pipeline.work import LABELS_ONLY, Run


def train_students(work: Run) -> None:
    """Every student and its control, each seed a stage, `work.jobs` of them at a time."""
    stages = []
    for name in map(str, work.config.students):
        for seed in work.config.seeds:
            stages.append(student_stage(work, work.config, name, seed))
            if work.config.control:
                stages.append(control_stage(work, work.config, name, seed))
    work.directory.stages(stages, work.jobs)


def student_stage(work: Run, config: Config, student: str, seed: int, name: str = "") -> Stage:
    """The stage that trains a student on all rows of a run.

    Args:
        work: Run whose `scores` are done.
        config: Config that says how; the run's own, or one that differs in students.
        student: str.
        seed: int.
        name: str. The stage's, instead of `students/STUDENT/seed-SEED`.

    Returns:
        Stage, whose `done.json` has the best value of the objective as `valid_OBJECTIVE`.
    """
    return Stage(
        name or f"students/{student}/seed-{seed}",
        student_inputs(config, student, seed),
        ["scores", "text"],
        partial(_train, config, work.root, student, seed, True),
    )


def control_stage(work: Run, config: Config, student: str, seed: int) -> Stage:
    """The stage that trains a student on labels alone, as long as with its teachers."""
    model = config.student(student).matcher
    margin = config.distillation_of(student).margin
    return Stage(
        f"students/{student}_control/seed-{seed}",
        {"model": model, "margin": margin, "seed": seed},
        ["text", *(["teacher"] if model.start == "teacher" else [])],
        partial(_train, config, work.root, student, seed, False),
    )


def _train(
    config: Config,
    root: Path,
    student: str,
    seed: int,
    distil: bool,
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    keras.utils.clear_session(free_memory=True)
    model, losses = config.student(student), config.distillation_of(student)
    title = folder.relative_to(root).as_posix().removeprefix("students/").replace("/", " ")
    with console.progress(title, model.training.steps) as advance:
        best = train_matcher(
            model,
            student_pairs(root, encoder_kind(model.preset), distil),
            root / "text",
            Labels.load(root / "data" / "valid.parquet"),
            config.data.positive_threshold,
            folder,
            weights=losses.model_dump() if distil else LABELS_ONLY | {"margin": losses.margin},
            unlabelled_share=config.transfer_share_of(student) if distil else 0.0,
            seed=seed,
            teacher=root / "teacher",
            advance=advance,
        )
    return {f"valid_{model.training.objective}": best}


def student_inputs(config: Config, name: str, seed: int) -> dict[str, Any]:
    """What a distilled student is made from, for its stage's key."""
    return {
        "model": config.student(name).matcher,
        "distillation": config.distillation_of(name),
        "share": config.transfer_share_of(name),
        "seed": seed,
    }


def student_pairs(root: Path, kind: str, distil: bool = True) -> ScoredPairs:
    """What a student learns from: the training rows, and with `distil` scores and transfer rows."""
    rows = Labels.load(root / "data" / "train.parquet")
    pairs = training_pairs(root / "text", rows, kind)
    if distil:
        scores = root / "scores"
        pairs.scores = load_scores(scores, "train")
        ids = load_ids(scores / "transfer", kind)
        if len(ids):
            table = pq.read_table(root / "transfer" / "pairs.parquet", columns=["query"])
            group = transfer_groups(rows, table.column("query"))
            pairs = with_transfer(pairs, ids, load_scores(scores, "transfer"), group)
    return pairs
