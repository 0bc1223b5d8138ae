"""The variants of an ablation as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from kdmatch.errors import UserError
from kdmatch.evaluation import formatting
from kdmatch.files import read_json

_INTRODUCTION = """\
# What each part of the recipes is worth

AUC with 95 % intervals over queries, ± the deviation over seeds where there are several;
differences are paired. `levers`: `- x` is the recipe without x, `+ x` labels alone with x, compared
with labels alone (`labels`). `losses`: from the control to the recipe, whose last step is the
transfer rows. Printed by `kdmatch report RUN … --ablations`, from what `kdmatch ablate` leaves."""
_HEADINGS = ("variant", "AUC", "to the recipe", "to labels alone")


def ablation_table(metrics: Mapping[str, Any]) -> Table:
    """Variants of a recipe, to print with rich: see `kdmatch.search.ablation.ablate`."""
    table = Table(
        title=ablation_title(metrics), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False
    )
    table.add_column(_HEADINGS[0], no_wrap=True)
    for heading in _HEADINGS[1:]:
        table.add_column(heading, justify="right")
    for row in _rows(metrics):
        table.add_row(*row)
    return table


def ablation_title(metrics: Mapping[str, Any]) -> str:
    """What a table is of."""
    return " · ".join(metrics[key] for key in ("dataset", "student", "of", "split"))


def ablation_markdown(metrics: Mapping[str, Any]) -> str:
    """The same as Markdown.

    >>> auc = {"auc": {"value": 0.7, "low": 0.6, "high": 0.8}, "seeds": {"auc": [0.7]}}
    >>> print(ablation_markdown({"models": {"recipe": auc}, "comparisons": []}))
    | variant | AUC | to the recipe | to labels alone |
    | --- | --- | --- | --- |
    | recipe | 0.700 [0.600, 0.800] | | |
    """
    lines = ["| " + " | ".join(_HEADINGS) + " |", "| --- | --- | --- | --- |"]
    for row in _rows(metrics):
        lines.append(formatting.markdown_row(row))
    return "\n".join(lines)


def ablations_markdown(runs: Sequence[Path]) -> str:
    """A page of all the ablations of some runs, as Markdown.

    Raises:
        UserError: if a run has none.
    """
    parts = [_INTRODUCTION]
    for run in runs:
        files = sorted(run.glob("ablation/*/*-*.json"))
        if not files:
            raise UserError(
                f"{run}: no ablation; make one with `kdmatch ablate CONFIG --out {run}`"
            )
        for file in files:
            metrics = read_json(file)
            parts.append(f"## {ablation_title(metrics)}\n\n{ablation_markdown(metrics)}")
    return "\n\n".join(parts)


def _rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    differences = {(one["a"], one["b"]): one for one in metrics["comparisons"]}
    rows = []
    for name, model in metrics["models"].items():
        auc = formatting.seeds(model["seeds"]["auc"])
        cells = [name, f"{auc} {formatting.interval(model['auc'])}"]
        for others in (("recipe",), ("labels", "control")):
            found = next((differences[name, o] for o in others if (name, o) in differences), None)
            cells.append("" if found is None else formatting.difference(found, 3))
        rows.append(cells)
    rows += [[name, "collapsed", "", ""] for name in metrics.get("collapsed", {})]
    return rows
