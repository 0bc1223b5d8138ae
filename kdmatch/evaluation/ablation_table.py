"""The variants of an ablation as a table."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from kdmatch.evaluation import formatting

_HEADINGS = ("variant", "valid AUC", "to the recipe", "to labels alone")


def ablation_table(metrics: Mapping[str, Any]) -> Table:
    """Variants of a recipe, to print with rich: see `kdmatch.search.ablation.ablate`."""
    title = f"{metrics['dataset']} · {metrics['student']} · valid"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column(_HEADINGS[0], no_wrap=True)
    for heading in _HEADINGS[1:]:
        table.add_column(heading, justify="right")
    for row in _rows(metrics):
        table.add_row(*row)
    return table


def ablation_markdown(metrics: Mapping[str, Any]) -> str:
    """The same as Markdown.

    >>> auc = {"auc": {"value": 0.7, "low": 0.6, "high": 0.8}, "seeds": {"auc": [0.7]}}
    >>> print(ablation_markdown({"models": {"recipe": auc}, "comparisons": []}))
    | variant | valid AUC | to the recipe | to labels alone |
    | --- | --- | --- | --- |
    | recipe | 0.700 [0.600, 0.800] | | |
    """
    lines = ["| " + " | ".join(_HEADINGS) + " |", "| --- | --- | --- | --- |"]
    for row in _rows(metrics):
        lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|")
    return "\n".join(lines)


def _rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    differences = {(one["a"], one["b"]): one for one in metrics["comparisons"]}
    rows = []
    for name, model in metrics["models"].items():
        auc = formatting.seeds(model["seeds"]["auc"])
        cells = [name, f"{auc} {formatting.interval(model['auc'])}"]
        for other in ("recipe", "labels"):
            found = differences.get((name, other))
            cells.append(
                ""
                if found is None
                else f"{formatting.signed(found['difference'], 3)} "
                f"{formatting.signed_interval(found, 3)}"
            )
        rows.append(cells)
    return rows
