"""The command line: `kdmatch COMMAND`; heavy imports happen inside commands."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdmatch import __version__
from kdmatch.errors import UserError

if TYPE_CHECKING:
    from kdmatch.pipeline.config import Config

app = typer.Typer(
    help="Distil a slow query-document matcher into a student that serves in milliseconds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Write the numbers to this file too.", metavar="FILE")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a config key: a.b=value.", metavar="KEY")
]
IncludeOption = Annotated[
    list[Path] | None,
    typer.Option(help="A file of config keys, such as a search's best_hyperparameters.yaml."),
]
RunArgument = Annotated[Path, typer.Argument(help="A run directory.", metavar="RUN")]


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
    json_file: JsonOption = None,
) -> None:
    """Make a small synthetic video-search log, distil students on it, serve one request.

    Example: [cyan]kdmatch quickstart --out quickstart[/cyan]
    """
    _load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.quickstart import run_quickstart

    metrics = run_quickstart(out, set_ or [], Console())
    _write_json(json_file, metrics)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/.")],
    out: Annotated[Path, typer.Option(help="The run directory.")],
    set_: SetOption = None,
    include: IncludeOption = None,
    until: Annotated[str, typer.Option(help="Stop after this stage, for example teacher.")] = "",
    json_file: JsonOption = None,
) -> None:
    """Take rows to exported, evaluated students; called again, do what is missing.

    Example: [cyan]kdmatch run configs/homedepot.yaml --out runs/homedepot --set seeds=[0][/cyan]
    """
    from kdmatch.pipeline.config_loader import load_config

    settings = load_config(config, set_, include)
    _load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import run as run_stages

    console = Console()
    run_stages(settings, out, console, until)
    metrics_file = out / "metrics.json"
    if not until and metrics_file.is_file():
        metrics = json.loads(metrics_file.read_text("utf-8"))
        _print_metrics(metrics)
        _write_json(json_file, metrics)


@app.command()
def search(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/.")],
    out: Annotated[Path, typer.Option(help="The run directory; what it has is not made again.")],
    student: Annotated[
        str | None, typer.Option(help="Which student; each of the config's in turn if not given.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="At most so many trials.")] = None,
    hours: Annotated[float | None, typer.Option(help="No trial begins after these.")] = None,
    sample: Annotated[float | None, typer.Option(help="Share of the training queries.")] = None,
    tuner: Annotated[str | None, typer.Option(help="bayesian, hyperband or random.")] = None,
    objective: Annotated[str | None, typer.Option(help="Validation metric: auc, …")] = None,
    workers: Annotated[int, typer.Option(help="Local processes that run trials.", min=0)] = 1,
    listen: Annotated[
        str | None,
        typer.Option(help="Take workers from elsewhere at this address.", metavar="HOST:PORT"),
    ] = None,
    join: Annotated[
        str | None, typer.Option(help="Work for the search at this address.", metavar="HOST:PORT")
    ] = None,
    verify_top: Annotated[
        int, typer.Option(help="Train so many of the best trials on all rows.", min=0)
    ] = 0,
    seed: Annotated[int | None, typer.Option(help="Of sample, tuner and trials.")] = None,
    set_: SetOption = None,
    include: IncludeOption = None,
    json_file: JsonOption = None,
) -> None:
    """Search loss weights and training settings on a sample of the queries.

    Leaves search/STUDENT/best_hyperparameters.yaml, which kdmatch run takes with --include.
    Called again, it goes on where it was.

    Example: [cyan]kdmatch search configs/qbqtc.yaml --out runs/qbqtc --student albert
    --trials 60 --verify-top 5[/cyan]
    """
    from kdmatch.pipeline.config_loader import load_config

    given = {"trials": trials, "hours": hours, "sample": sample, "tuner": tuner}
    given |= {"objective": objective, "seed": seed}
    chosen = [f"search.{name}={value}" for name, value in given.items() if value is not None]
    settings = load_config(config, [*(set_ or []), *chosen], include)
    if workers == 0 and listen is None and join is None:
        raise UserError("--workers 0: no one would run a trial; give --listen HOST:PORT too")
    _load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.search.search import search as search_students
    from kdmatch.search.worker import join as join_search
    from kdmatch.search.worker import parse_address

    if join is not None:
        join_search(settings, out, join, Console())
        return
    address = None if listen is None else parse_address(listen, "--listen")
    students = [] if student is None else [student]
    found = search_students(settings, out, students, Console(), workers, address, verify_top)
    _write_json(json_file, found)


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[Path, typer.Option(help="A labelled file of rows.")],
    json_file: JsonOption = None,
) -> None:
    """Measure every model of a run on any labelled table.

    Example: [cyan]kdmatch evaluate runs/homedepot --data rows.parquet --json numbers.json[/cyan]
    """
    from kdmatch.data.readers import read

    config = _run_config(run)
    table = read(data, config.data.columns, config.data.on_bad_row)
    if table.column("label").null_count == table.num_rows:
        raise UserError(f"{data}: no row has a label; evaluate needs a `label` column")
    _load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.evaluation_stage import evaluate_table

    metrics = evaluate_table(config, run, table, data.name, Console())
    _print_metrics(metrics)
    _write_json(json_file, metrics)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="An exported model: RUN/export/albert.")],
    data: Annotated[Path, typer.Option(help="A file of rows.")],
    out: Annotated[Path, typer.Option(help="Parquet file: the rows and their score.")],
    batch: Annotated[int, typer.Option(help="Rows scored at a time.", min=1)] = 512,
) -> None:
    """Score a file of rows with an exported model, streaming.

    Example: [cyan]kdmatch score runs/x/export/albert --data rows.csv --out scored.parquet[/cyan]
    """
    _load_backend()
    from kdmatch.serving.bulk import score_file

    count = score_file(model, data, out, batch)
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
) -> None:
    """Export a run's students as the next version under a model base.

    Example: [cyan]kdmatch export runs/homedepot --student albert --to saved_models[/cyan]
    """
    config = _run_config(run)
    _load_backend()
    from kdmatch.pipeline.finish_stage import export_model

    names = list(config.students) if student == "all" else [student]
    for name in names:
        written = export_model(config, run, name, to / name, format_, graph, precision)
        typer.echo(f"{name}: {written}")


@app.command()
def serve(
    base: Annotated[Path, typer.Argument(help="Folder of models: RUN/export or saved_models.")],
    port: Annotated[int, typer.Option(help="gRPC port.", min=0, max=65535)] = 8500,
) -> None:
    """Serve models over gRPC: tensorflow_model_server if installed, else a local server.

    Example: [cyan]kdmatch serve runs/homedepot/export --port 8500[/cyan]
    """
    _load_backend()
    from kdmatch.serving.server import serve as serve_models

    serve_models(base, port)


@app.command()
def rank(
    query: Annotated[str, typer.Argument(help="The query.")],
    documents: Annotated[list[str], typer.Argument(help="Documents; - reads them from stdin.")],
    model: Annotated[str, typer.Option(help="Model name on the server.")] = "albert",
    target: Annotated[str, typer.Option(help="Server, host:port.")] = "localhost:8500",
    json_file: JsonOption = None,
) -> None:
    """Rank documents for a query by asking a server.

    Example: [cyan]kdmatch rank "led bulb" "LED light bulb 60W" "steel shelf" --model albert[/cyan]
    """
    _load_backend()
    from kdmatch.serving.client import Client

    if documents == ["-"]:
        documents = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    with Client(target, model=model) as client:
        ranking = client.rank(query, documents)
    for index, value in ranking:
        typer.echo(f"{value:8.4f}  {documents[index]}")
    rows = [{"index": i, "score": value, "document": documents[i]} for i, value in ranking]
    _write_json(json_file, {"query": query, "ranking": rows})


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, compared side by side.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    markdown: Annotated[bool, typer.Option(help="Print metric tables as Markdown.")] = False,
) -> None:
    """Write one HTML file about one or more runs, or print their tables as Markdown.

    Example: [cyan]kdmatch report runs/homedepot runs/qbqtc --out report.html[/cyan]
    """
    from kdmatch.evaluation.report import write_report
    from kdmatch.evaluation.run_record import read_run
    from kdmatch.evaluation.table import markdown_table

    if markdown:
        for run in runs:
            typer.echo(f"{run.name}\n\n{markdown_table(read_run(run).metrics)}\n")
    else:
        typer.echo(write_report(runs, out))


def entry_point() -> None:
    """Run the command line; a user's mistake is one line and exit status 2."""
    try:
        app()
    except UserError as error:
        if os.environ.get("KDMATCH_DEBUG"):
            raise
        typer.echo(f"kdmatch: {error}", err=True)
        raise SystemExit(2) from None


def _load_backend() -> None:
    """Import TensorFlow, its start-up lines hidden unless --debug asks for them."""
    from kdmatch.quiet import import_tensorflow_quietly

    if not os.environ.get("KDMATCH_DEBUG"):
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        import_tensorflow_quietly()


def _run_config(run: Path) -> "Config":
    from kdmatch.pipeline.config_loader import load_config
    from kdmatch.pipeline.run_directory import require_run

    return load_config(require_run(run) / "config.yaml")


def _print_metrics(metrics: dict[str, Any]) -> None:
    import rich.console

    from kdmatch.evaluation.table import metric_table

    rich.console.Console().print(metric_table(metrics))


def _write_json(path: Path | None, value: Any) -> None:
    if path is not None:
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
