"""Latency of many scorers on the same pages, in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import numpy as np

from kdmatch.serving.bench.pages import Page
from kdmatch.serving.engines import Scorer

ROUNDS = 6
Progress = Callable[[int, str], None]


def measure(
    scorers: Mapping[tuple[str, str], Scorer],
    pages: Mapping[int, Sequence[Page]],
    seconds: float,
    progress: Progress = lambda done, message: None,
) -> dict[tuple[str, str, int], np.ndarray]:
    """Times of calls, each scorer in its turn, size by size, in several rounds.

    A machine that is slow for a while is slow for all. A turn begins with two
    calls that are not timed: they bring code and weights back into the caches,
    and the threads of the engine before them to rest.

    Args:
        scorers: by model and engine.
        pages: by number of documents.
        seconds: float. Time given to each scorer and size, over all rounds; a
            turn takes at least three calls.
        progress: called with the turns done and what is measured.

    Returns:
        milliseconds of each timed call, by model, engine and documents.
    """
    found: dict[tuple[str, str, int], list[float]] = {}
    turns = {size: {key: cycle(these) for key in scorers} for size, these in pages.items()}
    done = 0
    for _ in range(ROUNDS):
        for size in pages:
            for key, scorer in scorers.items():
                times = found.setdefault((*key, size), [])
                times += _turn(scorer, turns[size][key], seconds / ROUNDS)
                done += 1
                progress(done, "")
    return {key: np.array(times) for key, times in found.items()}


def row(model: str, engine: str, documents: int, milliseconds: np.ndarray) -> dict[str, object]:
    """One row of the bench: percentiles in ms, and documents a second.

    >>> row("albert", "grpc", 10, np.array([1.0, 2.0, 3.0]))["documents_per_second"]
    5000.0
    """
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    return {
        "model": model,
        "engine": engine,
        "documents": documents,
        "calls": len(milliseconds),
        "p50_ms": round(float(p50), 4),
        "p95_ms": round(float(p95), 4),
        "p99_ms": round(float(p99), 4),
        "documents_per_second": round(float(documents * 1000 / milliseconds.mean()), 1),
    }


def _turn(scorer: Scorer, pages: "cycle[Page]", seconds: float) -> list[float]:
    times: list[float] = []
    for _ in range(2):
        scorer.score(*next(pages))
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        query, documents = next(pages)
        started = time.perf_counter()
        scorer.score(query, documents)
        times.append((time.perf_counter() - started) * 1000)
    return times
