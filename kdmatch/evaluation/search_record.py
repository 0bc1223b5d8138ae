"""What a run's searches left, read for the report."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_END = 0.02


@dataclass(frozen=True)
class SearchRecord:
    """One student's search.

    Attributes:
        student: str.
        objective: name of the metric.
        settings: the `search` section it was made with.
        parameters: name to `{"low", "high", "sampling", "choices", "start"}`.
        trials: rows of `trials.csv`; numbers are numbers, what is empty is None.
        verify: `verify.json`, or empty.
        best_file: text of `best_hyperparameters.yaml`, or empty.
    """

    student: str
    objective: str
    settings: dict[str, Any]
    parameters: dict[str, dict[str, Any]]
    trials: list[dict[str, Any]]
    verify: dict[str, Any]
    best_file: str

    @property
    def ended(self) -> list[dict[str, Any]]:
        """Trials with a value, in the order they began."""
        return [trial for trial in self.trials if trial[self.objective] is not None]

    @property
    def best(self) -> dict[str, Any] | None:
        """The trial with the largest value."""
        return max(self.ended, key=lambda trial: trial[self.objective], default=None)

    @property
    def own(self) -> dict[str, Any] | None:
        """The last trial with the config's own values, those of the first, that has a value.

        Hyperband carries a trial on under a new name.
        """
        alike = [
            trial
            for trial in self.ended
            if all(trial[name] == self.trials[0][name] for name in self.parameters)
        ]
        return alike[-1] if alike else None


def share_of_range(parameter: Mapping[str, Any], values: Any) -> Any:
    """Where numbers lie between the ends of a parameter's range, 0 to 1, by its sampling.

    Args:
        parameter: as of `SearchRecord`, without choices.
        values: float or array.
    """
    scale = np.log if parameter["sampling"] == "log" else np.asarray
    low, high = scale(parameter["low"]), scale(parameter["high"])
    return (scale(values) - low) / (high - low)


def at_ends(
    parameters: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]
) -> dict[str, float]:
    """Parameters whose values stand at an end of their ranges, beyond which may be better ones.

    An end at 0 is none: nothing lies beyond.

    Args:
        parameters: as of `SearchRecord`.
        values: a trial's; others than those of the parameters are passed over.

    Returns:
        name to value.
    """
    found = {}
    for name, one in parameters.items():
        value, low, high = values.get(name), one["low"], one["high"]
        if one["choices"] is not None or value is None or not low < high:
            continue
        share = share_of_range(one, value)
        if share > 1 - _END or (share < _END and low != 0):
            found[name] = value
    return found


def read_searches(run: Path) -> list[SearchRecord]:
    """The searches of a run that have a trial to show."""
    return [_read(path.parent) for path in sorted(run.glob("search/*/trials.csv"))]


def _read(folder: Path) -> SearchRecord:
    found = json.loads((folder / "search.json").read_text("utf-8"))
    objective = found["search"]["objective"]
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = {objective, "epochs", "seconds"}
    numbers |= {name for name, one in found["parameters"].items() if _is_number(one)}
    verify, best = folder / "verify.json", folder / "best_hyperparameters.yaml"
    return SearchRecord(
        student=found["student"],
        objective=objective,
        settings=found["search"],
        parameters=found["parameters"],
        trials=[
            {name: _value(text, name in numbers) for name, text in row.items()} for row in rows
        ],
        verify=json.loads(verify.read_text("utf-8")) if verify.is_file() else {},
        best_file=best.read_text("utf-8") if best.is_file() else "",
    )


def _is_number(parameter: dict[str, Any]) -> bool:
    return parameter["choices"] is None


def _value(text: str | None, number: bool) -> Any:
    if not text:
        return None
    if not number:
        return text
    value = float(text)
    return value if math.isfinite(value) else None
