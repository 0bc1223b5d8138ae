"""What is wrong with a config's models, said before the first of them is trained."""

from typing import Any

from kdmatch.data.ids import padded_width
from kdmatch.errors import UserError
from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.models.pretrained import (
    check_built_alike,
    check_sizes,
    check_teacher_sizes,
    is_lower_case,
    pretrained_sizes,
    resolve_pretrained,
)
from kdmatch.models.registry import matcher_arguments, matcher_class
from kdmatch.models.sentence_encoder import SentenceEncoder
from kdmatch.models.textcnn import TextCnnMatcher
from kdmatch.pipeline.config.models import ModelConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.teachers.gbdt import GbdtRanker


def check_models(config: Config) -> None:
    """Check preset, arguments and start of every model of a run.

    Raises:
        UserError: if a preset, an argument or a parameter of the GBDT is unknown, a start or the
            sentence encoder does not fit or does not exist, inputs are longer than a model
            takes, or two models start from WordPiece vectors of different lengths.
    """
    GbdtRanker(config.gbdt.objective, config.gbdt.params)
    _check_sentences(config)
    teachers = config.label_trained
    students = {f"students.{name}": model for name, model in config.students.items()}
    for name, model in (teachers | students).items():
        try:
            check_start(model)
            _check_vocabulary(config, model)
            _check_length(config, model)
            _check_vectors(config, model)
            if model.start == "pretraining":
                check_built_alike(*map(_arguments, (model, config.teacher)))
            if model.start == "teacher":
                if name in teachers:
                    raise UserError("only a student can start from the teacher")
                _check_teacher(config, model)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    if config.pretraining is not None and not _is_bert(config.teacher):
        raise UserError(f"pretraining: makes a BERT, and the teacher is {config.teacher.preset}")
    lengths = _wordpiece_dimensions(config)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UserError(f"BERTs that start from vectors must have one hidden_dim: {found}")


def _check_sentences(config: Config) -> None:
    """Check that sentence encoders are there, the GBDT's with as many dimensions as it reads."""
    for field, start, components in (
        ("gbdt.sentences", config.gbdt.sentences, config.gbdt.components),
        ("text.words.encoder", config.text.words.encoder, 0),
    ):
        try:
            if start is not None:
                SentenceEncoder(start).check(components)
        except UserError as error:
            raise UserError(f"{field}: {error}") from error


def check_start(model: ModelConfig) -> None:
    """Check one model's preset and arguments, and that it can start as its config says.

    Raises:
        UserError: if not.
    """
    kind = matcher_class(model.preset)
    arguments = _arguments(model)
    if _is_bert(model) and model.start not in ("scratch", "vectors", "pretraining"):
        if model.start == "teacher":
            raise UserError(f"preset {model.preset} cannot start from the teacher: {_STARTS}")
        sizes = pretrained_sizes(resolve_pretrained(model.start))
        check_sizes(f"start {model.start}", sizes, arguments, model.take_layers)
    if (issubclass(kind, AlbertMatcher) and model.start not in ("scratch", "teacher")) or (
        issubclass(kind, TextCnnMatcher) and model.start not in ("scratch", "vectors", "teacher")
    ):
        raise UserError(f"preset {model.preset} cannot start from {model.start!r}: {_STARTS}")


def _check_vocabulary(config: Config, model: ModelConfig) -> None:
    """Check that a pre-trained BERT will read the tokens that it knows, in their case."""
    if not _is_bert(model) or model.start in ("scratch", "vectors", "pretraining"):
        return
    settings, folder = config.text.wordpiece, resolve_pretrained(model.start)
    if settings.vocabulary is None:
        size = pretrained_sizes(folder)["vocabulary_size"]
        raise UserError(
            f"start {model.start!r} knows {size:,} tokens of its own; set "
            f"text.wordpiece.vocabulary, to {model.start!r} if its vocab.txt is there"
        )
    if settings.lower_case != is_lower_case(folder):
        raise UserError(
            f"start {model.start!r} reads {'lower case' if is_lower_case(folder) else 'any case'}; "
            f"set text.wordpiece.lower_case to {str(is_lower_case(folder)).lower()}"
        )


def _check_teacher(config: Config, model: ModelConfig) -> None:
    """Check that a student can start from the run's teacher."""
    if not _is_bert(config.teacher):
        raise UserError(f"can start from a BERT alone; the teacher is {config.teacher.preset}")
    if issubclass(matcher_class(model.preset), AlbertMatcher):
        source, target = map(_arguments, (config.teacher, model))
        check_teacher_sizes(source, target, (model.take_layers or [0])[0])


def _check_length(config: Config, model: ModelConfig) -> None:
    """Check that a model takes inputs as long as batches make them."""
    most = _arguments(model).get("max_sequence_length")
    length = config.text.wordpiece.max_tokens
    if most is not None and most < (padded := padded_width(length)):
        batches = f", which batches pad to {padded}" if padded > length else ""
        raise UserError(
            f"max_sequence_length {most} is less than text.wordpiece.max_tokens {length}{batches}; "
            "lower the latter"
        )


def _check_vectors(config: Config, model: ModelConfig) -> None:
    """Check that a TextCNN that starts from Word2Vec alone embeds words as that does."""
    length = model.arguments.get("embedding_dim", config.text.words.dimension)
    alone = model.start == "vectors" and config.text.words.encoder is None
    if alone and not _is_bert(model) and length != config.text.words.dimension:
        raise UserError(
            f"embedding_dim {length} is not text.words.dimension {config.text.words.dimension}, "
            "whose vectors it starts from; leave it out"
        )


def wordpiece_dimension(config: Config) -> int:
    """Length of the WordPiece vectors that BERTs of a run start from; 0 where none does."""
    return next(iter(_wordpiece_dimensions(config).values()), 0)


def _wordpiece_dimensions(config: Config) -> dict[str, int]:
    models = {
        name: model
        for name, model in config.label_trained.items()
        if model.start == "vectors" and _is_bert(model)
    }
    if config.pretraining is not None and config.pretraining.start == "vectors":
        models["pretraining"] = config.teacher
    return {name: _arguments(model)["hidden_dim"] for name, model in models.items()}


def _arguments(model: ModelConfig) -> dict[str, Any]:
    return matcher_arguments(model.preset, **model.arguments)


def _is_bert(model: ModelConfig) -> bool:
    return issubclass(matcher_class(model.preset), BertMatcher)


_STARTS = (
    "a BERT starts from scratch, vectors, pretraining or a directory, an ALBERT from scratch or "
    "teacher, a TextCNN from scratch, vectors or teacher"
)
