"""`docs/config.md`, made of the sections' own docstrings, defaults and ranges.

Run as `python -m kdmatch.pipeline.config.reference > docs/config.md`.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from kdmatch.models.registry import MATCHERS
from kdmatch.pipeline.config.data import (
    DataConfig,
    TextConfig,
    TransferConfig,
    WordPieceConfig,
    WordsConfig,
)
from kdmatch.pipeline.config.models import (
    DistillationConfig,
    GbdtConfig,
    ModelConfig,
    PretrainingConfig,
    StudentConfig,
    TrainingConfig,
)
from kdmatch.pipeline.config.recipes import RECIPES
from kdmatch.pipeline.config.run import Config, EvaluationConfig
from kdmatch.pipeline.config.search import SearchConfig, SearchRange
from kdmatch.pipeline.config.section import Section
from kdmatch.searchable import Searchable

INTRODUCTION = """\
# What a config may say

A config is YAML. `include: other.yaml` (a path or a list, from the config's own folder) and
`--include FILE` lay other files' keys over it, in that order, and `--set a.b=value` goes before
them all. `${NAME}` is an environment variable. A student or further teacher that is `null` in the
end is left out. A key that does not exist is an error that names the nearest one. A run's own
`config.yaml` is the whole of it, resolved.

Where a key is *searched*, `kdmatch search` varies it so, unless `search.space` says otherwise
([search.md](search.md)). This page is printed by `python -m kdmatch.pipeline.config.reference`.
"""

SECTIONS: Mapping[str, tuple[type[Section], str]] = {
    "The run": (Config, ""),
    "`data`": (DataConfig, ""),
    "`text`": (TextConfig, ""),
    "`text.wordpiece`": (WordPieceConfig, "Longer texts are cut."),
    "`text.words`": (WordsConfig, "Longer texts are cut."),
    "`transfer`": (TransferConfig, ""),
    "`pretraining`": (PretrainingConfig, ""),
    "`gbdt`": (GbdtConfig, ""),
    "`teacher`, `original`, `further_teachers.NAME`, `students.NAME`": (ModelConfig, ""),
    "`students.NAME` alone": (StudentConfig, ""),
    "`training` of each": (
        TrainingConfig,
        "What a model's section does not say is its recipe's, in the table after this one.",
    ),
    "`distillation`": (DistillationConfig, ""),
    "`evaluation`": (EvaluationConfig, ""),
    "`search`": (SearchConfig, ""),
    "`search.space.PATH`": (SearchRange, ""),
}
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")


def reference() -> str:
    """The page."""
    parts = [INTRODUCTION]
    for title, (section, note) in SECTIONS.items():
        rows = [_row(section, names, text) for names, text in described(section)]
        table = ["| key | default | what |", "| --- | --- | --- |", *rows]
        parts.append("\n".join([f"## {title}", "", *([note, ""] if note else []), *table, ""]))
        if section is TrainingConfig:
            parts.append(_recipes())
    parts.append(_searched_arguments())
    return "\n".join(parts)


def described(section: type[Section]) -> Iterator[tuple[list[str], str]]:
    """The entries under `Attributes` of a section's docstring: names, and what they are.

    Raises:
        ValueError: if they are not the section's own fields.
    """
    _, _, listed = (inspect.getdoc(section) or "").partition("Attributes:\n")
    entries: list[tuple[list[str], str]] = []
    for line in listed.splitlines():
        if found := _ENTRY.match(line):
            entries.append((found[1].split(", "), found[2]))
        elif entries and line.strip():
            names, text = entries[-1]
            entries[-1] = names, f"{text} {line.strip()}"
    named = {name for names, _ in entries for name in names}
    own = set(section.__annotations__)
    sections = {name for name in own - named if _is_section(section.model_fields[name])}
    if named != own - sections:
        raise ValueError(f"{section.__name__}: described {sorted(named)}, has {sorted(own)}")
    yield from entries


def _is_section(field: FieldInfo) -> bool:
    kinds = get_args(field.annotation) or (field.annotation,)
    return any(isinstance(kind, type) and issubclass(kind, Section) for kind in kinds)


def _row(section: type[Section], names: list[str], text: str) -> str:
    fields = [section.model_fields[name] for name in names]
    defaults = [_default(field) for field in fields]
    ranges = [
        f"`{name}` {_range(one)}" if len(names) > 1 else _range(one)
        for name, field in zip(names, fields, strict=True)
        for one in field.metadata
        if isinstance(one, Searchable)
    ]
    text += f" *Searched:* {'; '.join(ranges)}." if ranges else ""
    shown = (", ".join(f"`{name}`" for name in names), ", ".join(defaults), text)
    return "| " + " | ".join(shown) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "below" if isinstance(default, Section) else f"`{json.dumps(default)}`"


def _range(one: Searchable) -> str:
    if one.when is None:
        return one.described()
    name, values = one.when
    return f"{one.described()}, where `{name}` is {' or '.join(values)}"


def _recipes() -> str:
    keys = sorted({key for recipe in RECIPES.values() for key in recipe})
    lines = [
        "| `training` by its recipe | " + " | ".join(f"`{kind}_…`" for kind in RECIPES) + " |",
        "| --- |" + " --- |" * len(RECIPES),
    ]
    for key in keys:
        found: list[Any] = [recipe.get(key) for recipe in RECIPES.values()]
        shown = ["" if one is None else f"`{json.dumps(one)}`" for one in found]
        lines.append(f"| `{key}` | " + " | ".join(shown) + " |")
    return "\n".join([*lines, ""])


def _searched_arguments() -> str:
    lines = ["## `arguments` that a search varies", "", "| preset | searched |", "| --- | --- |"]
    for kind, matcher in MATCHERS.items():
        if kind != "bert":  # a teacher, which no search is of
            ranges = [f"`{name}` {_range(one)}" for name, one in matcher.searched.items()]
            lines.append(f"| `{kind}_…` | {'; '.join(ranges)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(reference(), end="")
