"""The commands that try variants: search, ablate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kdmatch.cli_shared import (
    ColumnOption,
    IncludeOption,
    JobsOption,
    JsonOption,
    SetOption,
    load_backend,
    read_rows,
    write_json,
)
from kdmatch.errors import UserError

app = typer.Typer()


@app.command()
def search(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/.")],
    out: Annotated[Path, typer.Option(help="The run directory; what it has is not made again.")],
    student: Annotated[
        str | None, typer.Option(help="Which student; each of the config's in turn if not given.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="At most so many trials; 60 if the config says nothing.")
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(help="No trial begins after so many hours, counted for each student."),
    ] = None,
    sample: Annotated[
        float | None, typer.Option(help="Share of the training queries; 0.06.")
    ] = None,
    tuner: Annotated[str | None, typer.Option(help="bayesian, hyperband or random.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="Metric on valid: auc, gauc, ndcg@10, mrr, map or pair_accuracy."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Local processes that run trials; 1 if not given.", min=0)
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(help="Take workers from elsewhere at this address.", metavar="HOST:PORT"),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            help="Work for the search at this address, on the same run directory; one worker a "
            "call.",
            metavar="HOST:PORT",
        ),
    ] = None,
    verify_top: Annotated[
        int,
        typer.Option(
            help="Train so many of the best trials, and the config's own values, on all rows; "
            "the best there wins.",
            min=0,
        ),
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
    from kdmatch.pipeline.config.loader import load_config

    if join is not None:
        _refuse_with_join(
            {"student": student, "trials": trials, "hours": hours, "workers": workers}
            | {"listen": listen, "verify-top": verify_top or None, "json": json_file}
        )
    given = {"trials": trials, "hours": hours, "sample": sample, "tuner": tuner}
    given |= {"objective": objective, "seed": seed}
    chosen = [f"search.{name}={value}" for name, value in given.items() if value is not None]
    settings = load_config(config, [*(set_ or []), *chosen], include)
    if workers == 0 and listen is None:
        raise UserError("--workers 0: no one would run a trial; give --listen HOST:PORT too")
    load_backend()
    from kdmatch.pipeline.console import Console
    from kdmatch.search.search import search as search_students
    from kdmatch.search.worker import join as join_search
    from kdmatch.search.worker import parse_address

    if join is not None:
        join_search(settings, out, join, Console())
        return
    address = None if listen is None else parse_address(listen, "--listen")
    students = [] if student is None else [student]
    count = 1 if workers is None else workers
    found = search_students(settings, out, students, Console(), count, address, verify_top)
    write_json(json_file, found)


def _refuse_with_join(options: Mapping[str, Any]) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise UserError(
            f"--join: {', '.join(given)}: the search that is joined decides that, leave it out; "
            "a call is one worker, so make one for each"
        )


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/.")],
    out: Annotated[Path, typer.Option(help="The run directory; what it has is not made again.")],
    student: Annotated[str, typer.Option(help="Which student.")],
    seeds: Annotated[
        list[int] | None,
        typer.Option("--seed", min=0, help="Train each variant with this; repeatable."),
    ] = None,
    losses: Annotated[
        bool,
        typer.Option(
            "--losses",
            help="Not lever by lever, but from labels alone to the recipe, loss after loss.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Compare on this labelled file, not on valid.", show_default=False),
    ] = None,
    column: ColumnOption = None,
    jobs: JobsOption = None,
    markdown: Annotated[bool, typer.Option(help="Print a Markdown table.")] = False,
    set_: SetOption = None,
    include: IncludeOption = None,
    json_file: JsonOption = None,
) -> None:
    """Show what each part of a student's recipe is worth, on valid or any labelled file.

    Trains the recipe without each lever, and labels alone with each lever, on the run's data and
    teachers. Called again, it goes on where it was. The numbers are left in ablation/STUDENT/.

    Example: [cyan]kdmatch ablate configs/qbqtc.yaml --out runs/qbqtc --student textcnn[/cyan]
    """
    from kdmatch.pipeline.config.loader import load_config

    settings = load_config(config, set_, include)
    rows = None
    if data is not None:
        rows = data.name, read_rows(settings, data, column, labelled=True)
    load_backend()
    from rich import print as rich_print

    from kdmatch.evaluation.ablation_table import ablation_markdown, ablation_table
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.side_by_side import default_jobs
    from kdmatch.search.ablation import ablate as ablate_student

    chosen = seeds or settings.seeds[:1]
    of = "losses" if losses else "levers"
    found = ablate_student(
        settings, out, student, chosen, Console(), jobs or default_jobs(), of, rows
    )
    if markdown:
        typer.echo(ablation_markdown(found))
    else:
        rich_print(ablation_table(found))
    write_json(json_file, found)
