"""The `search` section of a config."""

from typing import Any, Literal

from pydantic import Field, model_validator

from kdmatch.pipeline.config.models import Objective
from kdmatch.pipeline.config.section import Section
from kdmatch.searchable import Sampling


class SearchRange(Section):
    """A range or choices that replace a field's own in a search.

    Attributes:
        low, high, sampling: of a number; "log" draws the exponent evenly.
        choices: values, of any kind.
    """

    low: float | None = Field(default=None, allow_inf_nan=False)
    high: float | None = Field(default=None, allow_inf_nan=False)
    sampling: Sampling = "linear"
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "SearchRange":
        if self.choices is not None:
            if self.low is not None or self.high is not None:
                raise ValueError("give choices, or low and high, not both")
            if self.sampling != "linear":
                raise ValueError("sampling is of a range from low to high; choices have none")
            if not self.choices:
                raise ValueError("choices is empty; name at least one value, or set it to null")
        elif self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        elif self.low >= self.high:
            raise ValueError(
                f"the range from {self.low:g} to {self.high:g} is empty; low must lie below high"
            )
        elif self.sampling == "log" and self.low <= 0:
            raise ValueError(f"low is {self.low:g}; a log range begins above 0")
        return self


class SearchConfig(Section):
    """`kdmatch search`: what it varies, on how much data, for how long.

    Attributes:
        tuner: "bayesian", "hyperband" or "random", KerasTuner's.
        objective: validation metric to make large, and to keep weights by.
        sample: share of the training queries, taken whole.
        trials: at most so many; null for as many as `hours` allow, or 60.
        hours: no trial begins after so many hours of a student's search, all
            calls together.
        steps: updates of a trial at its longest; null for the student's own
            steps times the square root of `sample`.
        epochs: validations of a trial, spread evenly over its steps.
        seed: of the sample, the tuner and the trials' weights.
        stop_after: epochs from which a trial stops whose best value so far lies below
            the median of the others' means up to the same epoch; 0 lets all go on.
            Hyperband stops by itself.
        space: path below the student (`distillation.alpha`,
            `training.weight_decay`, `arguments.dropout`) to a range, or to
            null to keep a field as it is; it goes before the fields' own ranges.
    """

    tuner: Literal["bayesian", "hyperband", "random"] = "bayesian"
    objective: Objective = "auc"
    sample: float = Field(default=0.06, gt=0, le=1)
    trials: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    epochs: int = Field(default=9, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    stop_after: int = Field(default=3, ge=0)
    space: dict[str, SearchRange | None] = Field(default={})
