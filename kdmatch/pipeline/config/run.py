"""A whole config: its sections, and what they ask of each other."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from kdmatch.errors import UserError, did_you_mean
from kdmatch.evaluation.run_record import is_student
from kdmatch.pipeline.config.data import DataConfig, TextConfig, TransferConfig
from kdmatch.pipeline.config.models import (
    DistillationConfig,
    GbdtConfig,
    ModelConfig,
    PretrainingConfig,
    StudentConfig,
)
from kdmatch.pipeline.config.search import SearchConfig
from kdmatch.pipeline.config.section import Section

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _not_taken(name: str) -> str:
    if name == "all" or not is_student(name):
        raise ValueError("this stands for other models; name the student otherwise")
    return name


StudentName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$"), AfterValidator(_not_taken)]


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
        pretraining: of the teacher's encoder, or null; done where a model starts from it.
        original: a deeper BERT for comparison, or null.
        further_teachers: matchers beside the BERT, trained on labels as it is; the soft
            loss's target is the mean of them all, each standardised. Their names begin
            with `teacher_`.
        students: by any name of small letters, digits and `_`; exports are named so.
    """

    name: str
    seed: Seed = 0
    seeds: list[Seed] = Field(default=[0], min_length=1)
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
    students: dict[StudentName, StudentConfig]
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
            raise ValueError("students is empty; name at least one, such as albert")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds}: one stands twice; each trains one student")
        if self.pretraining is None and self.pretrained:
            raise ValueError(
                f"{self.pretrained[0]}.start is pretraining; add a `pretraining` section"
            )
        return self

    @property
    def pretrained(self) -> list[str]:
        """Places of the models that start from the run's own pre-training."""
        return [name for name, model in self.label_trained.items() if model.start == "pretraining"]

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

    def transfer_share_of(self, student: str) -> float:
        """Share of a student's batches that is transfer rows."""
        own = self.student(student).transfer_share
        return self.transfer.share if own is None else own

    def student(self, name: str) -> StudentConfig:
        """The section of a student.

        Raises:
            UserError: if there is no such student.
        """
        if name not in self.students:
            known = f"this config has {', '.join(self.students)}"
            meant = did_you_mean(name, self.students, known)
            raise UserError(f"no student {name!r}; {meant}")
        return self.students[name]
