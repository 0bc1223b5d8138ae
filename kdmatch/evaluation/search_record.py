"""What a run's searches left, read for the report."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
