"""One trial: the ordinary training of a student, shorter and on the sample."""

import contextlib
import gc
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.rows import Labels
from kdmatch.errors import UserError
from kdmatch.evaluation.objective import validation_metric
from kdmatch.files import read_json, whole
from kdmatch.models.matcher import Matcher
from kdmatch.pipeline.config.models import ModelConfig, TrainingConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.training_stage import encoder_kind, start_matcher, train_matcher
from kdmatch.search.callbacks import EpochLimit, Heartbeat, MedianStop, read_values
from kdmatch.search.memory import traced_gradients_forgotten
from kdmatch.search.sample import sample_pairs
from kdmatch.search.space import Parameter, overrides, with_overrides


@dataclass(frozen=True)
class Rung:
    """How far a trial goes, and where it goes on from.

    Attributes:
        epochs: it stops after so many.
        before: folder of the trial whose checkpoint it goes on from, or None.
        resumable: write checkpoints, for a later rung to go on from.
    """

    epochs: int
    before: Path | None = None
    resumable: bool = False


@dataclass
class TrialTrainer:
    """Everything that trials share, read once.

    Args:
        config: Config.
        student: name of the student.
        space: its parameters.
        root: Path of the run, whose `scores` are there.
    """

    config: Config
    student: str
    space: list[Parameter]
    root: Path
    pairs: ScoredPairs = field(init=False)
    queries: list[str] = field(init=False)
    valid: Labels = field(init=False)

    def __post_init__(self) -> None:
        search = self.config.search
        kind = encoder_kind(self.config.student(self.student).preset)
        self.pairs, self.queries = sample_pairs(self.root, kind, search.sample, search.seed)
        self.valid = Labels.load(self.root / "data" / "valid.parquet")
        threshold = self.config.data.positive_threshold
        metric = validation_metric(search.objective, self.valid.label, self.valid.group, threshold)
        if math.isnan(metric(np.zeros(len(self.valid)))):
            raise UserError(f"search.objective: {search.objective} is undefined on valid")
        self._started: tuple[str, list[np.ndarray]] = ("", [])
        self._made_from = self._scores_key()

    def _scores_key(self) -> Any:
        return read_json(self.root / "scores" / "done.json")["key"]

    @property
    def metric(self) -> str:
        """Name of the objective in logs and histories."""
        return f"valid_{self.config.search.objective}"

    def steps(self, epochs: int) -> int:
        """Updates until the end of an epoch."""
        training = self.config.student(self.student).training
        return epochs * trial_schedule(training, self.config).validate_every

    def train(
        self,
        values: Mapping[str, Any],
        folder: Path,
        rung: Rung,
        beat: Callable[[], None] | None = None,
        advance: Callable[[int, str], None] | None = None,
    ) -> dict[str, Any]:
        """Train with some values and leave `history.csv` in `folder`.

        Args:
            values: parameter name to KerasTuner's value.
            folder: Path of the trial.
            rung: Rung.
            beat: callable, called every few seconds.
            advance: callable of (steps done, message).

        Returns:
            `{"value", "values", "stopped", "seconds"}`: the best value of the
            objective, that of each epoch, whether the median ended it early.

        Raises:
            UserError: if the training collapses, the values cannot be, or a `kdmatch run` has
                replaced what the search began with.
        """
        if self._scores_key() != self._made_from:
            raise UserError(
                f"{self.root}: its scores are no longer those that this search began with; search "
                "again, and let no `kdmatch run` change the run meanwhile"
            )
        begun = time.monotonic()
        keras.utils.clear_session(free_memory=True)
        gc.collect()
        search = self.config.search
        config = with_overrides(self.config, self.student, overrides(self.space, values))
        model = config.student(self.student)
        model = model.model_copy(update={"training": trial_schedule(model.training, config)})
        folder.mkdir(parents=True, exist_ok=True)
        if rung.before is not None and not (folder / "checkpoint.npz").exists():
            _go_on_from(rung.before, folder)
        extra: list[keras.callbacks.Callback] = [EpochLimit(rung.epochs)]
        median = MedianStop(lambda: self._others(folder), search.stop_after, self.metric)
        if search.stop_after and not rung.resumable:
            extra.append(median)
        with contextlib.ExitStack() as whole:
            whole.enter_context(traced_gradients_forgotten())
            if beat is not None:
                extra.append(whole.enter_context(Heartbeat(beat)))
            best = train_matcher(
                model,
                self.pairs,
                self.root / "text",
                self.valid,
                config.data.positive_threshold,
                folder,
                weights=config.distillation_of(self.student).model_dump(),
                unlabelled_share=config.transfer_share_of(self.student),
                seed=search.seed,
                teacher=self.root / "teacher",
                advance=advance,
                extra=extra,
                start=self._start,
                checkpoints=rung.resumable,
                keep=False,
            )
        seen = read_values(folder / "history.csv", self.metric)
        return {
            "value": best,
            "values": seen,
            "stopped": median.stopped and len(seen) < rung.epochs,
            "seconds": time.monotonic() - begun,
        }

    def _others(self, folder: Path) -> list[list[float]]:
        histories = folder.parent.glob("trial_*/history.csv")
        return [read_values(path, self.metric) for path in histories if path.parent != folder]

    def _start(self, model: ModelConfig, text: Path, teacher: Path | None) -> Matcher:
        """As `start_matcher`, the start of the same architecture being kept in memory."""
        shape = {name: value for name, value in model.arguments.items() if name != "dropout"}
        key = json.dumps([model.preset, model.start, model.take_layers, shape], sort_keys=True)
        if key == self._started[0]:
            matcher = start_matcher(model.model_copy(update={"start": "scratch"}), text, teacher)
            matcher.set_weights(self._started[1])
            return matcher
        matcher = start_matcher(model, text, teacher)
        self._started = (key, matcher.get_weights())
        return matcher


def trial_schedule(training: TrainingConfig, config: Config) -> TrainingConfig:
    """A student's training at the length of a trial, in equal epochs.

    `search.steps`, or the student's steps times √sample: between as many
    passes over the rows as the full training makes, too few steps to compare
    rates by, and as many steps, which would make no trial cheaper. Patience and
    an average of the weights span the same share of the steps.
    """
    search = config.search
    share = training.patience * training.validate_every / training.steps
    patience = math.ceil(share * search.epochs)
    steps = search.steps or round(training.steps * math.sqrt(search.sample))
    every = max(1, steps // search.epochs)
    shorter: dict[str, Any] = {"steps": every * search.epochs, "validate_every": every}
    shorter |= {"patience": patience, "objective": search.objective}
    average = training.average ** (training.steps / shorter["steps"]) if training.average else 0.0
    return training.model_copy(update={**shorter, "average": average})


def _go_on_from(before: Path, folder: Path) -> None:
    for name in ("checkpoint.npz", "history.csv"):
        if (before / name).exists():
            with whole(folder / name) as partial:
                shutil.copyfile(before / name, partial)
