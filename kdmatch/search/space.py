"""What a search varies: ranges read from where fields are declared, and back into a config."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras_tuner
import numpy as np

from kdmatch.errors import UserError, did_you_mean
from kdmatch.models.registry import matcher_arguments, matcher_class, optional_arguments
from kdmatch.pipeline.config.loader import merge, parse_config
from kdmatch.pipeline.config.models import DistillationConfig, StudentConfig, TrainingConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.config.search import SearchRange
from kdmatch.pipeline.config.section import Section
from kdmatch.pipeline.training_stage import encoder_kind
from kdmatch.searchable import Searchable

_SECTIONS: dict[str, type[Section]] = {
    "distillation": DistillationConfig,
    "training": TrainingConfig,
}
_OF_THE_TRIAL = {"training.steps": "search.steps", "training.validate_every": "search.epochs"}


@dataclass(frozen=True)
class Parameter:
    """One thing that a search varies.

    Attributes:
        name: path below the student, such as `distillation.alpha`.
        range: Searchable.
        current: the value in the config.
    """

    name: str
    range: Searchable
    current: Any

    @property
    def labels(self) -> list[Any]:
        """The choices as KerasTuner takes them: numbers of one kind, or else strings."""
        return _labels(self.range.choices)

    @property
    def start(self) -> Any:
        """The config's value as KerasTuner takes it, or the nearest that the range has."""
        if self.range.choices:
            current = tuple(self.current) if isinstance(self.current, list) else self.current
            for choice, label in zip(self.range.choices, self.labels, strict=True):
                if choice == current and isinstance(choice, bool) is isinstance(current, bool):
                    return label
            numbers = [one for one in self.labels if isinstance(one, int | float)]
            if not numbers or not isinstance(self.current, int | float):
                return self.labels[0]
            return min(numbers, key=lambda one: abs(one - self.current))
        assert self.range.low is not None
        assert self.range.high is not None
        return type(self.current)(min(max(self.current, self.range.low), self.range.high))

    @property
    def is_moved(self) -> bool:
        """Whether the range lacks the config's value, and trials begin with another."""
        current = list(self.current) if isinstance(self.current, tuple) else self.current
        return bool(self.value(self.start) != current)

    def value(self, label: Any) -> Any:
        """What the config holds for a value of KerasTuner's."""
        if not self.range.choices:
            return label.item() if isinstance(label, np.generic) else label
        found = self.range.choices[self.labels.index(label)]
        return list(found) if isinstance(found, tuple) else found


def space_of(config: Config, student: str) -> list[Parameter]:
    """What a search of a student varies, those that depend on another last.

    Raises:
        UserError: if `search.space` names nothing that a student of the run
            has, gives a range that it cannot have, or leaves nothing to vary.
    """
    own = current_values(config, student)
    known = {name for other in config.students for name in current_values(config, other)}
    ranges = _within_teacher(config, student, declared_ranges(config.student(student)))
    for name, given in config.search.space.items():
        if name in _OF_THE_TRIAL:
            raise UserError(f"search.space: {name} is not searched; set {_OF_THE_TRIAL[name]}")
        if name not in known:
            meant = did_you_mean(name, known, f"known: {', '.join(sorted(known))}")
            raise UserError(f"search.space: unknown parameter {name!r}; {meant}")
        if given is None:
            ranges.pop(name, None)
        elif name in own:
            when = ranges[name].when if name in ranges else None
            ranges[name] = _searchable(name, given, own[name], when)
            _check(config, student, name, given)
    made = [Parameter(name, found, own[name]) for name, found in ranges.items()]
    made = [parameter for parameter in made if _can_count(parameter, made, own)]
    if not made:
        raise UserError(f"search.space: nothing is left to search for {student}; give a range")
    return sorted(made, key=lambda parameter: parameter.range.when is not None)


def _within_teacher(
    config: Config, student: str, ranges: Mapping[str, Searchable]
) -> dict[str, Searchable]:
    """Without embeddings wider than the teacher whose words a student starts from."""
    name = "arguments.embedding_dim"
    if name not in ranges or config.student(student).start != "teacher":
        return dict(ranges)
    width = matcher_arguments(config.teacher.preset, **config.teacher.arguments).get("hidden_dim")
    choices = tuple(one for one in ranges[name].choices if width is None or one <= width)
    kept = {other: found for other, found in ranges.items() if other != name}
    return kept | ({name: replace(ranges[name], choices=choices)} if len(choices) > 1 else {})


def declared_ranges(model: StudentConfig) -> dict[str, Searchable]:
    """The ranges beside the fields of a student's config and its matcher's arguments."""
    ranges = {
        f"{section}.{name}": mark
        for section, fields in _SECTIONS.items()
        for name, field in fields.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Searchable)
    }
    encoder_kind(model.preset)  # says which presets there are
    searched = matcher_class(model.preset).searched
    return ranges | {f"arguments.{name}": found for name, found in searched.items()}


