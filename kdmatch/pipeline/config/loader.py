"""YAML to a checked config: overrides, environment variables, mistakes in one line."""

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

import kdmatch
from kdmatch.errors import UserError, did_you_mean
from kdmatch.pipeline.config.recipes import with_recipes
from kdmatch.pipeline.config.run import Config


def load_config(
    path: Path,
    overrides: list[str] | None = None,
    include: list[Path] | None = None,
    recipes: bool = True,
) -> Config:
    """Read a YAML config, with other files' keys and `a.b=c` overrides.

    The files in the config's own `include` (a path or a list, relative to the
    config), then those in `include`, then the overrides go before the
    config's keys: a later one before an earlier. `${NAME}` in a string is
    replaced by the environment variable; KDMATCH_DATA falls back to
    `../shared/data` beside the project where that exists. What a model's section
    leaves out comes from its recipe, but for `recipes=False`, as a run's own
    `config.yaml` is read: it is resolved already. A student or a further teacher that is
    `null` in the end, as `--set students.albert=null` makes it, is left out.

    Raises:
        UserError: if the file is missing or not YAML, or a key or value is
            wrong; a misspelled key is answered with the nearest one.
    """
    raw = _read(path)
    own = raw.pop("include", None) or []
    if not isinstance(own, str | list) or not all(isinstance(name, str) for name in own):
        raise UserError(f"{path}: include is a path or a list of paths (found {own!r})")
    listed = [own] if isinstance(own, str) else own
    included = [path.parent / os.path.expandvars(name) for name in listed]
    for file in [*included, *(include or [])]:
        merge(raw, _read(file))
    for override in overrides or []:
        apply_override(raw, override)
    return parse_config(raw, str(path), recipes)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such config; see configs/ for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{path}: cannot be read as a config ({reason})") from error
    except yaml.YAMLError as error:
        line = str(error).replace("\n", " ")
        raise UserError(f"{path}: not valid YAML: {line}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a config is a mapping of keys; see configs/ for examples")
    return raw


def merge(raw: dict[str, Any], over: dict[str, Any]) -> None:
    """Put the keys of `over` into `raw`, section by section."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(raw.get(key), dict):
            merge(raw[key], value)
        else:
            raw[key] = value


def parse_config(raw: dict[str, Any], origin: str, recipes: bool = False) -> Config:
    """A validated config from a mapping; see `load_config`."""
    expanded = _expand(raw, origin)
    for models in ("students", "further_teachers"):
        if isinstance(named := expanded.get(models), dict):
            expanded[models] = {name: one for name, one in named.items() if one is not None}
    try:
        return Config.model_validate(with_recipes(expanded) if recipes else expanded)
    except ValidationError as error:
        # A misspelled required key is both unknown and missing; the first tells more.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        if first["type"] == "extra_forbidden":
            raise UserError(f"{origin}: unknown key {place!r}{_nearest(first['loc'])}") from error
        message = first["msg"].removeprefix("Value error, ")
        # Of a missing key there is nothing to show, and of a whole config too much.
        is_shown = first["type"] != "missing" and place
        found = f" (found {first['input']!r})" if is_shown else ""
        raise UserError(f"{origin}: {place or 'config'}: {message}{found}") from error


def dump_config(config: Config) -> str:
    """The resolved config as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def apply_override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override!r}: write it as a.b=value")
    *parents, last = key.split(".")
    section = raw
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise UserError(f"--set {override!r}: {parent} is not a section")
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise UserError(f"--set {override!r}: the value is not valid YAML: {line}") from error


def _expand(value: Any, origin: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, origin) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, origin) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        found = os.environ.get(name)
        if found is None and name == "KDMATCH_DATA":
            beside = Path(kdmatch.__file__).resolve().parents[2] / "shared" / "data"
            found = str(beside) if beside.is_dir() else None
        if found is None:
            raise UserError(f"{origin}: ${{{name}}} is not set; export {name}=… and try again")
        return found

    return re.sub(r"\$\{(\w+)\}", variable, value)


def _nearest(location: tuple[Any, ...]) -> str:
    section: Any = Config
    for part in location[:-1]:
        section = _inner(section.model_fields[part].annotation) if _is(section, part) else section
    known = list(section.model_fields)
    keys = f"known keys: {', '.join(known)}"
    return f"; {did_you_mean(str(location[-1]), known, keys)}"


def _is(section: Any, part: Any) -> bool:
    return part in section.model_fields


def _inner(annotation: Any) -> Any:
    """The config section inside `X | None` or `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if found is not None:
            return found
    return None
