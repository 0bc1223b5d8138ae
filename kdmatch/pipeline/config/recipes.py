"""What a model has unless its section says otherwise: what held on both sets of the README.

A `Section`'s own defaults know nothing of the model; these do. They are put below a config's keys
before it is checked, so a resolved config names them all.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

_WHOLE = TypeAdapter(int)
_OWN_STARTS = ("scratch", "vectors", "pretraining")

RECIPES: Mapping[str, Mapping[str, Any]] = {
    # From weights that have read a lot; a BERT that has not learns faster (`_NEW_BERT`).
    "bert": {"steps": 2400, "learning_rate": 1e-4, "precision": "bfloat16", "patience": 4},
    "albert": {
        "steps": 6000,
        "learning_rate": 4e-4,
        "precision": "bfloat16",
        "validate_every": 500,
        "patience": 3,
    },
    "textcnn": {"steps": 4500, "learning_rate": 1e-3, "validate_every": 500, "patience": 3},
    "cnn_attention": {"steps": 1800, "learning_rate": 1e-3, "validate_every": 300, "patience": 3},
}
_NEW_BERT = {"learning_rate": 3e-4}
# Small ALBERTs learn best from the teachers, with few of the labels.
_NARROW_ALBERTS = ("albert_1l_128", "albert_1l_64")
_NARROW = {"learning_rate": 1e-3}
_FROM_TEACHERS = {"alpha": 0.3, "beta": 0.05, "gamma": 0.2}


def with_recipes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A config's keys with those of the models' recipes where it has none.

    A model is told what both sides of a pair share (`match_details`, and `match_coverage` but for
    a BERT that starts from pre-trained weights: it finds that out by itself; a CNN
    `match_characters` where the text is said to be Chinese), trains with the steps and the learning
    rate that suited its kind, and keeps a moving average of its weights; an ALBERT has no dropout,
    for the teachers' scores keep it from learning labels by heart, and one of 128 or 64 has weights
    of its losses that leave it few of the labels, unless its section or the run's `distillation`
    names `alpha`, `beta` or `gamma`.

    Args:
        raw: mapping, the keys of a config as YAML gives them; anything wrong in it is left for
            the check of the sections.

    Returns:
        a new mapping.
    """
    text = raw.get("text")
    language = text.get("language") if isinstance(text, Mapping) else None
    made = dict(raw)
    for place in ("teacher", "original"):
        made |= {place: _with_recipe(raw[place], language)} if place in raw else {}
    for place in ("further_teachers", "students"):
        if isinstance(models := raw.get(place), Mapping):
            made[place] = {name: _with_recipe(model, language) for name, model in models.items()}
    if isinstance(students := made.get("students"), Mapping):
        common = raw.get("distillation")
        made["students"] = {name: _with_losses(one, common) for name, one in students.items()}
    return made


def _with_losses(student: Any, common: Any) -> Any:
    """A narrow ALBERT's weights of the losses: the three go together, or stay as they are."""
    if not _is_narrow_albert(student):
        return student
    own = student.get("distillation") or {}
    named = [section for section in (own, common) if isinstance(section, Mapping)]
    if not isinstance(own, Mapping) or any(_FROM_TEACHERS.keys() & one for one in named):
        return student
    return {**student, "distillation": {**_FROM_TEACHERS, **own}}


def _is_narrow_albert(model: Any) -> bool:
    return isinstance(model, Mapping) and model.get("preset") in _NARROW_ALBERTS


def _with_recipe(model: Any, language: Any) -> Any:
    preset = str(model.get("preset")) if isinstance(model, Mapping) else ""
    kind = next((kind for kind in RECIPES if preset.startswith(f"{kind}_")), None)
    if kind is None:
        return model
    arguments: dict[str, Any] = {"match_details": True, "match_coverage": True}
    training = dict(RECIPES[kind])
    if kind == "albert":
        arguments["dropout"] = 0.0
        training |= _NARROW if _is_narrow_albert(model) else {}
    elif kind != "bert":
        arguments |= {"match_characters": True} if language == "zh" else {}
    elif model.get("start", "scratch") in _OWN_STARTS:
        training |= _NEW_BERT
    else:
        arguments.pop("match_coverage")
    made = {**model}
    if isinstance(given := model.get("arguments", {}), Mapping):
        made["arguments"] = {**arguments, **given}
    if isinstance(given := model.get("training", {}), Mapping):
        training |= given
        made["training"] = {"average": _average(training["steps"]), **training}
    return made


def _average(steps: Any) -> float:
    """Momentum whose average spans the last fifth of a short training, or 500 steps of a long."""
    try:
        steps = _WHOLE.validate_python(steps)  # as the section reads it: "3000" is a number
    except ValidationError:
        return 0.0  # the section says what is wrong
    return round(min(0.998, max(0.0, 1 - 5 / max(1, steps))), 3)
