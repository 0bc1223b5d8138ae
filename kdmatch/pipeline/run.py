"""The whole way: rows to exported, evaluated students, a stage after another."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kdmatch.data.rows import Labels
from kdmatch.errors import UserError
from kdmatch.models.pretrained import PRETRAINED_FILES
from kdmatch.models.sentence_encoder import SentenceEncoder
from kdmatch.pipeline.config.loader import dump_config
from kdmatch.pipeline.config.models import ModelConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import SOURCES, prepare_tables
from kdmatch.pipeline.model_checks import wordpiece_dimension
from kdmatch.pipeline.pretraining_stage import pretrain_encoder
from kdmatch.pipeline.run_directory import LastStageDone
from kdmatch.pipeline.stage_keys import files_named, section_fields
from kdmatch.pipeline.student_stage import train_students
from kdmatch.pipeline.teacher_stage import matcher_teachers, score_rows, train_gbdt
from kdmatch.pipeline.text_stage import prepare_text
from kdmatch.pipeline.training_stage import encoder_kind, train_matcher, training_pairs
from kdmatch.pipeline.transfer_stage import make_transfer
from kdmatch.pipeline.work import LABELS_ONLY, Run, open_run

STAGES = (
    *("data", "text", "transfer", "pretraining", "gbdt", "teacher", "original", "scores"),
    *("students", "export", "evaluate"),
)


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
    _check_until(config, until)
    work = open_run(config, root, console, until)
    work.jobs = jobs
    with work.directory.alone(), contextlib.suppress(LastStageDone):
        work.directory.write_config(dump_config(config))
        for stage in (_prepare, _pretrain, _teachers, _score, train_students, _finish):
            stage(work)
    return root


def _check_until(config: Config, until: str) -> None:
    absent = {"pretraining": not config.pretrained, "original": config.original is None}
    known = [stage for stage in STAGES if not absent.get(stage)] + list(config.further_teachers)
    ends = ("", "_control") if config.control else ("",)
    inside = {
        "students": [f"{name}{end}" for name in config.students for end in ends],
        "export": ["teacher", *config.students],
    }
    stage, *below = until.split("/")
    if until and stage not in known:
        raise UserError(f"--until {until}: no such stage; choose one of {', '.join(known)}")
    if below and below[0] not in inside.get(stage, []):
        some = ", ".join(f"{stage}/{name}" for name in inside.get(stage, [])) or stage
        raise UserError(f"--until {until}: no such stage; choose one of {some}")
    seeds = [f"seed-{seed}" for seed in config.seeds]
    if below[1:] and (stage != "students" or below[1:] not in [[seed] for seed in seeds]):
        raise UserError(f"--until {until}: no such stage; this config has {', '.join(seeds)}")


def prepare_students(config: Config, root: Path, console: Console) -> Run:
    """All that students read: tables, ids, transfer rows and the teachers' scores of them."""
    work = open_run(config, root, console)
    if not (root / "config.yaml").exists():
        work.directory.write_config(dump_config(config))
    for stage in (_prepare, _pretrain, partial(_teachers, original=False), _score):
        stage(work)
    return work


def _prepare(work: Run) -> None:
    config, stage = work.config, work.directory.stage
    root = work.root
    stage(
        "data",
        # Files count by what they hold, not by where they lie.
        {
            "data": config.data.model_dump(exclude=set(SOURCES)),
            "seed": config.seed,
            "sources": work.sources,
        },
        [],
        partial(prepare_tables, config, console=work.console),
    )
    vectors = wordpiece_dimension(config)
    vocabulary = files_named(config.text.wordpiece.vocabulary, files=("", "vocab.txt"))
    wordpiece, words = (section_fields(one) for one in (config.text.wordpiece, config.text.words))
    wordpiece |= {"vocabulary": vocabulary} if vocabulary else {}
    words |= {"encoder": _encoder_files(config.text.words.encoder)} if "encoder" in words else {}
    chosen = section_fields(config.text) | {"wordpiece": wordpiece, "words": words}
    pairs = {k: v for k, v in section_fields(config.transfer).items() if k != "share"}
    stage(
        "text",
        {"text": chosen, "seed": config.seed} | ({"vectors": vectors} if vectors else {}),
        ["data"],
        lambda folder: prepare_text(config, root / "data", folder),
    )
    stage(
        "transfer",
        {"transfer": pairs, "language": config.text.language, "seed": config.seed},
        ["data"],
        lambda folder: make_transfer(config, root / "data", folder, work.console),
    )


def _pretrain(work: Run) -> None:
    config = work.config
    if not config.pretrained:
        return
    teacher = {"preset": config.teacher.preset, "arguments": config.teacher.arguments}
    work.directory.stage(
        "pretraining",
        {"pretraining": config.pretraining, "teacher": teacher, "seed": config.seed},
        ["text"],
        lambda folder: pretrain_encoder(config, work.root, folder, work.console),
    )


def _teachers(work: Run, original: bool = True) -> None:
    """The models that are trained on labels; `original` teaches nobody."""
    config, root = work.config, work.root
    data = root / "data"
    read = _encoder_files(config.gbdt.sentences)
    work.directory.stage(
        "gbdt",
        {
            "gbdt": section_fields(config.gbdt) | ({"sentences": read} if read else {}),
            "language": config.text.language,
            "seed": config.seed,
        },
        ["data"],
        lambda folder: train_gbdt(config, data, folder, work.console),
    )
    models = matcher_teachers(config)
    if original and config.original is not None:
        models["original"] = config.original
    for name, model in models.items():
        start = files_named(model.start, files=PRETRAINED_FILES)
        fields = section_fields(model) | ({"start": start} if start else {})
        work.directory.stage(
            name,
            {"model": fields, "seed": config.seed},
            ["text", *(["pretraining"] if model.start == "pretraining" else [])],
            _label_trainer(work, name, model),
        )


def _encoder_files(start: str | None) -> dict[str, str]:
    """Hashes of a sentence encoder's files: it counts by what it holds, not by where it lies."""
    return SentenceEncoder(start).hashes() if start is not None else {}


def _label_trainer(work: Run, name: str, model: ModelConfig) -> Callable[[Path], dict[str, Any]]:
    def train(folder: Path) -> dict[str, Any]:
        rows = Labels.load(work.root / "data" / "train.parquet")
        text = work.root / "text"
        with work.console.progress(name, model.training.steps) as advance:
            best = train_matcher(
                model,
                training_pairs(text, rows, encoder_kind(model.preset)),
                text,
                Labels.load(work.root / "data" / "valid.parquet"),
                work.config.data.positive_threshold,
                folder,
                weights=LABELS_ONLY,
                seed=work.config.seed,
                advance=advance,
            )
        return {f"valid_{model.training.objective}": best}

    return train


def _score(work: Run) -> None:
    work.directory.stage(
        "scores",
        {"precision": work.config.teacher.training.precision}
        | ({"further": list(work.config.further_teachers)} if work.config.further_teachers else {}),
        ["teacher", "gbdt", "transfer", *work.config.further_teachers],
        lambda folder: score_rows(work.config, work.root, folder, work.console),
    )


def _finish(work: Run) -> None:
    from kdmatch.pipeline.finish_stage import finish

    finish(work.config, work.root, work.directory, work.console)
