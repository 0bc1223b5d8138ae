"""The whole way: rows to exported, evaluated students, a stage after another."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pyarrow.parquet as pq

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.rows import Rows
from kdmatch.errors import UserError
from kdmatch.pipeline.config import Config, ModelConfig
from kdmatch.pipeline.config_loader import dump_config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import make_transfer, prepare_tables, source_hashes
from kdmatch.pipeline.pretraining_stage import pretrain_encoder
from kdmatch.pipeline.run_directory import LastStageDone, RunDirectory, Stage
from kdmatch.pipeline.teacher_stage import load_scores, score_rows, train_gbdt
from kdmatch.pipeline.text_stage import load_ids, prepare_text, wordpiece_dimension
from kdmatch.pipeline.training_stage import (
    encoder_kind,
    train_matcher,
    training_pairs,
    transfer_groups,
    with_transfer,
)

STAGES = (
    *("data", "text", "transfer", "pretraining", "gbdt", "teacher", "original", "scores"),
    *("students", "export", "evaluate"),
)
LABELS_ONLY = {"alpha": 0.0, "beta": 1.0, "gamma": 0.0, "scaling": "none"}


@dataclass
class Run:
    """A config being carried out in a directory.

    Attributes:
        config: Config.
        root: Path of the run directory.
        console: Console for progress.
        directory: RunDirectory over `root`.
        sources: content hash of each source file.
        jobs: students trained at a time.
    """

    config: Config
    root: Path
    console: Console
    directory: RunDirectory
    sources: dict[str, str]
    jobs: int = 1

    def train(self, title: str, **arguments: Any) -> float:
        """`train_matcher` under a progress bar."""
        settings: ModelConfig = arguments["model"]
        with self.console.progress(title, settings.training.steps) as advance:
            return train_matcher(**arguments, advance=advance)


def run(
    config: Config, root: Path, console: Console | None = None, until: str = "", jobs: int = 1
) -> Path:
    """Do what is missing of a run.

    Args:
        config: Config.
        root: Path of the run directory, made if missing.
        console: Console.
        until: str. Last stage to do, or folder of stages; all when empty.
        jobs: int. Students trained at a time, each in a process of its own.

    Returns:
        `root`.

    Raises:
        UserError: if data, config or a training is at fault, or another process is at work there.
    """
    console = console or Console()
    if until and until.split("/")[0] not in STAGES:
        raise UserError(f"--until {until}: no such stage; choose one of {', '.join(STAGES)}")
    work = open_run(config, root, console, until)
    work.jobs = jobs
    with work.directory.alone(), contextlib.suppress(LastStageDone):
        (root / "config.yaml").write_text(dump_config(config), encoding="utf-8")
        for stage in (_prepare, _pretrain, _teachers, _score, _students, _finish):
            stage(work)
    return root


def open_run(config: Config, root: Path, console: Console, until: str = "") -> Run:
    """The run of a config in a directory, made if missing; nothing is done yet."""
    sources = source_hashes(config.data)  # a missing file is said before anything is written
    root.mkdir(parents=True, exist_ok=True)
    return Run(config, root, console, RunDirectory(root, console, until), sources)


def prepare_students(config: Config, root: Path, console: Console) -> Run:
    """All that students read: tables, ids, transfer rows and the teachers' scores of them."""
    work = open_run(config.model_copy(update={"original": None}), root, console)
    if not (root / "config.yaml").exists():
        (root / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    for stage in (_prepare, _pretrain, _teachers, _score):
        stage(work)
    return work


def _prepare(work: Run) -> None:
    config, stage = work.config, work.directory.stage
    root = work.root
    stage(
        "data",
        {"data": config.data, "seed": config.seed, "sources": work.sources},
        [],
        partial(prepare_tables, config),
    )
    vectors = wordpiece_dimension(config)
    stage(
        "text",
        {"text": config.text, "seed": config.seed} | ({"vectors": vectors} if vectors else {}),
        ["data"],
        lambda folder: prepare_text(config, root / "data", folder),
    )
    stage(
        "transfer",
        {"transfer": config.transfer.model_dump(exclude={"share"}), "seed": config.seed},
        ["data"],
        lambda folder: make_transfer(config, root / "data", folder),
    )


def _pretrain(work: Run) -> None:
    config = work.config
    if config.pretraining is None:
        return
    teacher = {"preset": config.teacher.preset, "arguments": config.teacher.arguments}
    work.directory.stage(
        "pretraining",
        {"pretraining": config.pretraining, "teacher": teacher, "seed": config.seed},
        ["text"],
        lambda folder: pretrain_encoder(config, work.root, folder, work.console),
    )


def _teachers(work: Run) -> None:
    config, root = work.config, work.root
    data = root / "data"
    work.directory.stage(
        "gbdt",
        {"gbdt": config.gbdt, "seed": config.seed},
        ["data"],
        lambda folder: train_gbdt(config, data, folder),
    )
    models = {"teacher": config.teacher} | config.further_teachers
    if config.original is not None:
        models["original"] = config.original
    for name, model in models.items():
        work.directory.stage(
            name,
            {"model": model, "seed": config.seed},
            ["text", *(["pretraining"] if model.start == "pretraining" else [])],
            _label_trainer(work, name, model),
        )


def _label_trainer(work: Run, name: str, model: ModelConfig) -> Callable[[Path], dict[str, Any]]:
    def train(folder: Path) -> dict[str, Any]:
        rows = Rows.load(work.root / "data" / "train.parquet")
        text = work.root / "text"
        best = work.train(
            name,
            model=model,
            pairs=training_pairs(text, rows, encoder_kind(model.preset)),
            text=text,
            valid=Rows.load(work.root / "data" / "valid.parquet"),
            threshold=work.config.data.positive_threshold,
            folder=folder,
            weights=LABELS_ONLY,
            seed=work.config.seed,
        )
        return {"valid_auc": best}

    return train


def _score(work: Run) -> None:
    work.directory.stage(
        "scores",
        {"precision": work.config.teacher.training.precision},
        ["teacher", "gbdt", "transfer", *work.config.further_teachers],
        lambda folder: score_rows(work.config, work.root, folder, work.console),
    )


def _students(work: Run) -> None:
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


def _finish(work: Run) -> None:
    from kdmatch.pipeline.finish_stage import finish

    finish(work.config, work.root, work.directory, work.console)
