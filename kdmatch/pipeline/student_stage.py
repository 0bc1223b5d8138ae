"""The students: what they learn from, and a stage for each, its control and each seed."""

from functools import partial
from pathlib import Path
from typing import Any

import keras
import pyarrow.parquet as pq

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.rows import Rows
from kdmatch.pipeline.config import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import RunDirectory, Stage
from kdmatch.pipeline.teacher_stage import load_scores
from kdmatch.pipeline.text_stage import load_ids
from kdmatch.pipeline.training_stage import (
    encoder_kind,
    training_pairs,
    transfer_groups,
    with_transfer,
)
from kdmatch.pipeline.work import LABELS_ONLY, Run


def train_students(work: Run) -> None:
    """Every student and its control, each seed a stage, `work.jobs` of them at a time."""
    config = work.config
    stages = []
    for name, model in config.students.items():
        losses = config.distillation_of(name)
        alone = model.model_copy(update={"distillation": None})
        for seed in config.seeds:
            stages.append(
                Stage(
                    f"students/{name}/seed-{seed}",
                    student_inputs(config, name, seed),
                    ["scores", "text"],
                    partial(_train_stage, config, work.root, str(name), seed, True),
                )
            )
            if config.control:
                stages.append(
                    Stage(
                        f"students/{name}_control/seed-{seed}",
                        {"model": alone, "margin": losses.margin, "seed": seed},
                        ["text", *(["teacher"] if model.start == "teacher" else [])],
                        partial(_train_stage, config, work.root, str(name), seed, False),
                    )
                )
    work.directory.stages(stages, work.jobs)


def _train_stage(
    config: Config, root: Path, name: str, seed: int, distil: bool, folder: Path, console: Console
) -> dict[str, Any]:
    title = f"{name if distil else f'{name}_control'} seed {seed}"
    work = Run(config, root, console, RunDirectory(root, console), {})
    return {"valid_auc": train_student(work, config, name, seed, folder, title, distil)}


def train_student(
    work: Run,
    config: Config,
    name: str,
    seed: int,
    folder: Path,
    title: str,
    distil: bool = True,
    objective: str = "auc",
) -> float:
    """Train a student on all rows of a run.

    Args:
        work: Run whose `scores` are done.
        config: Config that says how; the run's own, or one that differs in students.
        name: str. The student.
        seed: int.
        folder: Path that the model goes to.
        title: str. For the progress bar.
        distil: bool. False trains on labels alone.
        objective: str. Validation metric by which the best weights are kept.

    Returns:
        best value of the objective.
    """
    keras.utils.clear_session(free_memory=True)
    losses = config.distillation_of(name)
    model = config.student(name)
    return work.train(
        title,
        model=model,
        pairs=student_pairs(work.root, encoder_kind(model.preset), distil),
        text=work.root / "text",
        valid=Rows.load(work.root / "data" / "valid.parquet"),
        threshold=config.data.positive_threshold,
        folder=folder,
        weights=losses.model_dump() if distil else LABELS_ONLY | {"margin": losses.margin},
        unlabelled_share=config.transfer.share if distil else 0.0,
        seed=seed,
        teacher=work.root / "teacher",
        objective=objective,
    )


def student_inputs(config: Config, name: str, seed: int) -> dict[str, Any]:
    """What a distilled student is made from, for its stage's key."""
    return {
        "model": config.student(name).model_copy(update={"distillation": None}),
        "distillation": config.distillation_of(name),
        "share": config.transfer.share,
        "seed": seed,
    }


def student_pairs(root: Path, kind: str, distil: bool = True) -> ScoredPairs:
    """What a student learns from: the training rows, and with `distil` scores and transfer rows."""
    rows = Rows.load(root / "data" / "train.parquet")
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
