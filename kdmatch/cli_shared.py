"""What commands share: options, the backend, runs, and where numbers go."""

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdmatch.errors import UserError
from kdmatch.files import write_text

if TYPE_CHECKING:
    import pyarrow as pa

    from kdmatch.pipeline.config.run import Config

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
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Students trained side by side, each in a process of its own (about 2 GB). "
        "By default one for each core, 4 at most; one with a GPU.",
        show_default=False,
    ),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="The file's name of a column: query=search_term.", metavar="OURS=THEIRS"
    ),
]
LabelOption = Annotated[
    str | None, typer.Option(help="Version label to ask for, such as stable.", show_default=False)
]
VersionOption = Annotated[
    int | None, typer.Option(help="Version to ask for; the latest by default.", show_default=False)
]
RunArgument = Annotated[Path, typer.Argument(help="A run directory.", metavar="RUN")]


def load_backend() -> None:
    """Import TensorFlow, its start-up lines hidden unless --debug asks for them."""
    from kdmatch.quiet import import_tensorflow_quietly

    if not os.environ.get("KDMATCH_DEBUG"):
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        import_tensorflow_quietly()


def parse_columns(given: list[str] | None) -> dict[str, str]:
    """What `--column` says, the table's name of a column to the file's."""
    columns = {}
    for one in given or []:
        ours, equals, theirs = one.partition("=")
        if not (ours and equals and theirs):
            raise UserError(f"--column {one!r}: write it as ours=theirs, as query=search_term")
        columns[ours] = theirs
    return columns


def split_names(text: str) -> tuple[str, ...]:
    """Names by commas, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def read_rows(
    config: "Config", data: Path, column: list[str] | None, labelled: bool = False
) -> "pa.Table":
    """A file of rows for a run: columns named as its data's, where there, or as `--column` says.

    Rows that the run's `data.on_bad_row` skips are counted on the console.

    Raises:
        UserError: if rows are bad and not to be skipped, or if none has a label and
            `labelled` wants some.
    """
    import pyarrow as pa

    from kdmatch.data.readers import read_batches
    from kdmatch.data.schema import BadRows

    given = parse_columns(column)
    optional = set(config.data.columns) - set(given) - {"query", "document"}
    bad = BadRows(config.data.on_bad_row)
    columns = {**config.data.columns, **given}
    table = pa.Table.from_batches(list(read_batches(data, columns, bad, optional)))
    if bad.count:
        typer.echo(f"{data}: {bad.count} bad rows skipped (data.on_bad_row)", err=True)
    if labelled and table.column("label").null_count == table.num_rows:
        raise UserError(
            f"{data}: no row has a label; this needs a `label` column, or --column label=YOURS"
        )
    return table


def run_config(run: Path) -> "Config":
    """The config of a run directory."""
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.run_directory import require_run

    return load_config(require_run(run) / "config.yaml", recipes=False)


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print the table of a `metrics.json`."""
    import rich.console

    from kdmatch.evaluation.table import metric_table

    rich.console.Console().print(metric_table(metrics))


def write_json(path: Path | None, value: Any) -> None:
    """Write the numbers that `--json` asked for."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
