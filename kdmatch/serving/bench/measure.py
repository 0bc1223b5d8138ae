"""Latency of many scorers on the same pages, in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count

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
    and the threads of the engine before them to rest. All begin a round with the
    same page, and only pages that each has scored count, so that a slow engine
    is not timed on longer pages than a fast one.

    Args:
        scorers: by model and engine.
        pages: by number of documents.
        seconds: float. Time given to each scorer and size, over all rounds; a
            turn takes at least three calls.
        progress: called with the turns done and what is measured.

    Returns:
        milliseconds of each timed call, by model, engine and documents.
    """
    found: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    done = 0
    for turn in range(ROUNDS):
        for size, these in pages.items():
            first = turn * len(these) // ROUNDS
            for key, scorer in scorers.items():
                times = found.setdefault((*key, size), [])
                times += _turn(scorer, these, first, seconds / ROUNDS)
                done += 1
                progress(done, "")
    return {
        (*key, size): np.array([time for page, time in found[*key, size] if page in shared])
        for size in pages
        for shared in [set.intersection(*(_pages_of(found[*key, size]) for key in scorers))]
        for key in scorers
    }


def _pages_of(times: Sequence[tuple[int, float]]) -> set[int]:
    return {page for page, _ in times}


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


def _turn(
    scorer: Scorer, pages: Sequence[Page], first: int, seconds: float
) -> list[tuple[int, float]]:
    """Number of a page and milliseconds of each timed call, from page `first` on."""
    times: list[tuple[int, float]] = []
    following = (number % len(pages) for number in count(first))
    for _ in range(2):
        scorer.score(*pages[next(following)])
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        number = next(following)
        query, documents = pages[number]
        started = time.perf_counter()
        scorer.score(query, documents)
        times.append((number, (time.perf_counter() - started) * 1000))
    return times
