"""`kdmatch bench`: every exported model of a run, through every engine, on a user's rows."""

import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdmatch.errors import UserError
from kdmatch.evaluation.report import write_report
from kdmatch.files import write_json
from kdmatch.pipeline.bench_models import artifact, exported, prepare
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.serving import engines
from kdmatch.serving.bench.cold import measure_cold
from kdmatch.serving.bench.measure import ROUNDS, measure, row
from kdmatch.serving.bench.pages import Page, make_pages

REFERENCE = "savedmodel"


@dataclass(frozen=True)
class BenchOptions:
    """What a bench measures.

    Attributes:
        engines: names; those that are not installed are named and left out.
        models: names; every exported model if empty.
        documents: sizes of a page.
        seconds: float. Measured for each model, engine and size.
        threads: int. Threads within an operation; each engine's own choice if None.
        pages: int. Distinct pages of each size.
        cold: bool. Measure cold starts and peak memory, in fresh processes.
        seed: int. Of the pages.
    """

    engines: Sequence[str] = engines.DEFAULT_ENGINES
    models: Sequence[str] = ()
    documents: Sequence[int] = (1, 10, 50, 200)
    seconds: float = 3.0
    threads: int | None = None
    pages: int = 32
    cold: bool = True
    seed: int = 0


def bench_run(
    config: Config, root: Path, rows: pa.Table, split: str, options: BenchOptions, console: Console
) -> dict[str, Any]:
    """Measure, write `bench.json` into the run and its picture into the report.

    Args:
        config: Config of the run.
        root: Path of the run.
        rows: the user's rows; pages are made of them.
        split: str. What the rows are, for the record.
        options: BenchOptions.
        console: Console for progress.

    Returns:
        `{"dataset", "split", "environment", "rows", "cold_start", "agreement",
        "skipped"}`; each of `rows` is `model, engine, documents, calls, p50_ms,
        p95_ms, p99_ms, documents_per_second, peak_mb`.

    Raises:
        UserError: if an engine or a model is unknown, or nothing can be measured.
    """
    models = exported(root, options.models)
    paths, skipped = _paths(config, root, models, options, console)
    if not paths:
        raise UserError(f"{root}: nothing to measure; {'; '.join(skipped)}")
    pages = {
        size: make_pages(rows, size, options.pages, options.seed)
        for size in sorted(options.documents)
    }

    def leave_out(line: str) -> None:
        skipped.append(line)
        console.stage("left out", line)

    with ExitStack() as stack:
        scorers: dict[tuple[str, str], engines.Scorer] = {}
        for (model, engine), path in paths.items():
            try:
                scorer = engines.load(engine, path, options.threads)
                scorer.score(*pages[min(pages)][0])
            except Exception as error:  # a graph that an engine cannot run spoils no other's row
                leave_out(f"{model}, {engine}: {_first_line(error)}")
                continue
            scorers[model, engine] = scorer
            stack.callback(scorer.close)
        if not scorers:
            raise UserError(f"{root}: nothing could be loaded; {'; '.join(skipped)}")
        agreement = _agreement(scorers, next(iter(pages.values())) + list(pages.values())[-1][:4])
        with console.progress("bench", ROUNDS * len(scorers) * len(pages)) as advance:
            times = measure(scorers, pages, options.seconds, advance)
        measured = list(scorers)
    cold: list[dict[str, Any]] = []
    peaks: dict[tuple[str, str], dict[int, float]] = {}
    if options.cold:
        one_each = {size: these[0] for size, these in pages.items()}
        with console.progress("cold start", len(measured)) as advance:
            for done, (model, engine) in enumerate(measured, 1):
                path = paths[model, engine]
                try:
                    found, peaks[model, engine] = measure_cold(
                        model, engine, path, one_each, options.threads
                    )
                    cold += found
                except Exception as error:  # what was measured already is not lost with it
                    leave_out(f"{model}, {engine}: no cold start: {_first_line(error)}")
                advance(done, f"{model}, {engine}")
    result = {
        "dataset": config.name,
        "split": split,
        "environment": _environment(options),
        "rows": [
            {
                **row(model, engine, size, times[model, engine, size]),
                "peak_mb": peaks.get((model, engine), {}).get(size),
            }
            for model, engine in measured
            for size in pages
        ],
        "cold_start": cold,
        "agreement": agreement,
        "skipped": skipped,
    }
    write_json(root / "bench.json", result)
    if (root / "metrics.json").is_file():
        write_report([root], root / "report.html")
    return result


def _paths(
    config: Config, root: Path, models: Sequence[str], options: BenchOptions, console: Console
) -> tuple[dict[tuple[str, str], Path], list[str]]:
    """What each engine loads, by model and engine, and one line for each left out."""
    paths: dict[tuple[str, str], Path] = {}
    skipped: list[str] = []
    usable = []
    for engine in options.engines:
        if lacks := engines.missing(engine):
            skipped.append(f"{engine}: {lacks}")
        else:
            usable.append(engine)
    for model in models:
        for engine in usable:
            with console.working(f"{model}, {engine}"):
                lacks = prepare(config, root, model, engine)
            if lacks:
                skipped.append(f"{model}, {engine}: {lacks}")
            else:
                paths[model, engine] = artifact(root, model, engine)
    for line in skipped:
        console.stage("left out", line)
    return paths, skipped


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _agreement(
    scorers: dict[tuple[str, str], engines.Scorer], pages: Sequence[Page]
) -> list[dict[str, Any]]:
    """The largest difference of each engine's scores from the SavedModel's."""
    found = []
    for (model, engine), scorer in scorers.items():
        reference = scorers.get((model, REFERENCE))
        if reference is None or engine == REFERENCE:
            continue
        # numpy's maximum: of NaN among others it is NaN, where Python's is chance.
        differences = [np.abs(scorer.score(*p) - reference.score(*p)).max() for p in pages]
        largest = float(np.max(differences))
        found.append({"model": model, "engine": engine, "max_difference": largest})
    return found


def _environment(options: BenchOptions) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("tensorflow", "onnxruntime", "openvino", "torch", "grpcio", "tokenizers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "architecture": platform.machine(),
        "threads": options.threads,
        "seconds": options.seconds,
        "pages": options.pages,
        "versions": versions,
    }
