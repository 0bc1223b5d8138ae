"""What is wrong with a config's models, said before the first of them is trained."""

from kdmatch.errors import UserError
from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.models.registry import matcher_class
from kdmatch.models.starts import resolve_pretrained
from kdmatch.models.textcnn import TextCnnMatcher
from kdmatch.pipeline.config import Config, ModelConfig


def check_models(config: Config) -> None:
    """Check preset and start of every model of a run.

    Raises:
        UserError: if a preset is unknown, a start does not fit its preset or does not exist, or
            two models start from WordPiece vectors of different lengths.
    """
    teachers = config.label_trained
    students = {f"students.{name}": model for name, model in config.students.items()}
    for name, model in (teachers | students).items():
        try:
            check_start(model)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        if name in teachers and model.start == "teacher":
            raise UserError(f"{name}: only a student can start from the teacher")
    lengths = _wordpiece_dimensions(config)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UserError(f"BERTs that start from vectors must have one hidden_dim: {found}")


def check_start(model: ModelConfig) -> None:
    """Check one model's preset, and that it can start as its config says.

    Raises:
        UserError: if not.
    """
    kind = matcher_class(model.preset)
    if issubclass(kind, BertMatcher) and model.start not in ("scratch", "vectors", "pretraining"):
        if model.start == "teacher":
            raise UserError(f"preset {model.preset} cannot start from the teacher: {_STARTS}")
        resolve_pretrained(model.start)
    if (issubclass(kind, AlbertMatcher) and model.start not in ("scratch", "teacher")) or (
        issubclass(kind, TextCnnMatcher) and model.start not in ("scratch", "vectors", "teacher")
    ):
        raise UserError(f"preset {model.preset} cannot start from {model.start!r}: {_STARTS}")


def wordpiece_dimension(config: Config) -> int:
    """Length of the WordPiece vectors that BERTs of a run start from; 0 where none does."""
    return next(iter(_wordpiece_dimensions(config).values()), 0)


def _wordpiece_dimensions(config: Config) -> dict[str, int]:
    models = {
        name: model
        for name, model in config.label_trained.items()
        if model.start == "vectors" and issubclass(matcher_class(model.preset), BertMatcher)
    }
    if config.pretraining is not None and config.pretraining.start == "vectors":
        models["pretraining"] = config.teacher
    return {
        name: int(
            {**matcher_class(model.preset).presets[model.preset], **model.arguments}["hidden_dim"]
        )
        for name, model in models.items()
    }


_STARTS = (
    "a BERT starts from scratch, vectors, pretraining or a directory, an ALBERT from scratch or "
    "teacher, a TextCNN from scratch, vectors or teacher"
)
