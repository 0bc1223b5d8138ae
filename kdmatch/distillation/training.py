"""One training: a distiller, batches, validation, a folder to resume from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kdmatch.data.batches import ScoredPairs, TrainingBatches, padded_batches
from kdmatch.data.ids import PairIds
from kdmatch.distillation.callbacks import Checkpoint, History, Progress, Validation
from kdmatch.distillation.distiller import Distiller
from kdmatch.models.matcher import with_logits
from kdmatch.models.optimizer import adamw


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: updates in all.
        batch_size: rows of an update.
        learning_rate: peak of the schedule, reached after warm-up, then cosine to 0.
        warmup: share of the steps that rise to the peak.
        weight_decay: AdamW's.
        clip_norm: largest norm of the whole gradient.
        average: momentum of the moving average of the weights that is
            validated and kept; 0 keeps the weights themselves.
        validate_every: steps of an epoch, about: `steps` is cut into equal epochs.
            Validation and checkpoint follow each.
        patience: epochs without a better validation AUC before stopping.
        unlabelled_share: share of a batch that is transfer rows.
        rows_per_query: rows of one query at most, in one pass.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: float
    weight_decay: float
    clip_norm: float
    average: float
    validate_every: int
    patience: int
    unlabelled_share: float
    rows_per_query: int


def fit_distiller(
    distiller: Distiller,
    pairs: ScoredPairs,
    schedule: Schedule,
    valid_ids: PairIds,
    valid_metric: Callable[[np.ndarray], float],
    folder: Path,
    seed: int = 0,
    advance: Callable[[int, str], None] | None = None,
    log_dir: Path | None = None,
    metric_name: str = "auc",
    extra: Sequence[keras.callbacks.Callback] = (),
    checkpoints: bool = True,
) -> float:
    """Train `distiller` and leave its student with the best weights seen.

    Called again after a kill, it goes on from the last checkpoint in `folder`
    and ends as it would have.

    Args:
        distiller: Distiller, not yet compiled.
        pairs: ScoredPairs to learn from.
        schedule: Schedule.
        valid_ids: PairIds of the validation rows.
        valid_metric: callable from their logits to the number to make large.
        folder: Path for `history.csv` and the checkpoint.
        seed: int. For the order of rows.
        advance: callable of (steps done, message), for progress.
        log_dir: Path for TensorBoard, or None.
        metric_name: str. Of `valid_metric`, in the history as `valid_NAME`.
        extra: callbacks that follow those of the training.
        checkpoints: bool. False writes none; killed, it starts again.

    Returns:
        the best validation value.

    Raises:
        CollapsedRunError: if all scores become equal or NaN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    epochs = max(1, round(schedule.steps / schedule.validate_every))
    steps = max(1, schedule.steps // epochs)
    # XLA would compile anew for every width of a batch, and cannot use the CPU's bfloat16.
    jit = "auto" if keras.backend.backend() != "tensorflow" else False
    optimizer = adamw(
        epochs * steps,
        schedule.learning_rate,
        schedule.warmup,
        schedule.weight_decay,
        schedule.clip_norm,
        schedule.average,
    )
    distiller.compile(optimizer=optimizer, jit_compile=jit)
    # Variables that are made while a step is traced would keep its graph in memory for ever.
    optimizer.build(distiller.trainable_variables)
    scorer = with_logits(distiller.student)
    validation = Validation(
        lambda: predict_logits(scorer, valid_ids),
        valid_metric,
        schedule.patience,
        f"valid_{metric_name}",
    )
    history = History(folder / "history.csv", steps, validation.name)
    checkpoint = Checkpoint(folder / "checkpoint.npz", validation, history)
    first, stopped = checkpoint.restore(distiller)
    callbacks: list[keras.callbacks.Callback] = [validation, history]
    if checkpoints:
        callbacks.append(checkpoint)
    if log_dir is not None:
        callbacks.append(keras.callbacks.TensorBoard(str(log_dir), write_graph=False))
    if advance is not None:
        callbacks.insert(1, Progress(advance, validation.name))
    callbacks += extra
    if first < epochs and not stopped:
        batches = TrainingBatches(
            pairs,
            schedule.batch_size,
            schedule.unlabelled_share,
            steps,
            schedule.rows_per_query,
            seed,
            first_epoch=first,
            unlabelled_by_query=distiller.soft_by_query,
        )
        distiller.fit(
            batches.for_fit(),
            initial_epoch=first,
            epochs=epochs,
            steps_per_epoch=steps,
            shuffle=False,  # Keras would reorder an epoch's batches, and a resumed run otherwise
            verbose=0,
            callbacks=callbacks,
        )
    distiller.student.set_weights(validation.best_weights)
    return float(validation.best)


def predict_logits(
    scorer: keras.Model,
    ids: PairIds,
    batch_tokens: int = 16_384,
    advance: Callable[[int, str], None] | None = None,
) -> np.ndarray:
    """Logits of every row, in the rows' order, computed in batches of one padded length.

    Args:
        scorer: keras.Model from `with_logits`.
        ids: PairIds.
        batch_tokens: int. Padded tokens of a batch at most, but for one of a single row.
        advance: callable of (rows done, message), for progress.

    Returns:
        float32 `(len(ids),)`.
    """
    logits = np.zeros(len(ids), np.float32)
    done = 0
    for rows, batch in padded_batches(ids, batch_tokens):
        logits[rows] = scorer.predict_on_batch(batch)["logit"][: len(rows)]
        done += len(rows)
        if advance is not None:
            advance(done, "")
    return logits
