"""An oracle over a small space, and trials that end at once."""

from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.search.oracles import make_oracle
from kdmatch.search.safe_oracle import SafeOracle


def make(folder: Path, **search: Any) -> SafeOracle:
    space = keras_tuner.HyperParameters()
    space.Fixed("search", "albert-0")
    space.Float("alpha", 0.0, 1.0, default=0.25)
    space.Choice("hard", ["hinge", "both"], default="both")
    oracle = make_oracle(SearchConfig(**search), space)
    oracle._set_project_dir(str(folder), "study")
    if (folder / "study" / "oracle.json").exists():
        oracle.reload()
    return oracle


def run_one(oracle: SafeOracle, tuner: str = "t", fail: bool = False) -> Trial:
    trial = oracle.create_trial(tuner)
    if trial.status == TrialStatus.RUNNING:
        if fail:
            trial.status, trial.message = TrialStatus.FAILED, "no luck"
        else:
            value = trial.hyperparameters.values["alpha"]
            oracle.update_trial(trial.trial_id, {"auc": value})
            trial.status = TrialStatus.COMPLETED
        oracle.end_trial(trial)
    return trial


def end(oracle: SafeOracle, tuner: str, curve: list[float], stopped: bool = False) -> Trial:
    """A trial that leaves its curve, as a training does."""
    trial = oracle.create_trial(tuner)
    folder = Path(oracle._get_trial_dir(trial.trial_id))
    lines = "\n".join(["step,valid_auc", *(f"{i},{value}" for i, value in enumerate(curve))])
    (folder / "history.csv").write_text(lines)
    if stopped:
        (folder / "stopped.txt").write_text("by the median")
    oracle.update_trial(trial.trial_id, {"auc": max(curve)})
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
    return trial
