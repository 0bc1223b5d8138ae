"""The open-loop load test, and what a swap of versions under load may not do."""

import asyncio
import threading
import time

import numpy as np
import pytest

from kdmatch.errors import UserError
from kdmatch.serving.bench.load import (
    LoadResult,
    arrivals,
    expected_scores,
    highest_rate,
    load_at,
    run_load,
)
from kdmatch.serving.client import AsyncClient, Client
from kdmatch.serving.labels import promote, rollback
from kdmatch.serving.server import LocalServer
from kdmatch.serving.wire import PredictSpec

PAGES = [("abc", ["d" * length for length in range(10)]), ("q", ["", "x"])]


def test_poisson_arrivals_have_the_rate_and_uniform_ones_no_chance():
    moments = arrivals(100, 50, "poisson", seed=3)
    assert len(moments) == 5000
    gaps = np.diff(moments)
    assert gaps.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # exponential
    np.testing.assert_allclose(np.diff(arrivals(100, 1, "uniform", 0)), 0.01)
    with pytest.raises(UserError, match="choose poisson or uniform"):
        arrivals(1, 1, "bursts", 0)


class SlowClient:
    """Serves one request at a time, each in 20 ms."""

    def __init__(self):
        self.turn = asyncio.Lock()

    async def score(self, query, documents):
        async with self.turn:
            await asyncio.sleep(0.02)
        return np.zeros(len(documents))


def test_latency_counts_from_the_scheduled_arrival_so_that_queueing_shows():
    page = [("q", ["d"])]

    async def go(expected):
        return await run_load(SlowClient(), page, expected, np.zeros(10), 1.0)

    result = asyncio.run(go([np.zeros(1)]))
    # Ten at once: the last has waited for nine others. A closed loop would say 20 ms for each.
    assert max(result.milliseconds) >= 10 * 20 * 0.9
    assert result.wrong == 0
    assert asyncio.run(go([np.ones(1)])).wrong == 10


def test_the_search_ends_near_the_capacity_and_a_failure_is_over_the_budget():
    def trial(rate):
        ms = [10.0] * 99 + [60.0 if rate > 37 else 20.0] * 2
        return LoadResult(rate, len(ms), 1.0, ms)

    found, trials = highest_rate(trial, budget_ms=50, precision=0.05)
    assert 37 / 1.05 <= found <= 37
    assert trials[0].rate == 1.0

    def failing(rate):
        result = trial(1.0)
        if rate > 5:
            result.failures["UNAVAILABLE"] += 1
        return result

    assert 5 / 1.05 <= highest_rate(failing, 50)[0] <= 5
    assert highest_rate(trial, budget_ms=5)[0] == 0.0


def test_failures_count_as_endless_latency_and_leave_json_null():
    result = LoadResult(1.0, 10, 1.0, [1.0] * 9)
    result.failures["DEADLINE_EXCEEDED"] += 1
    row = result.row()
    assert (row["p50_ms"], row["p99_ms"]) == (1.0, None)
    assert row["failures"] == {"DEADLINE_EXCEEDED": 1}


def test_a_server_is_loaded_and_its_scores_are_checked(save_model, tmp_path):
    save_model(tmp_path / "tiny" / "1")
    with LocalServer(tmp_path, port=0, poll_seconds=0) as server:
        result = load_at(
            f"127.0.0.1:{server.port}", PredictSpec("tiny"), PAGES, rate=40, seconds=0.5
        )
        assert (len(result.milliseconds), result.wrong, result.requests) == (20, 0, 20)
        assert not result.failures
        assert result.row()["rate"] == 40


@pytest.mark.slow
def test_a_version_swapped_and_rolled_back_under_load_fails_no_request(save_model, tmp_path):
    base = tmp_path / "models" / "tiny"
    for version in ("1", "2"):
        save_model(base / version, bias=5.0)
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "tiny" base_path: "{base}"\n'
        "model_version_policy { specific { versions: 1 } }\n"
        'version_labels { key: "stable" value: 1 } } }\n'
    )
    with LocalServer(base.parent, port=0, poll_seconds=0, config=config) as server:
        target = f"127.0.0.1:{server.port}"
        with Client(target, "tiny", version_label="stable") as quiet:
            expected = expected_scores(quiet, PAGES)

        def operate():
            for _ in range(2):
                time.sleep(0.5)
                promote(config, "tiny", 2, target=target)
                time.sleep(0.5)
                rollback(config, "tiny", target)

        async def go():
            async with AsyncClient(
                target, "tiny", version_label="stable", timeout=20, max_retries=0
            ) as client:
                operator = threading.Thread(target=operate)
                operator.start()
                moments = arrivals(60, 5, "poisson", 0)
                result = await run_load(client, PAGES, expected, moments, 60)
                await asyncio.to_thread(operator.join)
                return result

        result = asyncio.run(go())
        assert server.servables.versions("tiny") == [2, 1]
    assert not result.failures
    assert result.wrong == 0
    assert len(result.milliseconds) == result.requests
