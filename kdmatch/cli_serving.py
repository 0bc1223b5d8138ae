"""Commands around a served model; `kdmatch.cli` merges them with the others."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kdmatch.cli_shared import (
    ColumnOption,
    JsonOption,
    LabelOption,
    RunArgument,
    VersionOption,
    load_backend,
    read_rows,
    run_config,
    split_names,
    write_json,
)
from kdmatch.errors import UserError

app = typer.Typer()


@app.command()
def serve(
    base: Annotated[Path, typer.Argument(help="Folder of models: RUN/export or saved_models.")],
    port: Annotated[int, typer.Option(help="gRPC port.", min=0, max=65535)] = 8500,
    host: Annotated[str, typer.Option(help="Address of the local server.")] = "127.0.0.1",
    intra_op_threads: Annotated[
        int | None, typer.Option(help="Threads that share one operation.", min=0)
    ] = None,
    inter_op_threads: Annotated[
        int | None,
        typer.Option(help="Operations that run side by side; -1: in the asking thread.", min=-1),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A models.config: versions and labels.", metavar="FILE")
    ] = None,
) -> None:
    """Serve models over gRPC: tensorflow_model_server if installed, else a local server.

    Example: [cyan]kdmatch serve runs/homedepot/export --port 8500[/cyan]
    """
    load_backend()
    from kdmatch.serving.server import ServeOptions
    from kdmatch.serving.server import serve as serve_models

    serve_models(base, ServeOptions(port, host, intra_op_threads, inter_op_threads, config))


@app.command()
def rank(
    query: Annotated[str, typer.Argument(help="The query.")],
    documents: Annotated[list[str], typer.Argument(help="Documents; - reads them from stdin.")],
    model: Annotated[str, typer.Option(help="Model name on the server.")] = "albert",
    target: Annotated[str, typer.Option(help="Server, host:port.")] = "localhost:8500",
    version: VersionOption = None,
    label: LabelOption = None,
    json_file: JsonOption = None,
) -> None:
    """Rank documents for a query by asking a server.

    Example: [cyan]kdmatch rank "led bulb" "LED light bulb 60W" "steel shelf" --model albert[/cyan]
    """
    load_backend()
    from kdmatch.serving.client import Client

    if documents == ["-"]:
        documents = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    with Client(target, model, version, label) as client:
        ranking = client.rank(query, documents)
    for index, value in ranking:
        typer.echo(f"{value:8.4f}  {documents[index]}")
    rows = [{"index": i, "score": value, "document": documents[i]} for i, value in ranking]
    write_json(json_file, {"query": query, "ranking": rows})


@app.command()
def bench(
    run: RunArgument,
    data: Annotated[Path, typer.Option(help="A file of rows; pages are made of them.")],
    column: ColumnOption = None,
    engines: Annotated[
        str,
        typer.Option(
            help="Engines, by commas. By default all of these that are installed: savedmodel, grpc "
            "(a local server on the loopback), onnxruntime, openvino, pytorch. Only if named: "
            "plain (the SavedModel without the inference graph), bfloat16 (with its products in "
            "bfloat16), grpc-bfloat16 (the same over gRPC)."
        ),
    ] = "",
    models: Annotated[str, typer.Option(help="Models, by commas; by default all exported.")] = "",
    documents: Annotated[str, typer.Option(help="Sizes of a page, by commas.")] = "1,10,50,200",
    seconds: Annotated[
        float, typer.Option(help="Measured for each model, engine and size.", min=0.0)
    ] = 3.0,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads within an operation; each engine's own choice if not given."),
    ] = None,
    pages: Annotated[
        int,
        typer.Option(
            help="Distinct pages of each size. An engine that compiles for shapes meets few pages "
            "again and again, and many for the first time.",
            min=1,
        ),
    ] = 32,
    cold: Annotated[bool, typer.Option(help="Measure cold starts and peak memory too.")] = True,
    markdown: Annotated[bool, typer.Option(help="Print the table as Markdown.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Measure how fast every exported model of a run scores pages, through every engine.

    Example: [cyan]kdmatch bench runs/shop --data rows.parquet --json bench.json[/cyan]
    """
    config = run_config(run)
    load_backend()
    from kdmatch.serving.threads import inter_op_of, set_threads

    set_threads(
        threads, inter_op_of(threads)
    )  # before TensorFlow runs anything, which an export does
    import rich.console

    from kdmatch.pipeline.bench import BenchOptions, bench_run
    from kdmatch.pipeline.console import Console
    from kdmatch.serving.bench.table import bench_table, markdown_bench
    from kdmatch.serving.engines import DEFAULT_ENGINES

    rows = read_rows(config, data, column)
    options = BenchOptions(
        engines=split_names(engines) or DEFAULT_ENGINES,
        models=split_names(models),
        documents=_sizes(documents),
        seconds=seconds,
        threads=threads,
        pages=pages,
        cold=cold,
    )
    result = bench_run(config, run, rows, data.name, options, Console(quiet=markdown))
    if markdown:
        typer.echo(markdown_bench(result))
    else:
        width = None if sys.stdout.isatty() else 120
        rich.console.Console(width=width).print(bench_table(result))
    write_json(json_file, result)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in split_names(text))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise UserError(f"--documents {text!r}: give sizes of a page, such as 1,10,50,200")
    return sizes
