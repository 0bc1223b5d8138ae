"""How long a call takes, as a user of it would feel it."""

import time
from collections.abc import Callable

import numpy as np


def latency_ms(
    call: Callable[[], object], *, repeats: int = 50, warmup: int = 5
) -> dict[str, float]:
    """Percentiles of the wall time of a call, one after the other, in milliseconds.

    Args:
        call: callable without arguments. It must return when the work is
            done: on an accelerator, fetch the result inside it.
        repeats: int. Timed calls.
        warmup: int. Calls before them that are not timed (tracing, caches).

    Returns:
        `{"p50", "p95", "p99"}`.

    >>> sorted(latency_ms(lambda: None, repeats=3, warmup=0))
    ['p50', 'p95', 'p99']
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    for _ in range(warmup):
        call()
    seconds = np.empty(repeats)
    for index in range(repeats):
        started = time.perf_counter()
        call()
        seconds[index] = time.perf_counter() - started
    p50, p95, p99 = np.percentile(seconds * 1000, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
