"""The command line: `kdmatch COMMAND`; heavy imports happen inside commands."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from kdmatch import __version__, cli_operating, cli_search, cli_serving
from kdmatch.cli_shared import (
    ColumnOption,
    IncludeOption,
    JobsOption,
    JsonOption,
    RunArgument,
    SetOption,
    load_backend,
    parse_columns,
    print_metrics,
    read_rows,
    run_config,
    split_names,
    write_json,
)
from kdmatch.errors import UserError

app = typer.Typer(
    help="Distil a slow query-document matcher into a student that serves in milliseconds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(cli_search.app)
app.add_typer(cli_serving.app)
app.add_typer(cli_operating.app)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if version:
        typer.echo(f"kdmatch {__version__}")
        raise typer.Exit
    if debug:
        os.environ["KDMATCH_DEBUG"] = "1"


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Where data and run go.")] = Path("quickstart"),
    set_: SetOption = None,
    jobs: JobsOption = None,
    json_file: JsonOption = None,
) -> None:
    """Make a small synthetic video-search log, distil students on it, serve one request.

    Example: [cyan]kdmatch quickstart --out quickstart[/cyan]
    """
    load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.quickstart import run_quickstart
    from kdmatch.pipeline.side_by_side import default_jobs

    metrics = run_quickstart(out, set_ or [], Console(), jobs or default_jobs())
    write_json(json_file, metrics)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/.")],
    out: Annotated[Path, typer.Option(help="The run directory.")],
    set_: SetOption = None,
    include: IncludeOption = None,
    until: Annotated[
        str, typer.Option(help="Stop after this stage, a folder of the run: teacher, scores, …")
    ] = "",
    jobs: JobsOption = None,
    json_file: JsonOption = None,
) -> None:
    """Take rows to exported, evaluated students; called again, do what is missing.

    Example: [cyan]kdmatch run configs/homedepot.yaml --out runs/homedepot --set seeds=[0][/cyan]
    """
    from kdmatch.pipeline.config.loader import load_config

    if until and json_file is not None:
        raise UserError(f"--json: a run that stops after {until} has no numbers; leave one out")
    settings = load_config(config, set_, include)
    load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import run as run_stages
    from kdmatch.pipeline.side_by_side import default_jobs

    run_stages(settings, out, Console(), until, jobs or default_jobs())
    metrics_file = out / "metrics.json"
    if not until and metrics_file.is_file():
        metrics = json.loads(metrics_file.read_text("utf-8"))
        print_metrics(metrics)
        write_json(json_file, metrics)


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="YAML file with a `pretraining` section.")],
    out: Annotated[Path, typer.Option(help="The run directory.")],
    set_: SetOption = None,
    include: IncludeOption = None,
) -> None:
    """Pre-train the teacher's encoder on the run's own text, as the first part of a run.

    A teacher with start: pretraining begins there; kdmatch run goes on from here.

    Example: [cyan]kdmatch pretrain configs/qbqtc.yaml --out runs/qbqtc
    --set "pretraining={steps: 10000}" --set teacher.start=pretraining[/cyan]
    """
    from kdmatch.pipeline.config.loader import load_config

    settings = load_config(config, set_, include)
    if not settings.pretrained:
        raise UserError(
            f"{config}: no model starts from pre-training; for example "
            '--set "pretraining={steps: 10000}" --set teacher.start=pretraining'
        )
    load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import run as run_stages

    run_stages(settings, out, Console(), "pretraining")


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[Path, typer.Option(help="A labelled file of rows.")],
    column: ColumnOption = None,
    json_file: JsonOption = None,
) -> None:
    """Measure every model of a run on any labelled table.

    Example: [cyan]kdmatch evaluate runs/homedepot --data rows.parquet --json numbers.json[/cyan]
    """
    config = run_config(run)
    table = read_rows(config, data, column, labelled=True)
    load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.evaluation_stage import evaluate_table

    metrics = evaluate_table(config, run, table, data.name, Console())
    print_metrics(metrics)
    write_json(json_file, metrics)


@app.command()
def compare(
    run: RunArgument,
    other: Annotated[Path, typer.Argument(help="The run to compare it with.", metavar="OTHER")],
    data: Annotated[Path, typer.Option(help="A labelled file of rows.")],
    models: Annotated[
        str, typer.Option(help="Models, by commas; all that both have if not given.")
    ] = "",
    column: ColumnOption = None,
    json_file: JsonOption = None,
) -> None:
    """Say what the models of one run gain over those of another, with intervals.

    Example: [cyan]kdmatch compare runs/searched runs/shop --data rows.parquet[/cyan]
    """
    config, others = run_config(run), run_config(other)
    table = read_rows(config, data, column, labelled=True)
    load_backend()
    import rich.console

    from kdmatch.evaluation.table import comparison_table
    from kdmatch.pipeline.comparison import compare_runs
    from kdmatch.pipeline.console import Console

    names = split_names(models)
    found = compare_runs((config, run), (others, other), table, names, Console())
    rich.console.Console().print(comparison_table(found))
    write_json(json_file, found)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="An exported model: RUN/export/albert.")],
    data: Annotated[Path, typer.Option(help="A file of rows.")],
    out: Annotated[Path, typer.Option(help="Parquet file: the rows and their score.")],
    batch: Annotated[int, typer.Option(help="Rows scored at a time.", min=1)] = 512,
    column: ColumnOption = None,
) -> None:
    """Score a file of rows with an exported model, streaming.

    Example: [cyan]kdmatch score runs/x/export/albert --data rows.csv --out scored.parquet[/cyan]
    """
    load_backend()
    from kdmatch.serving.bulk import score_file

    count = score_file(model, data, out, batch, parse_columns(column))
    typer.echo(f"{count} rows scored: {out}")


@app.command()
def export(
    run: RunArgument,
    student: Annotated[str, typer.Option(help="Which model, or all.")] = "all",
    to: Annotated[Path, typer.Option(help="Base folder.")] = Path("saved_models"),
    format_: Annotated[
        str, typer.Option("--format", help="savedmodel, onnx or openvino.")
    ] = "savedmodel",
    graph: Annotated[str, typer.Option(help="packed, or keras: as it was trained.")] = "packed",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    batching: Annotated[
        Path | None,
        typer.Option(help="TF Serving's batching parameters of the model.", metavar="FILE"),
    ] = None,
) -> None:
    """Export a run's students as the next version under a model base.

    Example: [cyan]kdmatch export runs/homedepot --student albert --to saved_models[/cyan]
    """
    config = run_config(run)
    load_backend()
    from kdmatch.pipeline.finish_stage import export_model

    names = list(config.students) if student == "all" else [student]
    for name in names:
        written = export_model(config, run, name, to / name, format_, graph, precision, batching)
        typer.echo(f"{name}: {written}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, compared side by side.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    markdown: Annotated[bool, typer.Option(help="Print metric tables as Markdown.")] = False,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Print their ablations as a Markdown page.")
    ] = False,
    frontier: Annotated[
        bool, typer.Option("--frontier", help="Print AUC against the time of a page as Markdown.")
    ] = False,
) -> None:
    """Write one HTML file about one or more runs, or print their tables as Markdown.

    Example: [cyan]kdmatch report runs/homedepot runs/qbqtc --out report.html[/cyan]
    """
    from kdmatch.evaluation.ablation_table import ablations_markdown
    from kdmatch.evaluation.frontier import frontier_markdown
    from kdmatch.evaluation.report import write_report
    from kdmatch.evaluation.run_record import read_run
    from kdmatch.evaluation.table import markdown_table

    if ablations:
        typer.echo(ablations_markdown(runs))
    elif markdown or frontier:
        for record in map(read_run, runs):
            if markdown:
                typer.echo(f"{record.name}\n\n{markdown_table(record.metrics)}\n")
            if frontier:
                typer.echo(f"{record.name}\n\n{frontier_markdown(record)}\n")
    else:
        typer.echo(write_report(runs, out))


def entry_point() -> None:
    """Run the command line; a user's mistake is one line and exit status 2."""
    try:
        app()
    except (UserError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("KDMATCH_DEBUG"):
            raise
        typer.echo(f"kdmatch: {_one_line(error)}", err=True)
        raise SystemExit(2) from None


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error} (--debug shows where)"
    if isinstance(error, ModuleNotFoundError):
        return (
            f"this command needs the Python module {error.name!r}, which is not installed; "
            "install kdmatch with all it requires (--debug shows where)"
        )
    return str(error)
