"""Every model of a finished run, scoring any rows."""

import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.ids import PairIds
from kdmatch.data.rows import Rows
from kdmatch.errors import UserError
from kdmatch.files import read_json
from kdmatch.pipeline.config.models import ModelConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import require_done
from kdmatch.pipeline.teacher_stage import (
    Gbdt,
    combine_targets,
    matcher_logits,
    matcher_teachers,
    student_targets,
)
from kdmatch.pipeline.text_stage import encode_file, load_ids
from kdmatch.pipeline.training_stage import encoder_kind


def score_models(
    config: Config,
    root: Path,
    table: pa.Table,
    console: Console,
    only: Collection[str] | None = None,
) -> tuple[Rows, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores of a table's rows by the teachers and by each student and seed.

    Args:
        config: Config of the run.
        root: Path of the run.
        table: pyarrow.Table in the dataset's schema.
        console: Console for progress.
        only: names of `model_names`, or None for all.

    Raises:
        UserError: if one of them is not trained yet.

    Returns:
        the rows; teacher name to scores `(n,)`; student name to scores `(seeds, n)`.
    """
    wanted = set(model_names(config) if only is None else only)
    folders = [one for one in student_folders(config, root) if one.name in wanted]
    seeds = [seed for folder in folders for seed in _seed_folders(config, folder)]
    require_done(root, ["scores", *(seed.relative_to(root).as_posix() for seed in seeds)])
    rows = Rows.from_table(table)
    ids = encode_table(table, root)

    def logits(folder: Path, model: ModelConfig) -> np.ndarray:
        return matcher_logits(folder, ids[encoder_kind(model.preset)], console)

    teachers = {}
    for name, model in _teachers(config).items():
        if name in wanted or "teachers" in wanted:
            folder = root / name
            teachers[name] = (
                logits(folder, model) if model else Gbdt(folder, config.gbdt.sentences).score(rows)
            )
    if "teachers" in wanted:
        combined = combine_targets(config, student_targets(root / "scores", teachers))
        teachers = {name: one for name, one in teachers.items() if name in wanted}
        teachers["teachers"] = combined
    students = {
        folder.name: np.stack(
            [
                logits(seed, model_config(config, folder.name))
                for seed in _seed_folders(config, folder)
            ]
        )
        for folder in folders
    }
    return rows, teachers, students


def encode_table(table: pa.Table, root: Path) -> dict[str, PairIds]:
    """A table's ids under a run's encoders, by their kind."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "rows.parquet"
        pq.write_table(table, path)
        encode_file(path, root / "text", Path(scratch) / "rows")
        return {kind: load_ids(Path(scratch) / "rows", kind) for kind in ("wordpiece", "words")}


def model_names(config: Config) -> list[str]:
    """What a run's models are called: teachers, all of them together, students and controls."""
    return [
        *_teachers(config),
        "teachers",
        *(folder.name for folder in student_folders(config, Path())),
    ]


def _teachers(config: Config) -> dict[str, ModelConfig | None]:
    """Folders of the teachers and of the original; the GBDT has no config of a matcher."""
    original = {} if config.original is None else {"original": config.original}
    return {"gbdt": None, **original, **matcher_teachers(config)}


def student_folders(config: Config, root: Path) -> list[Path]:
    """Folders of the students and, after each, its control's."""
    suffixes = ("", "_control") if config.control else ("",)
    return [root / "students" / f"{name}{end}" for name in config.students for end in suffixes]


def model_config(config: Config, name: str) -> ModelConfig:
    """The config of the teacher, or of a student or its control, by its name in the run."""
    return config.teacher if name == "teacher" else config.student(name.removesuffix("_control"))


def matcher_folder(config: Config, root: Path, name: str) -> Path:
    """Folder of the weights that a model's export is made from: of a student, its best seed.

    Raises:
        UserError: if it is not trained, or the run's text is no longer what it was trained on.
    """
    students = root / "students"
    folder = root / name if name == "teacher" else best_seed(config, students / name)
    require_done(root, [folder.relative_to(root).as_posix()])
    return folder


def best_seed(config: Config, folder: Path) -> Path:
    """The student's seed with the best objective on valid, of those trained: the one to export.

    Raises:
        UserError: if none is trained, or they were trained for another objective.
    """
    trained = [seed for seed in _seed_folders(config, folder) if (seed / "done.json").is_file()]
    if not trained:
        raise UserError(f"{folder}: not trained yet; call `kdmatch run` first")
    objective = model_config(config, folder.name).training.objective
    notes = {seed: read_json(seed / "done.json") for seed in trained}
    if any(f"valid_{objective}" not in one for one in notes.values()):
        raise UserError(
            f"{folder}: not trained for {objective}, as the config says now; call `kdmatch run`"
        )
    return max(trained, key=lambda seed: float(notes[seed][f"valid_{objective}"]))


def _seed_folders(config: Config, folder: Path) -> list[Path]:
    return [folder / f"seed-{seed}" for seed in config.seeds]
