"""What a recipe's parts are worth: without each lever, with it alone, loss after loss."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdmatch.data.rows import Labels, Rows
from kdmatch.errors import UserError
from kdmatch.evaluation.evaluate import evaluate_and_compare
from kdmatch.files import read_json, write_json
from kdmatch.pipeline.config.loader import merge, parse_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run import prepare_students
from kdmatch.pipeline.run_directory import Stage
from kdmatch.pipeline.scoring import encode_table
from kdmatch.pipeline.student_stage import control_stage, student_inputs, student_stage
from kdmatch.pipeline.teacher_stage import matcher_logits
from kdmatch.pipeline.text_stage import load_ids
from kdmatch.pipeline.training_stage import encoder_kind
from kdmatch.pipeline.work import Run
from kdmatch.search.collapse import collapse_or_value

WHOLE, NOTHING, CONTROL = "recipe", "labels", "control"


@dataclass(frozen=True)
class Lever:
    """A part of a recipe that can be switched off.

    Attributes:
        student: keys of a student's section that switch it off.
        alone: whether it can do anything beside labels alone.
    """

    student: Mapping[str, Any]
    alone: bool = True


LEVERS: dict[str, Lever] = {
    "soft": Lever({"distillation": {"alpha": 0.0}}),
    "relevance": Lever({"distillation": {"gamma": 0.0}}),
    "transfer": Lever({"transfer_share": 0.0}, alone=False),
    "scaling": Lever({"distillation": {"scaling": "none"}}),
    "details": Lever({"arguments": {"match_details": False}}),
    "coverage": Lever({"arguments": {"match_coverage": False}}),
    "characters": Lever({"arguments": {"match_characters": False}}),
    "start": Lever({"start": "scratch"}),
    "average": Lever({"training": {"average": 0.0}}),
}
_NO_HARD_LOSS = {"distillation": {"beta": 0.0}}


def variants(config: Config, student: str) -> dict[str, Config]:
    """Configs by name: the recipe, `- lever` without it, `+ lever` labels and it, labels alone.

    Levers that the recipe does not use are left out.
    """
    whole = student_inputs(config, student, 0)
    used = [
        name
        for name in LEVERS
        if student_inputs(without(config, student, [name]), student, 0) != whole
    ]
    bare = without(config, student, used)
    found = {WHOLE: config} | {f"- {name}": without(config, student, [name]) for name in used}
    for name in used:
        if LEVERS[name].alone:
            others = [other for other in used if other != name]
            found[f"+ {name}"] = without(config, student, others)
    return found | {NOTHING: bare}


def losses(config: Config, student: str) -> dict[str, Config]:
    """Configs by name: the control, then one loss more at a time, transfer rows, and the recipe.

    What the matcher is told and where it starts is the recipe's in all of them.
    """
    without_transfer = without(config, student, ["transfer"])
    soft_and_hard = without(without_transfer, student, ["relevance"])
    return {
        CONTROL: config,
        "soft": _merged(soft_and_hard, student, _NO_HARD_LOSS),
        "soft + hard": soft_and_hard,
        "soft + hard + relevance": without_transfer,
        WHOLE: config,
    }


VARIANTS = {"levers": variants, "losses": losses}


def without(config: Config, student: str, levers: Sequence[str]) -> Config:
    """The config with some levers off for a student."""
    for name in levers:
        config = _merged(config, student, LEVERS[name].student)
    return config


def _merged(config: Config, student: str, section: Mapping[str, Any]) -> Config:
    """The config with other keys in a student's section.

    An argument that is not given is off: nothing switches it off once more.
    """
    raw = config.model_dump(mode="json")
    # What is merged into a config becomes part of it.
    merge(raw, copy.deepcopy({"students": {student: section}}))
    own = raw["students"][student]
    given = config.student(student).arguments
    own["arguments"] = {k: v for k, v in own["arguments"].items() if v is not False or k in given}
    return parse_config(raw, "ablation")


def ablate(
    config: Config,
    root: Path,
    student: str,
    seeds: Sequence[int],
    console: Console,
    jobs: int = 1,
    of: str = "levers",
    rows: tuple[str, pa.Table] | None = None,
) -> dict[str, Any]:
    """Train every variant of a student's recipe and compare them.

    Each is a stage `ablation/STUDENT/VARIANT/seed-N` of the run, so a killed
    call goes on; the data, ids and teachers' scores are the run's, and so are the
    recipe and the control where the run has them.

    Args:
        config: Config.
        root: Path of the run; what students read is made if missing.
        student: str.
        seeds: sequence of int. Each variant is trained once for each.
        console: Console.
        jobs: int. Variants trained at a time.
        of: str. "levers" or "losses", of `VARIANTS`.
        rows: the name of a split and its labelled pyarrow.Table in the dataset's
            schema; the run's valid by default.

    Returns:
        the contents of `ablation/STUDENT/OF-SPLIT.json`: as a run's `metrics.json`, the
        models being variants, compared with the recipe and with the control, the `+`
        levers with labels alone; and `collapsed`, variant to reason, of those that have no
        numbers because a training of theirs collapsed.

    Raises:
        UserError: if the config has no such student, or all variants collapse.
    """
    seeds = list(dict.fromkeys(seeds))
    if student not in config.students:
        known = ", ".join(config.students)
        raise UserError(f"--student {student}: this config has {known}")
    work = prepare_students(config, root, console)
    ways = VARIANTS[of](config, student)
    stages = {
        (name, seed): _stage(work, way, student, name, seed)
        for name, way in ways.items()
        for seed in seeds
    }
    work.directory.stages(list(stages.values()), jobs)
    kind = encoder_kind(config.student(student).preset)
    if rows is None:
        split, measured = "valid", Labels.load(root / "data" / "valid.parquet")
        ids = load_ids(root / "text" / "valid", kind)
    else:
        split, measured = rows[0], Rows.from_table(rows[1])
        ids = encode_table(rows[1], root)[kind]
    collapsed = {}
    for (name, _), stage in stages.items():
        if reason := read_json(root / stage.name / "done.json").get("reason"):
            collapsed[name] = reason
    if collapsed.keys() == ways.keys():
        raise UserError(f"ablation of {student}: every variant's {collapsed[WHOLE]}")
    scores = {
        name: np.stack(
            [matcher_logits(root / stages[name, seed].name, ids, console) for seed in seeds]
        )
        for name in ways
        if name not in collapsed
    }
    found = {
        "dataset": config.name,
        "split": split,
        "of": of,
        "student": student,
        **_compare(config, measured, scores),
        "collapsed": collapsed,
    }
    write_json(root / "ablation" / student / f"{of}-{split}.json", found)
    return found


def _stage(work: Run, way: Config, student: str, name: str, seed: int) -> Stage:
    """The run's own training where it is the same and done, else one of the ablation's."""
    make = control_stage if name == CONTROL else student_stage
    own = make(work, way, student, seed)
    if work.directory.is_done(own):
        return own
    named = dataclasses.replace(own, name=f"ablation/{student}/{name.replace(' ', '')}/seed-{seed}")
    return collapse_or_value(named, f"valid_{way.student(student).training.objective}")


def _compare(
    config: Config, rows: Rows | Labels, scores: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    pairs = [(name, NOTHING if name.startswith("+") else WHOLE) for name in scores if name != WHOLE]
    pairs += [(name, CONTROL) for name in scores if name != CONTROL]
    pairs = [(name, other) for name, other in pairs if other in scores]
    models, compared = evaluate_and_compare(
        rows.label,
        rows.group,
        scores,
        pairs,
        metrics=("auc",),
        positive_threshold=config.data.positive_threshold,
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )
    return {
        "models": {
            name: {"auc": model["auc"], "seeds": {"auc": model["seeds"]["auc"]}}
            for name, model in models.items()
        },
        "comparisons": compared,
    }
