"""An open-loop load test: requests arrive when they arrive, however slow the server is.

A closed loop waits for one answer before it asks again, so a slow server is
asked less and looks better than it is. Here the arrivals are drawn beforehand,
and a request's latency counts from the moment it was to arrive: time spent in
a queue is seen, also in the one that a late client makes.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kdmatch.errors import UserError
from kdmatch.serving.bench.pages import Page
from kdmatch.serving.client import AsyncClient, Client, ServingError
from kdmatch.serving.wire import PredictSpec

MAX_SCORE_DIFFERENCE = 1e-4
MIN_REQUESTS = 300
MAX_SECONDS = 60.0


@dataclass
class LoadResult:
    """What one rate gave.

    Attributes:
        rate: float. Requests that were to arrive a second.
        milliseconds: latency of each answered request, from its scheduled arrival.
        late: how long after its scheduled arrival each request was sent, in ms: the
            client's own delay.
        failures: requests by gRPC status name.
        wrong: int. Answers whose scores differ from those of the quiet server.
        requests: int. Requests sent.
        seconds: float. From the first arrival to the last answer.
    """

    rate: float
    requests: int
    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    wrong: int = 0

    def percentile(self, q: float) -> float:
        """A percentile of the latency in ms; a failed request counts as endless."""
        every = self.milliseconds + [float("inf")] * sum(self.failures.values())
        return float(np.percentile(every, q, method="higher")) if every else float("nan")

    def is_client_bound(self, budget_ms: float) -> bool:
        """Whether the client sent so late that the latency says little of the server."""
        return self._late_p99() > budget_ms / 2

    def _late_p99(self) -> float:
        return float(np.percentile(self.late, 99, method="higher")) if self.late else 0.0

    def row(self) -> dict[str, Any]:
        """The numbers, for JSON and a table; null where a percentile is endless."""
        percentiles = {f"p{q}_ms": self.percentile(q) for q in (50, 95, 99)}
        return {
            "rate": round(self.rate, 2),
            "requests": self.requests,
            "answered_per_second": round(len(self.milliseconds) / max(self.seconds, 1e-9), 2),
            **{k: round(v, 3) if np.isfinite(v) else None for k, v in percentiles.items()},
            "sent_late_p99_ms": round(self._late_p99(), 3),
            "failures": dict(self.failures),
            "wrong_scores": self.wrong,
        }


def arrivals(rate: float, seconds: float, kind: str, seed: int) -> np.ndarray:
    """Moments of arrival in seconds from the start, in order.

    Args:
        rate: float. Arrivals a second.
        seconds: float. How long they go on.
        kind: `poisson` (independent users) or `uniform` (a metronome).
        seed: int. Of the Poisson process.

    >>> arrivals(4, 1, "uniform", 0).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    count = max(1, round(rate * seconds))
    if kind == "uniform":
        return np.arange(count) / rate
    if kind != "poisson":
        raise UserError(f"arrivals {kind!r} are unknown; choose poisson or uniform")
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def expected_scores(client: Client, pages: Sequence[Page]) -> list[np.ndarray]:
    """Scores of each page from the server while nothing else is asked of it."""
    return [client.score(query, documents) for query, documents in pages]


async def run_load(
    client: AsyncClient,
    pages: Sequence[Page],
    expected: Sequence[np.ndarray],
    moments: np.ndarray,
    rate: float,
) -> LoadResult:
    """Send a request at each moment, whatever has become of those before.

    Args:
        client: AsyncClient; its timeout ends requests that wait too long.
        pages: asked in turn.
        expected: scores of each page.
        moments: float array of seconds from the start, in order.
        rate: float. For the record.
    """
    result = LoadResult(rate, len(moments))
    clock = time.perf_counter
    started = clock()

    async def one(index: int, moment: float) -> None:
        query, documents = pages[index % len(pages)]
        result.late.append((clock() - started - moment) * 1000)
        try:
            scores = await client.score(query, documents)
        except ServingError as error:
            result.failures[error.code.name if error.code else "UNUSABLE_ANSWER"] += 1
            return
        result.milliseconds.append((clock() - started - moment) * 1000)
        if not np.abs(scores - expected[index % len(pages)]).max() <= MAX_SCORE_DIFFERENCE:
            result.wrong += 1  # NaN is wrong, too

    tasks = []
    for index, moment in enumerate(moments.tolist()):
        if (wait := moment - (clock() - started)) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(index, moment)))
    await asyncio.gather(*tasks)
    result.seconds = clock() - started
    return result


