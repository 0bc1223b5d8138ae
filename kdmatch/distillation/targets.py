"""What a batch tells a student, brought into one form: `(batch,)` columns of the right dtype."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras import ops


def targets_of(y: Any, logit: Any, needs: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a batch's `y`, each `(batch,)`, numbers in the logit's dtype.

    A column of shape `(batch, 1)`, as CSV readers and data frames give it, is flattened: against a
    logit `(batch,)` it would be broadcast to a square.

    Args:
        y: mapping with any of `label`, `group` and `scores` (a mapping of names to scores).
        logit: float `(batch,)`, of the student.
        needs: names, `label`, `group` or that of a score, to the loss that reads them.

    Returns:
        `{"label", "group", "scores": {name: …}}`, None for a label or group that is not there.

    Raises:
        ValueError: if `y` is no mapping, lacks what a loss needs, or a column has another shape.
    """
    if not isinstance(y, Mapping):
        raise ValueError(
            f"y is {_described(y)}; give {{'label', 'group', 'scores': {{name: …}}}}, each (batch,)"
        )
    scores = y.get("scores", {})
    for name, loss in needs.items():
        if name in ("label", "group") and name not in y:
            raise ValueError(
                f"the batch's y has no {name!r} (it has {_names(y)}), which the {loss} loss needs; "
                "add it, or set the loss's weight to 0"
            )
        if name not in ("label", "group") and name not in scores:
            raise ValueError(
                f"the batch has no score {name!r} (it has {_names(scores)}), which the {loss} loss "
                "needs; write it, or set the loss's weight to 0"
            )
    group = _column("group", y["group"], logit) if "group" in y else None
    label = _number("label", y["label"], logit) if "label" in y else None
    return {
        "label": label,
        "group": group,
        "scores": {name: _number(f"scores[{name!r}]", one, logit) for name, one in scores.items()},
    }


def weight_of(sample_weight: Any, logit: Any) -> Any:
    """Weights `(batch,)` in the logit's dtype; all 1 where none are given.

    Raises:
        ValueError: if they have another shape.
    """
    if sample_weight is None:
        return ops.ones_like(logit)
    # Keras repeats the weights of in-memory arrays for every target of a nested y.
    return _number("sample_weight", keras.tree.flatten(sample_weight)[0], logit)


def _column(name: str, value: Any, logit: Any) -> Any:
    """The value as `(batch,)`.

    Raises:
        ValueError: if it has another shape.
    """
    if getattr(value.shape, "rank", 1) is None:
        # A TensorFlow function that was called with both; other shapes fail as it runs.
        return ops.reshape(value, (-1,))
    shape = tuple(value.shape)
    rows = logit.shape[0]
    fits = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not fits or (None not in (rows, shape[0]) and rows != shape[0]):
        raise ValueError(f"{name} has shape {shape}; it must be (batch,), like the student's score")
    return value if len(shape) == 1 else ops.squeeze(value, axis=-1)


def _number(name: str, value: Any, logit: Any) -> Any:
    return ops.cast(_column(name, value, logit), logit.dtype)


def _names(found: Iterable[str]) -> str:
    return ", ".join(sorted(found)) or "nothing"


def _described(value: Any) -> str:
    if value is None:
        return "missing"
    return (
        f"{type(value).__name__} of shape {value.shape}" if hasattr(value, "shape") else repr(value)
    )
