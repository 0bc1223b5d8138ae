"""Build a matcher from its config, start it, train it, save it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.ids import PairIds
from kdmatch.data.rows import Labels
from kdmatch.distillation.distiller import Distiller
from kdmatch.distillation.training import Schedule, fit_distiller
from kdmatch.errors import UserError
from kdmatch.evaluation.objective import validation_metric
from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.models.matcher import Matcher
from kdmatch.models.pretrained import resolve_pretrained, start_from_pretrained
from kdmatch.models.registry import build_matcher, load_matcher, matcher_class, save_matcher
from kdmatch.models.starts import (
    start_from_encoder,
    start_from_joined_vectors,
    start_from_teacher,
    start_from_vectors,
    words_of_teacher,
)
from kdmatch.models.textcnn import TextCnnMatcher
from kdmatch.pipeline.config.models import ModelConfig, TrainingConfig
from kdmatch.pipeline.model_checks import check_start
from kdmatch.pipeline.text_stage import ENCODED, load_ids
from kdmatch.teachers.scores import Standard
from kdmatch.text.pieces import word_pieces
from kdmatch.text.traits import set_vocabulary

Advance = Callable[[int, str], None]
Start = Callable[[ModelConfig, Path, Path | None], Matcher]


def encoder_kind(preset: str) -> str:
    """`wordpiece` or `words`: which ids a preset's matcher reads."""
    return "words" if issubclass(matcher_class(preset), TextCnnMatcher) else "wordpiece"


def kind_of_inputs(student: keras.Model) -> str:
    """The same of a model, by the names of its inputs.

    Raises:
        UserError: if they are those of no matcher.
    """
    names = {one.name for one in student.inputs}
    for kind, wanted in (("words", "query_ids"), ("wordpiece", "token_ids")):
        if wanted in names:
            return kind
    raise UserError(
        f"{student.name} has the inputs {', '.join(sorted(names))}; a student has those of a "
        "matcher, query_ids and document_ids, or token_ids and segment_ids"
    )


def training_pairs(
    text: Path,
    rows: Labels,
    kind: str,
    scores: Mapping[str, np.ndarray] | None = None,
) -> ScoredPairs:
    """The training split as `Distiller` reads it: label standardised, weights 1 in the mean.

    Args:
        text: Path of the text stage.
        rows: Labels of the training split, `n` of them.
        kind: "wordpiece" or "words".
        scores: teacher's name to float32 `(n,)`, standardised.

    Raises:
        UserError: if all weights are 0.
    """
    mean = rows.weight.mean()
    if not mean:
        raise UserError("every training row has weight 0; raise some, or leave the column out")
    return ScoredPairs(
        load_ids(text / "train", kind),
        Standard.of(rows.label).apply(rows.label),
        rows.group,
        rows.weight / mean,
        scores or {},
    )


def with_transfer(
    pairs: ScoredPairs, ids: PairIds, scores: Mapping[str, np.ndarray], group: np.ndarray
) -> ScoredPairs:
    """Labelled pairs and, after them, unlabelled ones with the teachers' scores."""
    count = len(ids)
    return ScoredPairs(
        PairIds.concatenate([pairs.ids, ids]),
        np.concatenate([pairs.label, np.full(count, np.nan, np.float32)]),
        np.concatenate([pairs.group, group]),
        np.concatenate([pairs.weight, np.ones(count, np.float32)]),
        {name: np.concatenate([pairs.scores[name], scores[name]]) for name in pairs.scores},
    )


def transfer_groups(rows: Labels, queries: pa.ChunkedArray) -> np.ndarray:
    """Query of each transfer row, numbered as in `rows`, new queries after them, int32 `(n,)`."""
    number = dict(zip(rows.query.to_pylist(), rows.group.tolist(), strict=True))
    after = int(rows.group.max()) + 1
    names = queries.unique().to_pylist()
    new = {name: after + i for i, name in enumerate(n for n in names if n not in number)}
    number |= new
    return np.array([number[name] for name in queries.to_pylist()], np.int32)


