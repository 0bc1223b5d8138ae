"""Cold start and peak memory of one engine and model, in a process of its own."""

import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from kdmatch.serving import engines
from kdmatch.serving.bench.pages import Page
from kdmatch.serving.warmup import WARMUP_FILE


def cold_start(
    engine: str, path: Path, pages: Mapping[int, Page], threads: int | None = None
) -> dict[str, Any]:
    """Load, score one page of each size, look at the memory; in a fresh process.

    Args:
        engine: name of the engine.
        path: what it loads.
        pages: one page of each size, by number of documents; the smallest is scored first.
        threads: int. Passed to the engine.

    Returns:
        `load_ms`, import of the engine's library included; `first_ms`, the
        first call, on the smallest page; `peak_mb`, by documents, the most
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
        rows `{"model", "engine", "warmup", "load_ms", "first_ms"}`, and the
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
    scorer.close()
    return {
        "load_ms": round((loaded - started) * 1000, 1),
        "first_ms": round((answered - loaded) * 1000, 2),
        "peak_mb": peaks,
    }
