"""The tables of metrics that the command line prints."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from kdmatch.evaluation import formatting
from kdmatch.evaluation.run_record import control_of, find_comparison, in_order, is_student


def metric_table(metrics: Mapping[str, Any]) -> Table:
    """Models of a `metrics.json` as a table: teachers, then students and controls.

    Students carry the difference of their AUC to their control's, with its
    interval, where the run compares them. The row below a student is its control.

    Args:
        metrics: the contents of a run's `metrics.json`.

    Returns:
        A table to print with rich.

    >>> table = metric_table({"models": {"gbdt": {}, "albert": {}, "albert_control": {}}})
    >>> [str(name) for name in table.columns[0].cells]
    ['gbdt', 'albert', '  control']
    """
    models = metrics["models"]
    where = [str(metrics[key]) for key in ("dataset", "split") if metrics.get(key)]
    table = Table(
        title=Text(" · ".join(where)) if where else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("model", no_wrap=True)
    for heading in ("AUC", "GAUC", "NDCG@10", "to control", "params", "p50 ms"):
        table.add_column(heading, justify="right")
    in_students = False
    for name in in_order(models):
        model = models[name]
        control = control_of(name) in models
        student = control or is_student(name)
        if student and not in_students and table.row_count:
            table.add_section()
        in_students = student
        auc = model.get("auc") or {}
        table.add_row(
            Text("  control", style="dim") if control else Text(name, style="bold"),
            Text(_breakable(formatting.number(auc.get("value")), formatting.interval(auc))),
            *(
                formatting.number((model.get(metric) or {}).get("value"))
                for metric in ("gauc", "ndcg@10")
            ),
            _to_control(metrics, name),
            formatting.count(model.get("parameters")),
            formatting.milliseconds((model.get("latency_ms") or {}).get("p50")),
        )
    return table


def markdown_table(metrics: Mapping[str, Any]) -> str:
    """The same models as Markdown, for a README: means over seeds with their deviation.

    Args:
        metrics: the contents of a run's `metrics.json`.

    Returns:
        Lines of a table: AUC, its differences to the control and to the
        teacher with 95 % intervals, parameters, median latency.

    >>> auc = {"value": 0.75, "low": 0.7, "high": 0.8}
    >>> print(markdown_table({"models": {"gbdt": {"auc": auc}}}))
    | model | AUC | to its control | to the teacher | parameters | p50 ms |
    | --- | --- | --- | --- | --- | --- |
    | gbdt | 0.750 [0.700, 0.800] | | | – | – |
    """
    lines = [
        "| model | AUC | to its control | to the teacher | parameters | p50 ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in in_order(metrics["models"]):
        model = metrics["models"][name]
        auc = model.get("auc") or {}
        seeds = (model.get("seeds") or {}).get("auc")
        value = formatting.seeds(seeds) if seeds else formatting.number(auc.get("value"))
        cells = [name, f"{value} {formatting.interval(auc)}"]
        for other in (f"{name}_control", "teacher"):
            found = find_comparison(metrics, name, other)
            cells.append(
                ""
                if found is None
                else f"{formatting.signed(found['difference'], 3)} "
                f"{formatting.signed_interval(found, 3)}"
            )
        cells.append(formatting.count(model.get("parameters")))
        cells.append(formatting.milliseconds((model.get("latency_ms") or {}).get("p50")))
        lines.append(formatting.markdown_row(cells))
    return "\n".join(lines)


def comparison_table(found: Mapping[str, Any]) -> Table:
    """What the models of a run gain over those of another, to print with rich.

    Args:
        found: what `kdmatch.pipeline.comparison.compare_runs` returns.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("AUC", no_wrap=True)
    for heading in (*found["runs"], "difference"):
        table.add_column(heading, justify="right")
    for name, model in found["models"].items():
        difference = model["difference"]
        gain = f"{formatting.signed(difference['difference'])} "
        gain += formatting.signed_interval(difference)
        auc = [
            f"{formatting.number(model[which]['value'], 4)} {formatting.interval(model[which])}"
            for which in ("new", "old")
        ]
        table.add_row(name, *auc, Text(gain, style=_style(difference)))
    return table


def _to_control(metrics: Mapping[str, Any], name: str) -> Text:
    found = find_comparison(metrics, name, f"{name}_control")
    if found is None:
        return Text("")
    difference = formatting.signed(found["difference"], 3)
    return Text(_breakable(difference, formatting.signed_interval(found, 3)), style=_style(found))


def _style(found: Mapping[str, Any]) -> str:
    """Green for a gain and red for a loss, where the interval leaves no doubt."""
    if not formatting.excludes_zero(found):
        return ""
    return "green" if found["difference"] > 0 else "red"


def _breakable(value: str, interval: str) -> str:
    """Value and interval; a narrow terminal may break between them, not inside."""
    return f"{value} {interval.replace(' ', '')}".rstrip()
