"""Commands of whoever operates a server: gate, promote, rollback, load."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdmatch.cli_shared import (
    ColumnOption,
    JsonOption,
    LabelOption,
    VersionOption,
    load_backend,
    parse_columns,
    write_json,
)
from kdmatch.errors import UserError

if TYPE_CHECKING:
    from kdmatch.serving.labels import Change

app = typer.Typer()

ConfigOption = Annotated[
    Path, typer.Option("--config", help="The server's models.config.", metavar="FILE")
]
TargetOption = Annotated[
    str | None, typer.Option(help="Server to tell, host:port; the file alone without it.")
]
ModelArgument = Annotated[str, typer.Argument(help="Name of the model in the file.")]


@app.command()
def gate(
    baseline: Annotated[Path, typer.Argument(help="The version that serves: its folder.")],
    candidate: Annotated[Path, typer.Argument(help="The version to come: its folder.")],
    data: Annotated[Path, typer.Option(help="A file of rows, with labels or without.")],
    tolerance: Annotated[
        float, typer.Option(help="Largest difference of a score; inf for another model.", min=0)
    ] = 1e-3,
    auc_drop: Annotated[float, typer.Option(help="AUC that may be lost.")] = 0.0005,
    latency_ratio: Annotated[
        float, typer.Option(help="Candidate's p50 over the baseline's.")
    ] = 1.1,
    documents: Annotated[int, typer.Option(help="Documents of the timed pages.", min=1)] = 10,
    seconds: Annotated[float, typer.Option(help="Timed for each of the two.", min=0)] = 5.0,
    positive_threshold: Annotated[
        float, typer.Option(help="Positive from this label on, as in the config.")
    ] = 1.0,
    column: ColumnOption = None,
    json_file: JsonOption = None,
) -> None:
    """Compare a candidate's scores, AUC and latency with a version's; exit 1 where it fails.

    Example: [cyan]kdmatch gate albert/1 albert/2 --data rows.parquet[/cyan]
    """
    load_backend()
    import rich.console
    from rich import box
    from rich.table import Table

    from kdmatch.data.readers import read
    from kdmatch.serving.gate import GateLimits
    from kdmatch.serving.gate import gate as compare

    limits = GateLimits(
        tolerance=None if tolerance == float("inf") else tolerance,
        auc_drop=auc_drop,
        latency_ratio=latency_ratio,
        documents=documents,
        seconds=seconds,
        positive_threshold=positive_threshold,
    )
    checks = compare(baseline, candidate, read(data, parse_columns(column)), limits)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("check", "value", "limit", "", ""):
        table.add_column(heading, justify="right" if heading in ("value", "limit") else "left")
    for check in checks:
        verdict = "[green]passes[/green]" if check.passed else "[bold red]FAILS[/bold red]"
        table.add_row(check.name, f"{check.value:.6g}", f"{check.limit:g}", verdict, check.note)
    rich.console.Console().print(table)
    rows = [{**vars(check), "passed": check.passed} for check in checks]
    passed = all(check.passed for check in checks)
    write_json(json_file, {"passed": passed, "checks": rows})
    if not passed:
        raise typer.Exit(1)


@app.command()
def promote(
    model: ModelArgument,
    config: ConfigOption = Path("serving/models.config"),
    version: Annotated[int | None, typer.Option(help="By default the one of canary.")] = None,
    label: Annotated[str, typer.Option(help="stable or canary.")] = "stable",
    target: TargetOption = None,
    wait: Annotated[float, typer.Option(help="Seconds that loading may take.", min=0)] = 300.0,
    check: Annotated[
        list[str] | None,
        typer.Option(
            help="Without --target: a server that reads the file, which must have the version.",
            metavar="HOST:PORT",
        ),
    ] = None,
    loaded: Annotated[
        bool, typer.Option("--loaded", help="Without --target: all servers have the version.")
    ] = False,
) -> None:
    """Point a label at a version: load it, move the label, drop what has none.

    Example: [cyan]kdmatch promote albert --version 2 --label canary --target localhost:8500[/cyan]
    """
    load_backend()
    from kdmatch.serving.labels import promote as move

    if target is not None and (check or loaded):
        raise UserError("--target: the server is asked itself; leave --check and --loaded out")
    change = move(config, model, version, label, target, wait, check or (), loaded)
    _say(model, config, change)


@app.command()
def rollback(
    model: ModelArgument,
    config: ConfigOption = Path("serving/models.config"),
    target: TargetOption = None,
) -> None:
    """Point stable back at the version that it had before.

    Example: [cyan]kdmatch rollback albert --target localhost:8500[/cyan]
    """
    load_backend()
    from kdmatch.serving.labels import rollback as move

    _say(model, config, move(config, model, target))


@app.command()
def load(
    data: Annotated[Path, typer.Option(help="A file of rows; pages are made of them.")],
    target: Annotated[str, typer.Option(help="Server, host:port.")] = "localhost:8500",
    model: Annotated[str, typer.Option(help="Model name on the server.")] = "albert",
    documents: Annotated[int, typer.Option(help="Documents of a page.", min=1)] = 10,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second; the highest is sought without it.", min=0.01),
    ] = None,
    version: VersionOption = None,
    label: LabelOption = None,
    budget_ms: Annotated[float, typer.Option(help="Largest p99 of the search, in ms.")] = 50.0,
    seconds: Annotated[
        float,
        typer.Option(help="How long a rate is held; a search holds low ones longer.", min=0.1),
    ] = 10.0,
    kind: Annotated[
        str, typer.Option("--arrivals", help="poisson or uniform.", metavar="KIND")
    ] = "poisson",
    column: ColumnOption = None,
    json_file: JsonOption = None,
) -> None:
    """Load a server at a fixed rate of arrivals, or find the highest within a latency budget.

    Latency counts from when a request was to arrive, so that queueing shows.

    Example: [cyan]kdmatch load --data rows.parquet --model albert --budget-ms 50[/cyan]
    """
    load_backend()
    import rich.console
    from rich import box
    from rich.table import Table

    from kdmatch.data.readers import read
    from kdmatch.serving.bench.load import (
        LoadResult,
        highest_rate,
        load_at,
        quiet_rate,
        seconds_at,
    )
    from kdmatch.serving.bench.pages import make_pages
    from kdmatch.serving.wire import PredictSpec

    pages = make_pages(read(data, parse_columns(column)), documents, 64)
    spec = PredictSpec(model, version, label)

    def trial(tried: float, seed: int) -> LoadResult:
        return load_at(target, spec, pages, tried, seconds_at(tried, seconds), kind, seed)

    if rate is not None:
        found, trials = None, [load_at(target, spec, pages, rate, seconds, kind)]
    else:
        found, trials = highest_rate(trial, budget_ms, quiet_rate(target, spec, pages) / 2)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    rows = [trial.row() for trial in trials]
    for heading in rows[0]:
        table.add_column(heading.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*("–" if value is None else str(value or 0) for value in row.values()))
    rich.console.Console(width=120).print(table)
    if found is not None:
        typer.echo(f"highest rate with p99 ≤ {budget_ms:g} ms: {found:.1f} requests a second")
    if late := [one.rate for one in trials if one.is_client_bound(budget_ms)]:
        typer.echo(
            f"from {min(late):.1f} requests a second on, this client sent late by a good part of "
            "the budget: the server may do more; load it from another machine, or from several",
            err=True,
        )
    write_json(
        json_file,
        {"model": model, "documents": documents, "budget_ms": budget_ms, "arrivals": kind}
        | {"highest_rate": found, "trials": rows},
    )


def _say(model: str, config: Path, change: "Change") -> None:
    if not change.moved:
        versions = ", ".join(map(str, change.versions))
        typer.echo(
            f"{config}: {model} lists versions {versions} now; no label was moved. When the server "
            "has loaded them, call this again with --check; --target does it all at once"
        )
        _warn(model, change)
        return
    labels = ", ".join(
        f"{label} {change.before.get(label, '–')} → {change.after.get(label, '–')}"
        for label in sorted({*change.before, *change.after})
        if change.before.get(label) != change.after.get(label)
    )
    typer.echo(f"{model}: {labels}")
    _warn(model, change)


def _warn(model: str, change: "Change") -> None:
    if change.unlabelled is not None:
        typer.echo(
            f"{model}: version {change.unlabelled}, not stable's {change.after['stable']}, is what "
            "clients get that ask for no label: it is the highest. Have them ask for stable",
            err=True,
        )