def train_matcher(
    model: ModelConfig,
    pairs: ScoredPairs,
    text: Path,
    valid: Labels,
    threshold: float,
    folder: Path,
    *,
    weights: Mapping[str, Any],
    unlabelled_share: float = 0.0,
    seed: int = 0,
    teacher: Path | None = None,
    advance: Advance | None = None,
    extra: Sequence[keras.callbacks.Callback] = (),
    start: Start | None = None,
    checkpoints: bool = True,
    keep: bool = True,
) -> float:
    """Train one matcher into `folder`.

    Args:
        model: ModelConfig.
        pairs: ScoredPairs to learn from.
        text: Path of the text stage.
        valid: Labels of the validation split; unlabelled ones are ignored.
        threshold: float. Labels from here on are positives for AUC.
        folder: Path for model, history and checkpoint.
        weights: keyword arguments of `Distiller`: alpha, beta, gamma, ….
        unlabelled_share: float. Share of a batch that is transfer rows.
        seed: int. Of initial weights, dropout and the order of rows.
        teacher: Path of the teacher's model, for `start: teacher`.
        advance: callable of (steps done, message).
        extra: callbacks that follow those of the training.
        start: callable in the place of `start_matcher`.
        checkpoints: bool. Write a checkpoint after each epoch.
        keep: bool. Leave the model in the folder, and logs for TensorBoard.

    Returns:
        best value of `model.training.objective`.
    """
    keras.utils.set_random_seed(seed)
    objective = model.training.objective
    matcher = (start or start_matcher)(model, text, teacher)
    distiller = Distiller(matcher, hard=model.training.hard, **weights)
    ids = load_ids(text / "valid", encoder_kind(model.preset))
    logs = keep and keras.backend.backend() == "tensorflow"
    with matmul_precision(model.training.precision):
        best = fit_distiller(
            distiller,
            pairs,
            schedule_of(model.training, unlabelled_share),
            ids,
            validation_metric(objective, valid.label, valid.group, threshold),
            folder,
            seed,
            advance,
            folder / "tensorboard" if logs else None,
            objective,
            extra,
            checkpoints,
        )
    if keep:
        save_matcher(matcher, folder)
        (folder / "checkpoint.npz").unlink(missing_ok=True)
    return best


def start_matcher(model: ModelConfig, text: Path, teacher: Path | None = None) -> Matcher:
    """A matcher of the run's vocabulary with the weights that its config starts from."""
    check_start(model)
    kind = encoder_kind(model.preset)
    vocabulary = _vocabulary(text, kind)
    size = len(vocabulary)
    arguments = dict(model.arguments)
    if kind == "words":
        vectors = np.load(text / "words" / "vectors.npy")
        arguments.setdefault("embedding_dim", vectors.shape[1])
    matcher = build_matcher(model.preset, vocabulary_size=size, **arguments)
    ids = load_ids(text / "train", kind)
    set_vocabulary(matcher, vocabulary, ids)
    if model.start == "scratch":
        return matcher
    if isinstance(matcher, TextCnnMatcher):
        _start_words(matcher, model.start, text, vocabulary, teacher)
    elif model.start == "vectors" and isinstance(matcher, BertMatcher):
        start_from_vectors(matcher, np.load(text / kind / "vectors.npy"))
    elif model.start == "teacher" and isinstance(matcher, AlbertMatcher):
        source = _load_bert(teacher)
        counts = np.bincount(ids.values["token_ids"], minlength=size)
        start_from_teacher(matcher, source, (model.take_layers or [0])[0], counts)
    elif model.start == "pretraining" and isinstance(matcher, BertMatcher):
        start_from_encoder(matcher, _load_bert(text.parent / "pretraining"))
    elif isinstance(matcher, BertMatcher):
        start_from_pretrained(matcher, resolve_pretrained(model.start), model.take_layers)
    return matcher


def _start_words(
    matcher: TextCnnMatcher,
    start: str,
    text: Path,
    vocabulary: Sequence[str],
    teacher: Path | None,
) -> None:
    """Word vectors of a TextCNN: all that the run has of each word."""
    vectors = np.load(text / "words" / "vectors.npy")
    read: dict[str, np.ndarray] = {}
    if (encoded := text / "words" / ENCODED).is_file():
        read["the encoder"] = np.load(encoded)
    if start == "teacher":
        pieces = word_pieces(vocabulary, _vocabulary(text, "wordpiece"))
        read["the teacher"] = words_of_teacher(_load_bert(teacher), pieces)
    if read:
        start_from_joined_vectors(matcher, vectors, read)
    else:
        start_from_vectors(matcher, vectors)


def _load_bert(folder: Path | None) -> BertMatcher:
    assert folder is not None
    source = load_matcher(folder)
    assert isinstance(source, BertMatcher)
    return source


def _vocabulary(text: Path, kind: str) -> list[str]:
    return (text / kind / "vocabulary.txt").read_text("utf-8").split("\n")


@contextlib.contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Let TensorFlow's CPU kernels multiply matrices in bfloat16, weights staying float32."""
    if precision == "float32" or keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    option = "auto_mixed_precision_onednn_bfloat16"
    tf.config.optimizer.set_experimental_options({option: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: False})


def schedule_of(training: TrainingConfig, unlabelled_share: float) -> Schedule:
    """The schedule that a config's training section describes."""
    fields = training.model_dump(exclude={"hard", "objective", "precision"})
    return Schedule(**fields, unlabelled_share=unlabelled_share)
