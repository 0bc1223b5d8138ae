"""The table of a bench, for a terminal and for a README."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from kdmatch.evaluation import formatting
from kdmatch.evaluation.bench_rows import by_model_and_engine

_CALLS_FOR_P99 = 100
_AGREES = 1e-3


def bench_table(bench: Mapping[str, Any]) -> Table:
    """A `bench.json` as a table: a line for each model and engine, a column for each size.

    A cell is `p50 / p99` in ms, of fewer than 100 calls without a p99 and with their
    number; then documents a second on the largest page, the peak memory and, where cold
    starts were measured, the cores that the largest page keeps busy and the ms that a load
    and the first call after it took, with the warm-up file and without where there is one.
    Where an engine's scores differ from the reference's by more than 0.001, a last column
    says by how much.
    """
    headings, lines = _cells(bench)
    table = Table(
        title=f"{bench['dataset']} · {bench['split']} · ms a page, p50 / p99, from raw text",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < 2 else "right", no_wrap=True)
    previous = ""
    for line in lines:
        if previous and line[0] != previous:
            table.add_section()
        table.add_row("" if line[0] == previous else line[0], *line[1:])
        previous = line[0]
    return table


def markdown_bench(bench: Mapping[str, Any]) -> str:
    """The same as Markdown.

    >>> one = {"model": "albert", "engine": "grpc", "documents": 10, "p50_ms": 3.14159,
    ...        "p99_ms": 9.0, "calls": 900, "documents_per_second": 3000.0, "peak_mb": None}
    >>> print(markdown_bench({"rows": [one]}))
    | model | engine | 10 docs | docs/s | peak MB |
    | --- | --- | ---: | ---: | ---: |
    | albert | grpc | 3.14 / 9.00 | 3,000 | – |
    """
    headings, lines = _cells(bench)
    rule = ["---" if index < 2 else "---:" for index in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *lines])


def _cells(bench: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    sizes = sorted({row["documents"] for row in bench["rows"]})
    headings = ["model", "engine"]
    headings += [*map(formatting.documents, sizes), "docs/s", "peak MB"]
    differences = {
        (one["model"], one["engine"]): f"{one['max_difference']:.4f}"
        for one in bench.get("agreement") or ()
        if not one["max_difference"] <= _AGREES  # NaN does not agree
    }
    starts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in bench.get("cold_start") or ():
        starts.setdefault((one["model"], one["engine"]), []).append(one)
    headings += ["cores", "load ms", "first ms"] if starts else []
    headings += ["scores off by"] if differences else []
    lines = []
    for (model, engine), found in by_model_and_engine(bench).items():
        largest = found[max(found)]
        peak = max((row.get("peak_mb") or 0 for row in found.values()), default=0)
        lines.append(
            [model, engine]
            + [_latency(found.get(size)) for size in sizes]
            + [f"{largest['documents_per_second']:,.0f}", f"{peak:,.0f}" if peak else "–"]
            + (_cold(starts.get((model, engine), ())) if starts else [])
            + ([differences.get((model, engine), "")] if differences else [])
        )
    return headings, lines


def _cold(starts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Cores, then load and first call in ms, the start with the warm-up file first."""
    ordered = sorted(starts, key=lambda one: not one["warmup"])
    cores = next((f"{one['cores']:.1f}" for one in ordered if one.get("cores") is not None), None)
    return [
        cores or formatting.MISSING,
        " / ".join(f"{one['load_ms']:,.0f}" for one in ordered) or formatting.MISSING,
        " / ".join(formatting.milliseconds(one["first_ms"]) for one in ordered)
        or formatting.MISSING,
    ]


def _latency(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return formatting.MISSING
    # Of fewer calls the p99 is the slowest one.
    p50 = formatting.milliseconds(row["p50_ms"])
    if row["calls"] < _CALLS_FOR_P99:
        return f"{p50} / {formatting.MISSING} ({row['calls']})"
    return f"{p50} / {formatting.milliseconds(row['p99_ms'])}"
