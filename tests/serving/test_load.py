"""The open-loop load test, and what a swap of versions under load may not do."""

import asyncio
import threading
import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kdmatch.cli import app
from kdmatch.errors import UserError
from kdmatch.serving.bench import load
from kdmatch.serving.bench.load import (
    LoadResult,
    arrivals,
    highest_rate,
    load_at,
    quiet_rate,
    run_load,
    seconds_at,
)
from kdmatch.serving.client import AsyncClient
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
    assert asyncio.run(go([np.full(1, np.nan)])).wrong == 10


class BusyClient:
    """Holds the event loop for 20 ms a request, as a client that is short of processor time."""

    async def score(self, query, documents):
        time.sleep(0.02)
        return np.zeros(len(documents))


def test_the_clients_own_delay_is_told_from_the_servers():
    async def go(client):
        return await run_load(client, [("q", ["d"])], [np.zeros(1)], np.zeros(10), 1.0)

    slow_server, slow_client = (asyncio.run(go(one())) for one in (SlowClient, BusyClient))
    assert slow_client.percentile(99) > 100
    assert slow_client.row()["sent_late_p99_ms"] > 100
    assert slow_client.is_client_bound(100.0)
    assert slow_server.percentile(99) > 100
    assert not slow_server.is_client_bound(100.0)


def test_the_search_ends_near_the_capacity_and_a_failure_is_over_the_budget():
    def trial(rate, seed):
        ms = [10.0] * 99 + [60.0 if rate > 37 else 20.0] * 2
        return LoadResult(rate, len(ms), 1.0, ms)

    for start in (1.0, 20.0, 37.0, 300.0):
        found, trials = highest_rate(trial, 50, start, precision=0.05)
        assert 37 / 1.05 <= found <= 37
        assert trials[0].rate == start
    assert highest_rate(trial, 50, 600.0)[0] == 0.0  # its sixteenth is too much

    def failing(rate, seed):
        result = trial(1.0, seed)
        if rate > 5:
            result.failures["UNAVAILABLE"] += 1
        return result

    assert 5 / 1.05 <= highest_rate(failing, 50, 1.0)[0] <= 5
    assert highest_rate(trial, 5, 16.0)[0] == 0.0


def test_wrong_scores_are_not_tried_again():
    seeds = []

    def trial(rate, seed):
        seeds.append(seed)
        return LoadResult(rate, 1, 1.0, [1.0], wrong=1)

    assert highest_rate(trial, 50, 16.0)[0] == 0.0
    assert seeds == [0, 1, 2, 3, 4]


def test_single_slow_requests_end_no_search():
    def search(seed):
        def trial(rate, arrivals_seed):
            generator = np.random.default_rng([seed, arrivals_seed])
            count = round(rate * seconds_at(rate, 10.0))
            slow = generator.random(count) < (0.005 if rate <= 200 else 1.0)
            return LoadResult(rate, count, 10.0, np.where(slow, 60.0, 10.0).tolist())

        return highest_rate(trial, 50, start=50.0)[0]

    found = [search(seed) for seed in range(40)]
    assert sum(190 <= rate <= 200 for rate in found) >= 36


def test_the_start_of_a_search_is_what_one_caller_gets(save_model, tmp_path):
    save_model(tmp_path / "tiny" / "1")
    with LocalServer(tmp_path, port=0, poll_seconds=0) as server:
        rate = quiet_rate(f"127.0.0.1:{server.port}", PredictSpec("tiny"), PAGES * 5)
    assert 1 < rate < 20_000


def test_the_command_searches_from_half_of_that_and_holds_low_rates_longer(tmp_path, monkeypatch):
    calls = []

    def trial(target, spec, pages, rate, seconds, kind, seed=0):
        calls.append((rate, seconds, seed))
        return LoadResult(rate, 1, 1.0, [60.0 if rate > 37 else 20.0])

    monkeypatch.setattr(load, "load_at", trial)
    monkeypatch.setattr(load, "quiet_rate", lambda *arguments: 20.0)
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"query": ["q"], "document": ["d"]}), rows)

    def call(*arguments):
        calls.clear()
        command = ["load", "--data", str(rows), *arguments]
        return CliRunner().invoke(app, command, catch_exceptions=False).output

    assert "highest rate with p99 ≤ 50 ms: 36" in call()
    assert calls[:3] == [(10.0, 30.0, 0), (20.0, 15.0, 1), (40.0, 10.0, 2)]
    assert [seed for _, _, seed in calls] == list(range(len(calls)))
    call("--rate", "5")
    assert calls == [(5.0, 10.0, 0)]


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


class Either:
    """Says 0 for the scores of one version or the other, whole, and counts whose they were."""

    def __init__(self, client, known):
        self.client, self.known, self.seen = client, known, Counter()

    async def score(self, query, documents):
        scores = await self.client.score(query, documents)
        for version, by_query in self.known.items():
            if np.abs(scores - by_query[query]).max() < 1e-6:
                self.seen[version] += 1
                return np.zeros(len(documents))
        return np.ones(len(documents))


@pytest.mark.slow
def test_a_version_swapped_and_rolled_back_under_load_fails_no_request(save_model, tmp_path):
    base = tmp_path / "models" / "tiny"
    known = {}
    for version, bias in ((1, 5.0), (2, 50.0)):
        save_model(base / str(version), bias=bias)
        known[version] = {
            query: np.tanh([(bias + len(query) - len(document)) / 100 for document in documents])
            for query, documents in PAGES
        }
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "tiny" base_path: "{base}"\n'
        "model_version_policy { specific { versions: 1 } }\n"
        'version_labels { key: "stable" value: 1 } } }\n'
    )
    with LocalServer(base.parent, port=0, poll_seconds=0, config=config) as server:
        target = f"127.0.0.1:{server.port}"

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
                either = Either(client, known)
                nothing = [np.zeros(len(documents)) for _, documents in PAGES]
                result = await run_load(either, PAGES, nothing, moments, 60)
                await asyncio.to_thread(operator.join)
                return result, either.seen

        result, seen = asyncio.run(go())
        assert min(seen[1], seen[2]) > 10
        assert server.servables.versions("tiny") == [2, 1]
    assert not result.failures
    assert result.wrong == 0
    assert len(result.milliseconds) == result.requests
