"""The sections on models: teachers, students, their training and losses."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from kdmatch.distillation.options import HardLoss, Scaling, SoftLoss
from kdmatch.pipeline.config.section import AddedLater, Section
from kdmatch.searchable import Searchable

Objective = Literal["auc", "gauc", "ndcg@10", "mrr", "map", "pair_accuracy"]


class TrainingConfig(Section):
    """How a model trains.

    Attributes:
        hard: loss on labels: "hinge" over pairs of a query, "pointwise", "both".
        steps, batch_size, learning_rate, warmup, weight_decay, clip_norm: as usual;
            warm-up is a share of the steps, then cosine to 0.
        average: momentum of the moving average of the weights that is validated
            and kept; 0 keeps the weights themselves.
        objective: metric on valid whose best weights are kept.
        validate_every: steps between validations and checkpoints.
        patience: validations without a better objective before stopping.
        rows_per_query: rows of one query at most in a pass; it caps the triples.
        precision: "bfloat16" multiplies matrices in bfloat16 where that is faster.
    """

    hard: Annotated[HardLoss, Searchable(choices=get_args(HardLoss))] = "both"
    steps: int = Field(default=2000, ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: Annotated[float, Searchable(1e-4, 4e-3, "log")] = Field(default=3e-4, gt=0)
    warmup: Annotated[float, Searchable(0.0, 0.3)] = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    average: float = Field(default=0.0, ge=0, lt=1)
    objective: Annotated[Objective, AddedLater()] = "auc"
    validate_every: int = Field(default=250, ge=1)
    patience: int = Field(default=6, ge=1)
    rows_per_query: int = Field(default=16, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"


class ModelConfig(Section):
    """A matcher and its training; what a run's config leaves out of it is its recipe (`recipes`).

    Attributes:
        preset: name of a matcher's preset.
        arguments: constructor arguments that override it.
        start: "scratch", "teacher" (ALBERT: embedding and a layer of the BERT
            teacher; TextCNN: Word2Vec and the teacher's word pieces), "vectors"
            (Word2Vec; both with what `text.words.encoder` reads), "pretraining" (the
            run's own), or a Hugging Face directory (`package:NAME/SUB` inside a
            Python package).
        take_layers: layers of the start to take, counted from 0; of its teacher an
            ALBERT takes the first that is named.
        training: how it is trained.
    """

    preset: str
    arguments: dict[str, Any] = Field(default={})
    start: str = "scratch"
    take_layers: list[int] | None = None
    training: TrainingConfig = TrainingConfig()


class PretrainingConfig(Section):
    """Masked-language-model pre-training of the teacher's encoder; see `kdmatch pretrain`.

    Attributes:
        start: "scratch" or "vectors".
        steps, batch_size, learning_rate, warmup, weight_decay, clip_norm: as in training.
        max_texts: of the corpus, the first of so many; training pairs come on top.
        backup_every: steps between backups, about.
        precision: as in training.
    """

    start: Literal["scratch", "vectors"] = "vectors"
    steps: int = Field(default=10_000, ge=1)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=5e-4, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    max_texts: int = Field(default=1_000_000, ge=1)
    backup_every: int = Field(default=500, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"


class GbdtConfig(Section):
    """The LightGBM teacher.

    Attributes:
        objective: "regression", "lambdarank" or the mean of "both".
        folds: folds by query for the scores of the training rows.
        params: LightGBM parameters that override the defaults (`gbdt_params.py`), such as
            `num_threads`, 1 by default; and `hidden_share`, the share of queries that are
            learned from once more without their `f_*` columns, for pairs that have none.
        dimension: length of the word vectors whose cosines it sees; 0 for none.
        sentences: a pre-trained BERT whose vectors of whole texts it sees: a Hugging Face or
            KerasHub directory with its `vocab.txt`, or `package:NAME/SUB`. Best is one that was
            trained to bring texts together that mean alike.
        components: leading directions of those vectors that it sees one by one.
        neighbours: labelled rows, those of the nearest queries, whose labels tell it of a pair, by
            those vectors or else the words'; 0 for none. Rows of a query's own fold never count.
    """

    objective: Literal["regression", "lambdarank", "both"] = "both"
    folds: int = Field(default=5, ge=2)
    params: dict[str, Any] = Field(default={})
    dimension: int = Field(default=100, ge=0)
    sentences: Annotated[str | None, AddedLater()] = None
    components: Annotated[int, AddedLater()] = Field(default=32, ge=0)
    neighbours: int = Field(default=1000, ge=0)

    @field_validator("sentences")
    @classmethod
    def _from_anywhere(cls, named: str | None) -> str | None:
        """A path as it is from any folder: rows are scored by it long after the run."""
        if named is None or named.startswith("package:"):
            return named
        return str(Path(named).expanduser().absolute())


class DistillationConfig(Section):
    """Weights of the losses; see `kdmatch.Distiller`.

    Attributes:
        alpha, beta, gamma: of the soft, the hard and the relevance loss.
        margin: threshold of the hinge.
        scaling: "exp" or "none".
        soft: "mse" of the logits, or over rows of one query "margin_mse",
            "ranknet", "listwise".
        temperature: of "ranknet" and "listwise".
    """

    alpha: Annotated[float, Searchable(0.05, 4.0, "log")] = Field(default=1.0, ge=0)
    beta: Annotated[float, Searchable(0.01, 4.0, "log")] = Field(default=0.5, ge=0)
    gamma: Annotated[float, Searchable(0.05, 4.0, "log")] = Field(default=1.0, ge=0)
    margin: float = Field(default=0.7, gt=0)
    scaling: Annotated[Scaling, Searchable(choices=get_args(Scaling))] = "exp"
    soft: Annotated[SoftLoss, Searchable(choices=get_args(SoftLoss)), AddedLater()] = "mse"
    temperature: Annotated[
        float,
        Searchable(0.5, 4.0, "log", when=("soft", ("ranknet", "listwise"))),
        AddedLater(),
    ] = Field(default=1.0, gt=0)


class StudentConfig(ModelConfig):
    """A student: a matcher, and what is peculiar to its distillation.

    Attributes:
        distillation: keys that differ from the run's `distillation`.
        transfer_share: share of each of its batches that is transfer rows; as `transfer.share` if
            null.
    """

    distillation: Annotated[DistillationConfig | None, AddedLater()] = None
    transfer_share: Annotated[float | None, AddedLater()] = Field(default=None, ge=0, lt=1)

    @property
    def matcher(self) -> "StudentConfig":
        """The same without what is peculiar to its distillation."""
        return self.model_copy(update={"distillation": None, "transfer_share": None})
