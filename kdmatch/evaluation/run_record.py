"""What a run directory holds, read once for the report and the model card."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from kdmatch.errors import UserError
from kdmatch.evaluation.evaluate import PRIMARY
from kdmatch.evaluation.ranks import Floats

BESIDE = ("ablation", "search")  # folders of trainings that a run's results do not come from
TEACHERS = ("gbdt", "original", "teacher", "teachers")
STUDENTS = ("albert", "textcnn", "cnn_attention")
REFERENCES = ("teacher", "teachers", "original", "gbdt")  # whom students are measured against


@dataclass(frozen=True)
class RunRecord:
    """The files of a run; what a run lacks is empty.

    Attributes:
        path: the run directory.
        metrics: `metrics.json`.
        models: its models, teachers first, each student before its control.
        config: text of `config.yaml`.
        histories: folder below the run to columns of its `history.csv`.
        label: labels of the evaluated rows.
        scores: model name to its scores of those rows.
        importance: gain of each GBDT feature.
        stages: contents of each `done.json`, in the order they finished.
        bench: `bench.json` of `kdmatch bench`.
    """

    path: Path
    metrics: dict[str, Any]
    models: dict[str, dict[str, Any]]
    config: str
    histories: dict[str, dict[str, Floats]]
    label: Floats
    scores: dict[str, Floats]
    importance: dict[str, float]
    stages: list[dict[str, Any]]
    bench: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the run directory."""
        return self.path.resolve().name

    @property
    def date(self) -> str:
        """When the metrics were written, as they say or else as the file system does."""
        if date := self.metrics.get("date") or self.metrics.get("finished"):
            return when(date)
        return when((self.path / "metrics.json").stat().st_mtime)

    @property
    def best_student(self) -> str | None:
        """The student with the highest AUC."""
        return max(filter(is_student, self.models), key=self.primary, default=None)

    def primary(self, model: str) -> float:
        """AUC of a model, −∞ where it is undefined."""
        value = (self.models[model].get(PRIMARY) or {}).get("value")
        return float("-inf") if value is None else value

    def comparison(self, a: str, b: str, metric: str = PRIMARY) -> dict[str, Any] | None:
        """The comparison a − b, turned round where the run has b − a."""
        return find_comparison(self.metrics, a, b, metric)


def read_run(path: Path) -> RunRecord:
    """Read what is there of a run; only `metrics.json` is required.

    Raises:
        UserError: if there is no `metrics.json`, or a file cannot be parsed.
    """
    metrics_file = path / "metrics.json"
    if not metrics_file.is_file():
        raise UserError(f"{path}: no metrics.json; not a run directory, or not evaluated yet")
    metrics = _json(metrics_file)
    if not isinstance(metrics.get("models"), dict):
        raise UserError(f"{metrics_file}: no 'models'; run the evaluation again")
    label, scores = _scores(path / "evaluate" / "scores.parquet")
    config, importance = path / "config.yaml", path / "gbdt" / "importance.json"
    bench = path / "bench.json"
    return RunRecord(
        path=path,
        metrics=metrics,
        models={name: metrics["models"][name] for name in in_order(metrics["models"])},
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
        histories={
            found.parent.relative_to(path).as_posix(): _history(found)
            for found in sorted(path.glob("*/**/history.csv"))
            if _is_of_the_run(found.relative_to(path), metrics)
        },
        label=label,
        scores={name: scores[name] for name in in_order(scores)},
        importance=_json(importance) if importance.is_file() else {},
        stages=_stages(path, metrics),
        bench=_json(bench) if bench.is_file() else {},
    )


def in_order(models: Iterable[str]) -> list[str]:
    """Model names as tables list them: teachers, then each student and its control.

    >>> in_order(["mine", "albert_control", "teachers", "teacher_cnn", "albert", "gbdt"])
    ['gbdt', 'teacher_cnn', 'teachers', 'albert', 'albert_control', 'mine']
    """
    known = (*TEACHERS, *STUDENTS)

    def key(name: str) -> tuple[int, str, bool]:
        base = "teacher" if is_further_teacher(name) else control_of(name) or name
        kin = kin_of(name)
        return known.index(kin) if kin in known else len(known), base, base != name

    return sorted(models, key=key)


def kin_of(name: str) -> str | None:
    """The well-known model that one is placed and coloured as, None where it is none's kin.

    >>> kin_of("albert_128_control"), kin_of("teacher_cnn"), kin_of("gbdt_like")
    ('albert', 'teacher', None)
    """
    if name in TEACHERS:
        return name
    if is_further_teacher(name):
        return "teacher"
    return next((kin for kin in STUDENTS if f"{name}_".startswith(f"{kin}_")), None)


def control_of(name: str) -> str | None:
    """The student that a control belongs to, None for any other model."""
    return name.removesuffix("_control") if name.endswith("_control") else None


def is_student(name: str) -> bool:
    """Whether a model is a student: neither a teacher nor a control."""
    return not (name in TEACHERS or is_further_teacher(name) or control_of(name))


def is_further_teacher(name: str) -> bool:
    """Whether a model is one of a config's `further_teachers`."""
    return name.startswith("teacher_")


def find_comparison(
    metrics: Mapping[str, Any], a: str, b: str, metric: str = PRIMARY
) -> dict[str, Any] | None:
    """The comparison a − b of a `metrics.json`, turned round where it has b − a."""
    for found in metrics.get("comparisons") or ():
        if found["metric"] == metric and found["difference"] is not None:
            if (found["a"], found["b"]) == (a, b):
                return found
            if (found["a"], found["b"]) == (b, a):
                low, high = found["low"], found["high"]
                turned = {"difference": -found["difference"], "low": None, "high": None}
                if low is not None and high is not None:
                    turned |= {"low": -high, "high": -low}
                return {"a": a, "b": b, "metric": metric} | turned
    return None


def when(moment: object) -> str:
    """A moment, seconds since 1970 or ISO text, as date and minute."""
    if isinstance(moment, int | float):
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return str(moment)[:16].replace("T", " ")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected an object, found a {type(found).__name__}")
    return found


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _history(path: Path) -> dict[str, Floats]:
    """Columns that hold at least one number."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {
        name: np.array([_float(row[name]) for row in rows])
        for name in (rows[0] if rows else ())
        if isinstance(name, str)
    }
    return {name: column for name, column in columns.items() if np.isfinite(column).any()}


def _scores(path: Path) -> tuple[Floats, dict[str, Floats]]:
    if not path.is_file():
        return np.empty(0), {}
    table = pq.read_table(path)
    columns = {
        name: table[name].to_numpy().astype(float)
        for name in table.column_names
        if name == "label" or name.startswith("score_")
    }
    label = columns.pop("label", np.full(len(table), np.nan))
    return label, {name.removeprefix("score_"): column for name, column in columns.items()}


def _is_of_the_run(file: Path, metrics: Mapping[str, Any]) -> bool:
    """Whether a file is none of the trainings beside a run, nor a former student's."""
    top, *below = file.parts
    return top not in BESIDE and (top != "students" or below[0] in metrics["models"])


def _stages(path: Path, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    stages = []
    for found in sorted(path.glob("**/done.json")):
        if found.relative_to(path).parts[0] == "students" and not _is_of_the_run(
            found.relative_to(path), metrics
        ):
            continue
        stages.append({"stage": found.parent.relative_to(path).as_posix()} | _json(found))
    return sorted(stages, key=lambda stage: str(stage.get("finished", "")))
