"""A training that collapses is a result too: the others go on."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kdmatch.errors import CollapsedRunError
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run_directory import Stage


def collapse_or_value(stage: Stage, value: str) -> Stage:
    """The stage, done too where its training collapses.

    Args:
        stage: Stage of a training.
        value: str. What `done.json` has of it; None after a collapse, beside its `reason`.
    """
    return dataclasses.replace(stage, work=partial(_or_reason, stage.work, value))


def _or_reason(
    train: Callable[[Path, Console], dict[str, Any] | None],
    value: str,
    folder: Path,
    console: Console,
) -> dict[str, Any] | None:
    try:
        return train(folder, console)
    except CollapsedRunError as error:
        return {value: None, "reason": str(error)}
