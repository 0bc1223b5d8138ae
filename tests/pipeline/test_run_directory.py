"""Stage keys: what makes a stage be done again."""

from typing import Annotated, Any

from kdmatch.pipeline.run_directory import _key
from kdmatch.pipeline.section import AddedLater, Section


class Before(Section):
    steps: int = 3


class After(Section):
    steps: int = 3
    soft: Annotated[str, AddedLater()] = "mse"


class Outer(Section):
    inner: Section
    models: dict[str, Section]


def key(section: Section) -> str:
    return _key({"model": Outer(inner=section, models={"a": section})})


def test_a_field_added_later_changes_no_key_until_it_is_set() -> None:
    old: Any = key(Before(steps=5))
    assert key(After(steps=5)) == old
    assert key(After(steps=5, soft="mse")) == old
    assert key(After(steps=5, soft="listwise")) != old
    assert key(After(steps=6)) != old