def load_at(
    target: str,
    spec: PredictSpec,
    pages: Sequence[Page],
    rate: float,
    seconds: float,
    kind: str = "poisson",
    seed: int = 0,
    timeout: float = 5.0,
) -> LoadResult:
    """Load a server's model, of a version or label, at one rate; see `run_load`."""
    asked = (target, spec.model, spec.version, spec.version_label)

    async def go(expected: Sequence[np.ndarray]) -> LoadResult:
        async with AsyncClient(*asked, timeout=timeout, max_retries=0) as client:
            await client.score(*pages[0])  # opens the channel
            moments = arrivals(rate, seconds, kind, seed)
            return await run_load(client, pages, expected, moments, rate)

    with Client(*asked, timeout=60.0) as quiet:
        expected = expected_scores(quiet, pages)
    return asyncio.run(go(expected))


def quiet_rate(target: str, spec: PredictSpec, pages: Sequence[Page]) -> float:
    """Pages a second of one caller that waits for each answer: 1 / p50."""
    seconds = []
    with Client(target, spec.model, spec.version, spec.version_label, timeout=60.0) as client:
        client.score(*pages[0])  # opens the channel
        for query, documents in pages:
            started = time.perf_counter()
            client.score(query, documents)
            seconds.append(time.perf_counter() - started)
    return 1 / float(np.median(seconds))


def seconds_at(rate: float, seconds: float) -> float:
    """How long a search holds a rate: its p99 shall not be that of the slowest request alone.

    `seconds` or, at low rates, until `MIN_REQUESTS` have arrived, but not beyond `MAX_SECONDS`.

    >>> seconds_at(100, 10.0), seconds_at(20, 10.0), seconds_at(1, 10.0)
    (10.0, 15.0, 60.0)
    """
    return max(seconds, min(MIN_REQUESTS / rate, MAX_SECONDS))


def highest_rate(
    trial: Callable[[float, int], LoadResult],
    budget_ms: float,
    start: float,
    precision: float = 0.05,
    highest: float = 20_000.0,
) -> tuple[float, list[LoadResult]]:
    """The highest rate whose p99 stays within a budget, by doubling or halving, then bisection.

    A rate is over the budget where a second trial says so too: a single pause of
    client, server or network ends no search.

    Args:
        trial: loads the server at a rate; the number is a seed for its arrivals.
        budget_ms: float. Largest p99; any failure or wrong score is over it.
        start: float. Rate to begin with, such as half the `quiet_rate`.
        precision: float. Relative width at which the bisection ends.
        highest: float. Rate beyond which nothing is tried.

    Returns:
        the rate, 0 if even a sixteenth of `start` is too much, and every trial.
    """
    trials: list[LoadResult] = []

    def within(rate: float) -> bool:
        for _ in range(2):
            last = trial(rate, len(trials))
            trials.append(last)
            if last.wrong:  # no pause explains that
                return False
            if not last.failures and last.percentile(99) <= budget_ms:
                return True
        return False

    if within(start):
        low, high = start, 2 * start
        while high <= highest and within(high):
            low, high = high, 2 * high
    else:
        low, high = start / 2, start
        while not within(low):
            low, high = low / 2, low
            if low < start / 16:
                return 0.0, trials
    while high <= highest and high / low > 1 + precision:
        middle = (low * high) ** 0.5
        if within(middle):
            low = middle
        else:
            high = middle
    return low, trials
