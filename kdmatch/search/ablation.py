"""What each lever of a recipe is worth: without it, and with it alone."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.data.rows import Labels
from kdmatch.errors import UserError
from kdmatch.evaluation.evaluate import evaluate_and_compare
from kdmatch.pipeline.config import Config
from kdmatch.pipeline.config_loader import merge, parse_config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.json_files import write_json
from kdmatch.pipeline.run import prepare_students
from kdmatch.pipeline.student_stage import student_stage
from kdmatch.pipeline.teacher_stage import matcher_logits
from kdmatch.pipeline.text_stage import load_ids
from kdmatch.pipeline.training_stage import encoder_kind

WHOLE, NOTHING = "recipe", "labels"


@dataclass(frozen=True)
class Lever:
    """A part of a recipe that can be switched off.

    Attributes:
        student: keys of a student's section that switch it off; an argument that is None is
            taken away.
        run: keys of the config that do.
        alone: whether it can do anything beside labels alone.
    """

    student: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = True


LEVERS: dict[str, Lever] = {
    "soft": Lever({"distillation": {"alpha": 0.0}}),
    "relevance": Lever({"distillation": {"gamma": 0.0}}),
    "transfer": Lever(run={"transfer": {"share": 0.0}}, alone=False),
    "scaling": Lever({"distillation": {"scaling": "none"}}),
    "details": Lever({"arguments": {"match_details": None}}),
    "coverage": Lever({"arguments": {"match_coverage": None}}),
    "characters": Lever({"arguments": {"match_characters": None}}),
    "start": Lever({"start": "scratch"}),
    "average": Lever({"training": {"average": 0.0}}),
}


def variants(config: Config, student: str) -> dict[str, Config]:
    """Configs by name: the recipe, `- lever` without it, `+ lever` labels and it, labels alone.

    Levers that the recipe does not use are left out.
    """
    used = [name for name in LEVERS if without(config, student, [name]) != config]
    bare = without(config, student, used)
    found = {WHOLE: config} | {f"- {name}": without(config, student, [name]) for name in used}
    for name in used:
        if LEVERS[name].alone:
            others = [other for other in used if other != name]
            found[f"+ {name}"] = without(config, student, others)
    return found | {NOTHING: bare}


def without(config: Config, student: str, levers: Sequence[str]) -> Config:
    """The config with some levers off for a student."""
    raw = config.model_dump(mode="json")
    for name in levers:
        lever = copy.deepcopy(LEVERS[name])  # what is merged into a config becomes part of it
        merge(raw, {"students": {student: lever.student}})
        merge(raw, dict(lever.run))
    section = raw["students"][student]
    section["arguments"] = {k: v for k, v in section["arguments"].items() if v is not None}
    return parse_config(raw, "ablation")


def ablate(
    config: Config,
    root: Path,
    student: str,
    seeds: Sequence[int],
    console: Console,
    jobs: int = 1,
) -> dict[str, Any]:
    """Train every variant of a student's recipe and compare them on valid.

    Each is a stage `ablation/STUDENT/VARIANT/seed-N` of the run, so a killed
    call goes on; the data, ids and teachers' scores are the run's.

    Args:
        config: Config.
        root: Path of the run; what students read is made if missing.
        student: str.
        seeds: sequence of int. Each variant is trained once for each.
        console: Console.
        jobs: int. Variants trained at a time.

    Returns:
        the contents of `ablation/STUDENT/metrics.json`: as a run's, the models
        being variants, compared with the recipe or, the `+` ones, with labels
        alone.

    Raises:
        UserError: if the config has no such student.
    """
    if student not in config.students:
        known = ", ".join(config.students)
        raise UserError(f"--student {student}: this config has {known}")
    work = prepare_students(config, root, console)
    valid = Labels.load(root / "data" / "valid.parquet")
    ways = variants(config, student)
    stages = {
        (name, seed): student_stage(work, way, student, seed, _stage_name(student, name, seed))
        for name, way in ways.items()
        for seed in seeds
    }
    work.directory.stages(list(stages.values()), jobs)
    ids = load_ids(root / "text" / "valid", encoder_kind(config.student(student).preset))
    scores = {
        name: [matcher_logits(root / stages[name, seed].name, ids, console) for seed in seeds]
        for name in ways
    }
    found = _compare(config, student, valid, scores)
    write_json(root / "ablation" / student / "metrics.json", found)
    return found


def _stage_name(student: str, variant: str, seed: int) -> str:
    return f"ablation/{student}/{variant.replace(' ', '')}/seed-{seed}"


def _compare(
    config: Config, student: str, valid: Labels, scores: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "positive_threshold": config.data.positive_threshold,
        "resamples": config.evaluation.resamples,
        "seed": config.seed,
    }
    pairs = [(name, NOTHING if name.startswith("+") else WHOLE) for name in scores if name != WHOLE]
    seeds = {name: np.stack(found) for name, found in scores.items()}
    models, compared = evaluate_and_compare(
        valid.label, valid.group, seeds, pairs, metrics=("auc",), **settings
    )
    return {
        "dataset": config.name,
        "split": "valid",
        "student": student,
        "models": {
            name: {"auc": model["auc"], "seeds": {"auc": model["seeds"]["auc"]}}
            for name, model in models.items()
        },
        "comparisons": compared,
    }
