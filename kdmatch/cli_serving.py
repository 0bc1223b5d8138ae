"""Commands around a served model; `kdmatch.cli` merges them with the others."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kdmatch.cli_shared import JsonOption, load_backend, write_json

app = typer.Typer()


@app.command()
def serve(
    base: Annotated[Path, typer.Argument(help="Folder of models: RUN/export or saved_models.")],
    port: Annotated[int, typer.Option(help="gRPC port.", min=0, max=65535)] = 8500,
) -> None:
    """Serve models over gRPC: tensorflow_model_server if installed, else a local server.

    Example: [cyan]kdmatch serve runs/homedepot/export --port 8500[/cyan]
    """
    load_backend()
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
    load_backend()
    from kdmatch.serving.client import Client

    if documents == ["-"]:
        documents = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    with Client(target, model=model) as client:
        ranking = client.rank(query, documents)
    for index, value in ranking:
        typer.echo(f"{value:8.4f}  {documents[index]}")
    rows = [{"index": i, "score": value, "document": documents[i]} for i, value in ranking]
    write_json(json_file, {"query": query, "ranking": rows})
