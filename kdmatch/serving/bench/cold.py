"""Cold start, peak memory and cores of one engine and model, in a process of its own."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from kdmatch.serving import engines
from kdmatch.serving.bench.pages import Page
from kdmatch.serving.warmup import WARMUP_FILE

_SECONDS_FOR_CORES = 1.0


def cold_start(
    engine: str, path: Path, pages: Mapping[int, Page], threads: int | None = None
) -> dict[str, Any]:
    """Load, score one page of each size, look at memory and processors; in a fresh process.

    Args:
        engine: name of the engine.
        path: what it loads.
        pages: one page of each size, by number of documents; the smallest is scored first.
        threads: int. Passed to the engine.

    Returns:
        `load_ms`, import of the engine's library included; `first_ms`, the
        first call, on the smallest page; `cores`, how many of them the largest
        page keeps busy, in the mean of a second; `peak_mb`, by documents, the most
        memory that was resident up to and with a page of that size.
    """
    # A worker that has been used once holds the libraries and the memory of that use.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, engine, path, dict(pages), threads).result()


def warmup_variants(path: Path, folder: Path) -> dict[bool | None, Path]:
    """A version with its warm-up file and, made of links in `folder`, without.

    Returns:
        `{True: path, False: the one without}`, or `{None: path}` where there is
        no such file.
    """
    if not (path / WARMUP_FILE).is_file():
        return {None: path}
    bare = folder / path.parent.name / path.name
    bare.mkdir(parents=True)
    for entry in path.iterdir():
        if entry.name != WARMUP_FILE.parts[0]:
            (bare / entry.name).symlink_to(entry.resolve())
    return {True: path, False: bare}


def measure_cold(
    model: str, engine: str, path: Path, pages: Mapping[int, Page], threads: int | None = None
) -> tuple[list[dict[str, Any]], dict[int, float]]:
    """Cold starts with and without the warm-up file, and peaks by documents.

    Returns:
        rows `{"model", "engine", "warmup", "load_ms", "first_ms", "cores"}`, and the
        peak memory in MB by documents, of a start without the file: its pages
        would hide what smaller ones need.
    """
    rows: list[dict[str, Any]] = []
    peaks: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="kdmatch-bench-") as folder:
        for warmup, variant in warmup_variants(path, Path(folder)).items():
            found = cold_start(engine, variant, pages, threads)
            found_peaks = found.pop("peak_mb")
            if not warmup:
                peaks = found_peaks
            rows.append({"model": model, "engine": engine, "warmup": warmup, **found})
    return rows, peaks


def peak_mb(process_id: int) -> float:
    """The most memory that a process had resident, in MB; 0 where the system hides it."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text("ascii", "ignore").splitlines()
    except OSError:
        return 0.0
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cores_used(
    scorer: engines.Scorer, page: Page, seconds: float = _SECONDS_FOR_CORES
) -> float | None:
    """Processor time over wall time, of all threads of the process that scores a page.

    What an engine takes beside the threads that it was given shows here.

    Args:
        scorer: a loaded model.
        page: scored again and again, at least three times.
        seconds: float. For so long.

    Returns:
        None where the system hides another process's times.
    """
    before = _processor_seconds(scorer.process_id)
    started = time.perf_counter()
    calls = 0
    while calls < 3 or time.perf_counter() - started < seconds:
        scorer.score(*page)
        calls += 1
    after, took = _processor_seconds(scorer.process_id), time.perf_counter() - started
    return None if before is None or after is None else round((after - before) / took, 2)


def _processor_seconds(process_id: int) -> float | None:
    if process_id == os.getpid():
        return time.process_time()
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text("ascii", "ignore")
    except OSError:
        return None
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _measure(
    engine: str, path: Path, pages: dict[int, Page], threads: int | None
) -> dict[str, Any]:
    started = time.perf_counter()
    scorer = engines.load(engine, path, threads)
    loaded = time.perf_counter()
    scorer.score(*pages[min(pages)])
    answered = time.perf_counter()
    peaks = {}
    for size, page in sorted(pages.items()):
        scorer.score(*page)
        peaks[size] = round(peak_mb(scorer.process_id), 1)
    cores = cores_used(scorer, pages[max(pages)])
    scorer.close()
    return {
        "load_ms": round((loaded - started) * 1000, 1),
        "first_ms": round((answered - loaded) * 1000, 2),
        "cores": cores,
        "peak_mb": peaks,
    }
