"""Matchers by the name that a config gives them, and their weights on disk."""

import inspect
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kdmatch.errors import UserError, did_you_mean
from kdmatch.files import whole, write_json
from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.models.matcher import Matcher
from kdmatch.models.textcnn import CnnAttentionMatcher, TextCnnMatcher

MATCHERS: dict[str, type[Matcher]] = {
    matcher.kind: matcher
    for matcher in (BertMatcher, AlbertMatcher, TextCnnMatcher, CnnAttentionMatcher)
}
PRESETS: dict[str, type[Matcher]] = {
    preset: matcher for matcher in MATCHERS.values() for preset in matcher.presets
}


def matcher_class(preset: str) -> type[Matcher]:
    """The matcher that has a preset.

    Raises:
        UserError: if none has.
    """
    if preset not in PRESETS:
        raise UserError(f"model preset {preset!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[preset]


def build_matcher(preset: str, **overrides: Any) -> Matcher:
    """A matcher by preset name.

    Raises:
        UserError: if no matcher has the preset, or an override is not an
            argument of it.
    """
    try:
        return matcher_class(preset).from_preset(preset, **overrides)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"model preset {preset}: {error}") from error


def optional_arguments(kind: type[Matcher]) -> dict[str, inspect.Parameter]:
    """What a matcher's constructor takes, with a default, and a config may say: by name."""
    # Not of the class: some Pythons (3.11.2, Debian's) give the signature of Keras's `__new__`.
    return {
        name: one
        for name, one in inspect.signature(kind.__init__).parameters.items()
        if one.default is not one.empty and name != "dtype"
    }


def matcher_arguments(preset: str, **overrides: Any) -> dict[str, Any]:
    """All arguments that a preset's matcher is built with, but for its vocabulary's size.

    Raises:
        UserError: if no matcher has the preset, or an override is not an argument of it or of
            another type.
    """
    kind = matcher_class(preset)
    arguments = optional_arguments(kind)
    for name, value in overrides.items():
        if name not in arguments:
            meant = did_you_mean(name, arguments, f"known: {', '.join(arguments)}")
            raise UserError(f"model preset {preset}: unknown argument {name!r}; {meant}")
        try:
            TypeAdapter(arguments[name].annotation).validate_python(value, strict=True)
        except ValidationError as error:
            hint = "; YAML reads 1e-1 as text, and 1.0e-1 as a number" * isinstance(value, str)
            reason = error.errors()[0]["msg"]
            raise UserError(
                f"model preset {preset}: argument {name}: {reason} (found {value!r}){hint}"
            ) from error
    defaults = {name: one.default for name, one in arguments.items()}
    found = defaults | kind.presets[preset] | overrides
    if "intermediate_dim" in found:
        found["intermediate_dim"] = found["intermediate_dim"] or 4 * found["hidden_dim"]
    return found


def save_matcher(matcher: Matcher, folder: Path) -> None:
    """Write `model.json` and `model.weights.h5`, readable on every backend."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "model.weights.h5") as partial:
        matcher.save_weights(partial)
        write_json(folder / "model.json", {"kind": matcher.kind, "config": matcher.get_config()})


def load_matcher(folder: Path) -> Matcher:
    """The matcher that `save_matcher` wrote.

    Raises:
        UserError: if the folder holds none, or what it holds does not load.
    """
    try:
        saved = json.loads((folder / "model.json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder}: no model here (model.json is missing); give a folder that "
            "`kdmatch run` wrote, for example runs/x/students/albert/seed-0"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{folder}/model.json: not JSON ({error}); train the model again"
        ) from error
    try:
        matcher = MATCHERS[saved["kind"]].from_config(saved["config"])
        matcher.load_weights(folder / "model.weights.h5")
    except (KeyError, TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: its model does not load, so it is incomplete or another version of kdmatch "
            f"wrote it; train it again ({type(error).__name__}: {reason})"
        ) from error
    return matcher
