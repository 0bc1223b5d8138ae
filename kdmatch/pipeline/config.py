"""The config of a run: every field with its default and what it does."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from kdmatch.data.schema import OnBadRow
from kdmatch.distillation.options import HardLoss, Scaling, SoftLoss
from kdmatch.errors import UserError, did_you_mean
from kdmatch.pipeline.search_config import SearchConfig
from kdmatch.pipeline.section import AddedLater, Section
from kdmatch.searchable import Searchable


class DataConfig(Section):
    """Where rows come from and what they mean.

    Attributes:
        train, valid, test: files of rows. Without valid or test, whole
            queries of train are split off by `split`.
        split: shares of queries for valid and for test.
        columns: the table's column name to the file's.
        unlabelled: files of pairs without labels that join the transfer rows, with
            the `f_*` columns that they have.
        corpus: text files, plain or `.xz`, one text a line, for Word2Vec.
        positive_threshold: a label from here on is a positive for AUC.
        on_bad_row: "error", or "skip" (counted, written beside the run).
    """

    train: str
    valid: str | None = None
    test: str | None = None
    split: tuple[float, float] = (0.1, 0.1)
    columns: dict[str, str] = Field(default={})
    unlabelled: list[str] = Field(default=[])
    corpus: list[str] = Field(default=[])
    positive_threshold: float = 0.5
    on_bad_row: OnBadRow = "error"


class WordPieceConfig(Section):
    """WordPiece for BERT and ALBERT.

    Attributes:
        vocabulary: `vocab.txt`, or a Hugging Face directory that holds one;
            `package:NAME/SUB` looks inside a Python package. None trains a
            vocabulary of 8,000 on the run's own text.
        lower_case: uncased.
        max_query_tokens, max_tokens: query and packed length kept.
    """

    vocabulary: str | None = None
    lower_case: bool = True
    max_query_tokens: int = Field(default=24, ge=1)
    max_tokens: int = Field(default=64, ge=8, le=512)


class WordsConfig(Section):
    """Words and Word2Vec for the TextCNNs.

    Attributes:
        vocabulary_size: words and characters at most.
        min_count: rarer ones are left out.
        max_query_words, max_document_words: words of each side kept.
        dimension, epochs, window: Word2Vec's; 0 epochs starts at random.
    """

    vocabulary_size: int = Field(default=50_000, ge=100)
    min_count: int = Field(default=2, ge=1)
    max_query_words: int = Field(default=24, ge=1)
    max_document_words: int = Field(default=48, ge=1)
    dimension: int = Field(default=128, ge=8)
    epochs: int = Field(default=8, ge=0)
    window: int = Field(default=5, ge=1)


class TextConfig(Section):
    """Both encoders.

    Attributes:
        language: of the GBDT's text features and of the search for transfer rows.
        correct: whether misspelt words of queries are corrected, for all (uncased)
            matchers; see `kdmatch.text.spelling`.
    """

    language: Literal["auto", "en", "zh"] = "auto"
    correct: bool = True
    wordpiece: WordPieceConfig = WordPieceConfig()
    words: WordsConfig = WordsConfig()


class TrainingConfig(Section):
    """How a model trains.

    Attributes:
        hard: loss on labels: "hinge" over pairs of a query, "pointwise", "both".
        steps, batch_size, learning_rate, warmup, weight_decay, clip_norm: as usual;
            warm-up is a share of the steps, then cosine to 0.
        average: momentum of the moving average of the weights that is validated
            and kept; 0 keeps the weights themselves.
        validate_every: steps between validations and checkpoints.
        patience: validations without a better AUC before stopping.
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
    validate_every: int = Field(default=250, ge=1)
    patience: int = Field(default=6, ge=1)
    rows_per_query: int = Field(default=16, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"


class ModelConfig(Section):
    """A matcher and its training.

    Attributes:
        preset: name of a matcher's preset.
        arguments: constructor arguments that override it.
        start: "scratch", "teacher" (ALBERT: embedding and a layer of the BERT
            teacher; TextCNN: Word2Vec and the teacher's word pieces), "vectors"
            (Word2Vec), "pretraining" (the run's own), or a Hugging Face directory
            (`package:NAME/SUB` inside a Python package).
        take_layers: layers of the start to take, counted from 0.
        training: TrainingConfig.
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
    beta: Annotated[float, Searchable(0.05, 4.0, "log")] = Field(default=0.5, ge=0)
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
    """

    distillation: Annotated[DistillationConfig | None, AddedLater()] = None


class GbdtConfig(Section):
    """The LightGBM teacher.

    Attributes:
        objective: "regression", "lambdarank" or the mean of "both".
        folds: folds by query for the scores of the training rows.
        params: LightGBM parameters that override the defaults.
        dimension: length of the word vectors whose cosines it sees; 0 for none.
    """

    objective: Literal["regression", "lambdarank", "both"] = "both"
    folds: int = Field(default=5, ge=2)
    params: dict[str, Any] = Field(default={})
    dimension: int = Field(default=100, ge=0)


class TransferConfig(Section):
    """Unlabelled pairs for distillation: neighbours of queries.

    Attributes:
        per_query: documents for each training query; 0 for none.
        share: share of each distillation batch that is transfer rows.
        deep_share: share of the documents drawn from deeper in the ranking.
        made: made-up queries for each training query; see `kdmatch.data.made_queries`.
        per_made: documents for each of those.
    """

    per_query: int = Field(default=16, ge=0)
    share: float = Field(default=0.6, ge=0, lt=1)
    deep_share: float = Field(default=0.25, ge=0, le=1)
    made: Annotated[float, AddedLater()] = Field(default=0.0, ge=0)
    per_made: Annotated[int, AddedLater()] = Field(default=8, ge=1)


class EvaluationConfig(Section):
    """Bootstrap and latency.

    Attributes:
        resamples: resamples of the queries for the intervals.
        latency_pairs: pairs timed one by one through each exported model.
    """

    resamples: int = Field(default=1000, ge=100)
    latency_pairs: int = Field(default=200, ge=10)


class Config(Section):
    """A run: `kdmatch run config.yaml --out runs/x`.

    Attributes:
        name: of the dataset, for reports and exports.
        seed: of everything but the students.
        seeds: of the students; each is trained once for each seed.
        control: train each student on labels alone beside it.
        pretraining: of the teacher's encoder, or null.
        original: a deeper BERT for comparison, or null.
        further_teachers: matchers beside the BERT, trained on labels as it is; the soft
            loss's target is the mean of them all, each standardised. Their names begin
            with `teacher_`.
    """

    name: str
    seed: int = 0
    seeds: list[int] = Field(default=[0], min_length=1)
    control: bool = True
    data: DataConfig
    text: TextConfig = TextConfig()
    gbdt: GbdtConfig = GbdtConfig()
    transfer: TransferConfig = TransferConfig()
    pretraining: PretrainingConfig | None = None
    teacher: ModelConfig
    original: ModelConfig | None = None
    further_teachers: dict[Annotated[str, Field(pattern="^teacher_[a-z0-9_]+$")], ModelConfig] = (
        Field(default={})
    )
    students: dict[Literal["albert", "textcnn", "cnn_attention"], StudentConfig]
    distillation: DistillationConfig = DistillationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    search: SearchConfig = SearchConfig()

    @model_validator(mode="before")
    @classmethod
    def _students_share_the_distillation(cls, raw: Any) -> Any:
        """What a student's own `distillation` does not name comes from the run's."""
        if not isinstance(raw, dict) or not isinstance(raw.get("students"), dict):
            return raw
        common = raw.get("distillation")
        students = dict(raw["students"])
        for name, student in students.items():
            own = student.get("distillation") if isinstance(student, dict) else None
            if isinstance(own, dict) and isinstance(common, dict):
                students[name] = {**student, "distillation": {**common, **own}}
        return {**raw, "students": students}

    @model_validator(mode="after")
    def _sections_fit(self) -> "Config":
        if not self.students:
            raise ValueError("students is empty; name at least one of albert, textcnn")
        wanting = [
            place for place, model in self.label_trained.items() if model.start == "pretraining"
        ]
        if wanting and self.pretraining is None:
            raise ValueError(f"{wanting[0]}.start is pretraining; add a `pretraining` section")
        return self

    @property
    def label_trained(self) -> dict[str, ModelConfig]:
        """The models that learn from labels alone, by their place in the config."""
        found = {"teacher": self.teacher} | {
            f"further_teachers.{name}": model for name, model in self.further_teachers.items()
        }
        return found | ({"original": self.original} if self.original is not None else {})

    def distillation_of(self, student: str) -> DistillationConfig:
        """The losses that a student learns from."""
        return self.student(student).distillation or self.distillation

    def student(self, name: str) -> StudentConfig:
        """The section of a student.

        Raises:
            UserError: if there is no such student.
        """
        sections = {str(known): found for known, found in self.students.items()}
        if name not in sections:
            meant = did_you_mean(name, sections, f"this config has {', '.join(sections)}")
            raise UserError(f"no student {name!r}; {meant}")
        return sections[name]
