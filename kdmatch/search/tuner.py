"""KerasTuner's tuner over this project's training loop."""

import contextlib
import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial
from keras_tuner.errors import FailedTrialError
from keras_tuner.src import config

from kdmatch.files import write_json
from kdmatch.pipeline.console import Console
from kdmatch.search.callbacks import STOPPED
from kdmatch.search.client import ChiefClient, ChiefGoneError
from kdmatch.search.hparams import log_trial
from kdmatch.search.safe_oracle import SafeOracle
from kdmatch.search.trial import Rung, TrialTrainer

_BETWEEN_REQUESTS = 0.5

# KerasTuner prints the traceback of every failed trial; trial.json keeps it.
config.DEBUG = False


class StudentTuner(keras_tuner.Tuner):
    """Runs trials of a student, for the oracle in this process or for a chief's.

    Args:
        oracle: SafeOracle.
        trainer: TrialTrainer, or None where this process runs no trial.
        folder: Path of the search; trials get `trial_…` below it.
        console: Console for progress.
        chief: ChiefClient, to which the oracle's calls go, or None.
        alive: callable, called every few seconds and between trials; it raises
            ChiefGoneError where there is no more use for this process.
    """

    def __init__(
        self,
        oracle: SafeOracle,
        trainer: TrialTrainer | None,
        folder: Path,
        console: Console,
        chief: ChiefClient | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._trainer, self._console, self._alive = trainer, console, alive
        self._chief, self._asked = chief, 0.0
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it reloads, to anyone
            super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)
        if chief is not None:
            self.oracle, self.tuner_id = chief, chief.tuner_id

    def _is_worker(self) -> bool:
        return self._chief is not None

    def pre_create_trial(self) -> None:
        self._alive()
        # An oracle that waits for other workers answers IDLE at once, and is asked again.
        time.sleep(max(0.0, self._asked + _BETWEEN_REQUESTS - time.monotonic()))
        self._asked = time.monotonic()

    def run_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Train; whatever goes wrong is the trial's, and its reason is kept beside it.

        Raises:
            FailedTrialError: with the reason.
            ChiefGoneError: if the chief is, or gave the trial to another worker.
        """
        assert self._trainer is not None
        values = trial.hyperparameters.values
        folder = Path(self.get_trial_dir(trial.trial_id))
        beat = None if self._chief is None else partial(self._beat, trial.trial_id)
        search = self._trainer.config.search
        rung = self._rung(values, values.get("tuner/epochs", search.epochs))
        title = f"{self._trainer.student} trial {trial.trial_id}"
        (folder / STOPPED).unlink(missing_ok=True)
        try:
            with self._console.progress(title, self._trainer.steps(rung.epochs)) as advance:
                found = self._trainer.train(
                    values, folder, rung, beat, lambda done, _: advance(done, "")
                )
        except ChiefGoneError:
            raise  # the trial goes to another
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            (folder / "failed.txt").write_text(reason, encoding="utf-8")
            raise FailedTrialError(reason) from error
        if found["stopped"]:
            (folder / STOPPED).write_text("by the median of the other trials", encoding="utf-8")
        shown = {name: value for name, value in values.items() if name != "search"}
        with contextlib.suppress(OSError):  # pictures of a trial are not worth a trial
            log_trial(folder, shown, search.objective, found["values"])
        return {search.objective: found["value"]}

    def _beat(self, trial_id: str) -> None:
        self._alive()
        self.oracle.get_trial(trial_id)  # a chief notes who asks

    def _rung(self, values: dict[str, Any], epochs: int) -> Rung:
        if "tuner/epochs" not in values:
            return Rung(epochs)
        before = values.get("tuner/trial_id")
        return Rung(epochs, Path(self.get_trial_dir(before)) if before else None, resumable=True)

    def save(self) -> None:
        """Write the tuner's own (empty) state, complete or not at all; a worker has none."""
        if self._chief is None:
            write_json(Path(self._get_tuner_fname()), self.get_state())