def current_values(config: Config, student: str) -> dict[str, Any]:
    """Path to value of all that a search could vary of a student."""
    model = config.student(student)
    encoder_kind(model.preset)
    matcher = matcher_class(model.preset)
    defaults = {name: one.default for name, one in optional_arguments(matcher).items()}
    arguments = {**defaults, **matcher.presets[model.preset], **model.arguments}
    values = {
        f"arguments.{name}": float(value)  # YAML's 0 for a rate is an int
        if type(value) is int and isinstance(defaults.get(name), float)
        else value
        for name, value in arguments.items()
    }
    for section, found in (
        ("distillation", config.distillation_of(student)),
        ("training", model.training),
    ):
        values |= {f"{section}.{name}": value for name, value in found}
    return {name: value for name, value in values.items() if name not in _OF_THE_TRIAL}


def hyperparameters(space: Sequence[Parameter], search: str) -> keras_tuner.HyperParameters:
    """The space as KerasTuner reads it; `search` says in each trial whose it is."""
    made = keras_tuner.HyperParameters()
    made.Fixed("search", search)
    for parameter in space:
        arguments: dict[str, Any] = {"default": parameter.start}
        if parameter.range.when is not None and (parent := _parent(parameter, space)):
            arguments["parent_name"] = parent.name
            arguments["parent_values"] = [
                label for label in parent.labels if label in parameter.range.when[1]
            ]
        if parameter.range.choices:
            made.Choice(parameter.name, parameter.labels, **arguments)
        else:
            kind = made.Int if isinstance(parameter.current, int) else made.Float
            kind(
                parameter.name,
                parameter.range.low,
                parameter.range.high,
                sampling=parameter.range.sampling,
                **arguments,
            )
    return made


def overrides(space: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's values as keys of the student's section; one that does not count is left out."""
    made: dict[str, Any] = {}
    for parameter in space:
        if parameter.name in values:
            section, name = parameter.name.split(".", 1)
            made.setdefault(section, {})[name] = parameter.value(values[parameter.name])
    return made


def own_values(space: Sequence[Parameter]) -> dict[str, Any]:
    """The config's own values as keys of the student's section."""
    made: dict[str, Any] = {}
    for parameter in space:
        section, name = parameter.name.split(".", 1)
        made.setdefault(section, {})[name] = parameter.current
    return made


def with_overrides(config: Config, student: str, keys: Mapping[str, Any]) -> Config:
    """The config with those keys of a student, as including them gives it."""
    raw = config.model_dump(mode="json")
    merge(raw, {"students": {student: dict(keys)}})
    return parse_config(raw, "search")


def _parent(parameter: Parameter, space: Sequence[Parameter]) -> Parameter | None:
    assert parameter.range.when is not None
    name = f"{parameter.name.split('.', 1)[0]}.{parameter.range.when[0]}"
    return next((other for other in space if other.name == name), None)


def _can_count(parameter: Parameter, space: Sequence[Parameter], own: Mapping[str, Any]) -> bool:
    """Whether what the parameter depends on can take one of the values that it needs."""
    if parameter.range.when is None:
        return True
    parent = _parent(parameter, space)
    field, wanted = parameter.range.when
    if parent is None:
        return own[f"{parameter.name.split('.', 1)[0]}.{field}"] in wanted
    return any(label in wanted for label in parent.labels)


def _searchable(
    name: str, given: SearchRange, current: Any, when: tuple[str, tuple[str, ...]] | None
) -> Searchable:
    if given.choices is not None:
        choices = tuple(tuple(one) if isinstance(one, list) else one for one in given.choices)
        return Searchable(choices=choices, when=when)
    if isinstance(current, bool) or not isinstance(current, int | float):
        raise UserError(f"search.space: {name} is {current!r}, not a number; give choices")
    for end in (given.low, given.high):
        if isinstance(current, int) and end is not None and not end.is_integer():
            raise UserError(
                f"search.space: {name} is a whole number, {current}; {end:g} cannot end its range"
            )
    return Searchable(given.low, given.high, given.sampling, when=when)


def _check(config: Config, student: str, name: str, given: SearchRange) -> None:
    """A clear line now for what the field cannot hold, not a failure of each trial."""
    section, field = name.split(".", 1)
    if section not in _SECTIONS:  # a matcher's arguments are checked as it is made
        return
    for value in given.choices or (given.low, given.high):
        try:
            with_overrides(config, student, {section: {field: value}})
        except UserError as error:
            said = str(error).rpartition(f"{field}: ")[2]
            raise UserError(f"search.space: {name} cannot be {value!r}: {said}") from error


def _labels(choices: Sequence[Any]) -> list[Any]:
    if all(type(choice) is int for choice in choices):
        return list(choices)
    if all(type(choice) in (int, float) for choice in choices):  # YAML's 1 among rates
        return [float(choice) for choice in choices]
    return [choice if isinstance(choice, str) else json.dumps(choice) for choice in choices]
