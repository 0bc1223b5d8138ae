"""A run's data for a training loop of one's own."""

from pathlib import Path
from typing import Any

import keras

from kdmatch.data.batches import TrainingBatches
from kdmatch.data.rows import Labels
from kdmatch.distillation.distiller import Distiller
from kdmatch.distillation.options import soft_by_query
from kdmatch.distillation.training import predict_logits
from kdmatch.evaluation.evaluate import evaluate_scores
from kdmatch.models.matcher import Matcher, with_logits
from kdmatch.pipeline.config.loader import load_config
from kdmatch.pipeline.run_directory import require_done, require_run
from kdmatch.pipeline.student_stage import student_pairs
from kdmatch.pipeline.text_stage import load_ids
from kdmatch.pipeline.training_stage import encoder_kind, kind_of_inputs, start_matcher


class RunData:
    """What a run directory has to train a student with: ids, labels and teachers' scores.

    Args:
        root: str or Path. A run that is done up to its scores, as by
            `kdmatch run CONFIG --out RUN --until scores`.

    Raises:
        UserError: if it is not.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = require_run(Path(root))
        self.config = load_config(self.root / "config.yaml", recipes=False)
        require_done(self.root, ["scores"])

    def student(self, name: str, seed: int = 0) -> Matcher:
        """A student of the config with the weights that it starts from, untrained.

        Args:
            name: str. One of the config's students.
            seed: int. Of the weights that come from nowhere.
        """
        keras.utils.set_random_seed(seed)
        return start_matcher(self.config.student(name), self.root / "text", self.root / "teacher")

    def losses(self, name: str) -> dict[str, Any]:
        """The config's keyword arguments of `Distiller` for a student."""
        model = self.config.student(name)
        return self.config.distillation_of(name).model_dump() | {"hard": model.training.hard}

    def batches(
        self, name: str, batch_size: int = 64, steps: int = 100, seed: int = 0
    ) -> TrainingBatches:
        """Training rows and transfer rows as a student reads them, an epoch being `steps` batches.

        Hand `batches.for_fit()` to `fit`, with `steps_per_epoch=len(batches)` and
        `shuffle=False`.
        """
        model, losses = self.config.student(name), self.config.distillation_of(name)
        return TrainingBatches(
            student_pairs(self.root, encoder_kind(model.preset)),
            batch_size,
            self.config.transfer_share_of(name),
            steps,
            model.training.rows_per_query,
            seed,
            unlabelled_by_query=soft_by_query(losses.soft, losses.alpha),
        )

    def validate(self, student: keras.Model) -> dict[str, dict[str, Any]]:
        """A student's metrics on the run's validation rows.

        Args:
            student: keras.Model with a layer named `logit`, its inputs those of one of the run's
                students, or the `Distiller` of one.

        Returns:
            `{metric: {"value", "low", "high"}}`, as of `kdmatch.evaluation.evaluate_scores`.

        Raises:
            UserError: if the model has other inputs.
        """
        student = student.student if isinstance(student, Distiller) else student
        kind = kind_of_inputs(student)
        rows = Labels.load(self.root / "data" / "valid.parquet")
        logits = predict_logits(with_logits(student), load_ids(self.root / "text" / "valid", kind))
        return evaluate_scores(
            rows.label,
            rows.group,
            {"student": logits},
            positive_threshold=self.config.data.positive_threshold,
            resamples=self.config.evaluation.resamples,
            seed=self.config.seed,
        )["student"]
