"""Commands of whoever operates a server: gate, promote, rollback, load."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdmatch.cli_shared import JsonOption, load_backend, write_json

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
    positive_threshold: Annotated[float, typer.Option(help="Positive from this label on.")] = 1.0,
    json_file: JsonOption = None,
) -> None:
    """Compare a candidate's scores, AUC and latency with a version's; exit 1 where it fails.

    Example: [cyan]kdmatch gate saved_models/albert/1 saved_models/albert/2 --data test.parquet[/cyan]
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
        positive_threshold=positive_threshold,
    )
    checks = compare(baseline, candidate, read(data), limits)
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
) -> None:
    """Point a label at a version: load it, move the label, drop what has none.

    Example: [cyan]kdmatch promote albert --version 2 --label canary --target localhost:8500[/cyan]
    """
    load_backend()
    from kdmatch.serving.labels import promote as move

    _say(model, config, move(config, model, version, label, target, wait))


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


def _say(model: str, config: Path, change: "Change") -> None:
    if not change.moved:
        versions = ", ".join(map(str, change.versions))
        typer.echo(
            f"{config}: {model} lists versions {versions} now; no label was moved. When the server "
            "has loaded them, call this again, or give --target to have it done at once"
        )
        return
    labels = ", ".join(
        f"{label} {change.before.get(label, '–')} → {change.after.get(label, '–')}"
        for label in sorted({*change.before, *change.after})
        if change.before.get(label) != change.after.get(label)
    )
    typer.echo(f"{model}: {labels}")
