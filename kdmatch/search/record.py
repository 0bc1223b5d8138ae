"""What a search leaves to look at and to go on with."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from keras_tuner.engine.trial import Trial, TrialStatus

from kdmatch.files import read_json, write_text
from kdmatch.pipeline.config.run import Config
from kdmatch.search.callbacks import STOPPED, read_values
from kdmatch.search.safe_oracle import SafeOracle
from kdmatch.search.space import Parameter, overrides, own_values

BEST = "best_hyperparameters.yaml"
VERIFIED = "verify.json"


def write_record(
    oracle: SafeOracle, folder: Path, config: Config, student: str, space: Sequence[Parameter]
) -> None:
    """Write `trials.csv` and, once a trial is finished, `best_hyperparameters.yaml`.

    `trials.csv` has a line for each trial in the order they began: trial,
    status (with "stopped" for one that the median ended), objective, epochs,
    seconds, a column for each parameter, and the reason of a failure.
    """
    rows = [_row(oracle, folder, config, space, name) for name in oracle.start_order]
    columns = ["trial", "status", config.search.objective, "epochs", "seconds"]
    columns += [parameter.name for parameter in space] + ["reason"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "trials.csv", text.getvalue())
    write_best(oracle, folder, config, student, space)


@dataclass(frozen=True)
class Chosen:
    """What a search recommends.

    Attributes:
        trial: str or None. Its name; None for the config's own values where no trial had them.
        value: float. Of the objective.
        own: whether they are the config's own values.
        among: int. Of how many it is the best on all rows; 0 if none was trained on these.
    """

    trial: str | None
    value: float
    own: bool = False
    among: int = 0

    def __str__(self) -> str:
        return "the config's own values" if self.trial is None else f"trial {self.trial}"


def choose(oracle: SafeOracle, folder: Path) -> Chosen | None:
    """What is best on all rows, where the best trials were trained on them, else on the sample.

    None if nothing is finished, or all that were trained on all rows collapsed there.
    """
    if not (finished := finished_trials(oracle)):
        return None
    verified = verified_trials(finished, folder)
    full = [row for row in verified if row["full"] is not None]
    if full:
        row = max(full, key=lambda row: float(row["full"]))
        return Chosen(row["trial"], row["full"], bool(row.get("own")), len(full))
    return None if verified else Chosen(finished[0].trial_id, finished[0].score)


def write_best(
    oracle: SafeOracle, folder: Path, config: Config, student: str, space: Sequence[Parameter]
) -> None:
    """Write `best_hyperparameters.yaml` of what `choose` finds; take it away if that is nothing."""
    best = choose(oracle, folder)
    if best is None:
        (folder / BEST).unlink(missing_ok=True)
        return
    search, where = config.search, f"{config.search.sample:g} of the training queries"
    if best.among:
        where = f"all rows, where it is the best of {best.among}"
        where += ", and the config's own values" if best.own and best.trial else ""
    if best.own or best.trial is None:
        found = own_values(space)
    else:
        found = overrides(space, oracle.trials[best.trial].hyperparameters.values)
    text = (
        f"# {student}: {best} ({len(finished_trials(oracle))} finished) on {config.name}: "
        f"{search.objective} {best.value:.4f} on valid,\n"
        f"# trained on {where} ({search.tuner}, seed {search.seed}).\n"
        f"# kdmatch run CONFIG --out RUN --include {BEST}\n"
    )
    if search.objective != config.student(student).training.objective:
        found.setdefault("training", {})["objective"] = search.objective
    text += yaml.safe_dump({"students": {student: found}}, sort_keys=False)
    write_text(folder / BEST, text)


def verified_trials(finished: Sequence[Trial], folder: Path) -> list[dict[str, Any]]:
    """Rows of `verify.json`; none, and the file taken away, if others are the best trials now.

    Args:
        finished: what `finished_trials` returns.
        folder: Path of the student's search.
    """
    file = folder / VERIFIED
    if not file.exists():
        return []
    found = read_json(file)
    rows: list[dict[str, Any]] = found["trials"]
    names = [row["trial"] for row in rows][: found.get("top", len(rows))]
    if names != [trial.trial_id for trial in finished[: len(names)]]:
        file.unlink()
        return []
    return rows


def finished_trials(oracle: SafeOracle) -> list[Trial]:
    """Completed trials, the best first; of those with equal values the best one."""
    completed = [t for t in oracle.trials.values() if t.status == TrialStatus.COMPLETED]
    kept: dict[str, Trial] = {}
    for trial in sorted(completed, key=lambda trial: -trial.score):
        kept.setdefault(json.dumps(searched(trial), sort_keys=True), trial)
    return list(kept.values())


def with_own_values(oracle: SafeOracle) -> Trial | None:
    """The last completed trial with the values of the first one, which are the config's.

    Hyperband carries a trial on under a new name.
    """
    trials = [oracle.trials[name] for name in oracle.start_order]
    own = [trial for trial in trials if searched(trial) == searched(trials[0])]
    completed = [trial for trial in own if trial.status == TrialStatus.COMPLETED]
    return completed[-1] if completed else None


def epochs_of(folder: Path, trial: str, objective: str) -> int:
    """Epochs that a trial had until now."""
    return len(read_values(folder / f"trial_{trial}" / "history.csv", f"valid_{objective}"))


def reason(trial: Trial) -> str:
    """Why a trial failed, in a line."""
    lines = [line for line in (trial.message or "").splitlines() if line.strip()]
    return lines[-1].rpartition("FailedTrialError: ")[2] if lines else ""


def searched(trial: Trial) -> dict[str, Any]:
    """A trial's values without those that Hyperband adds."""
    values = trial.hyperparameters.values
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def _row(
    oracle: SafeOracle, folder: Path, config: Config, space: Sequence[Parameter], name: str
) -> dict[str, Any]:
    trial, objective = oracle.trials[name], config.search.objective
    status, values = trial.status.lower(), trial.hyperparameters.values
    if status == "completed" and (folder / f"trial_{name}" / STOPPED).exists():
        status = "stopped"
    return {
        "trial": name,
        "status": status,
        objective: trial.score,
        "epochs": epochs_of(folder, name, objective) or None,
        "seconds": oracle.seconds.get(name),
        "reason": reason(trial) if trial.status == TrialStatus.FAILED else "",
        **{parameter.name: values.get(parameter.name) for parameter in space},
    }
