"""Pages, turns and cold starts of the bench."""

import json
import multiprocessing
import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest

from kdmatch.errors import UserError
from kdmatch.serving import engines
from kdmatch.serving.bench import cold
from kdmatch.serving.bench.cold import measure_cold
from kdmatch.serving.bench.measure import ROUNDS, measure, row
from kdmatch.serving.bench.pages import make_pages
from kdmatch.serving.bench.table import bench_table, markdown_bench
from kdmatch.serving.engines import grpc_server
from kdmatch.serving.warmup import WARMUP_FILE, write_warmup

ROWS = pa.table(
    {
        "query": ["a", "b", "a", "a", "c"],
        "document": ["a1", "b1", "a2", "a3", "c1"],
    }
)


def test_a_page_has_the_querys_own_documents_first():
    pages = make_pages(ROWS, 2, 6)
    assert {query for query, _ in pages} == {"a", "b", "c"}
    by_query = dict(pages)
    assert by_query["a"] == ["a1", "a2"]
    assert by_query["b"][0] == "b1"
    everything = set(ROWS["document"].to_pylist())
    assert all(len(page) == 2 and set(page) <= everything for _, page in pages)
    assert pages == make_pages(ROWS, 2, 6)
    assert pages != make_pages(ROWS, 2, 6, seed=5)
    with pytest.raises(UserError, match="no rows"):
        make_pages(ROWS.slice(0, 0), 2, 6)


class Recorder:
    """Takes as long as it is told and remembers who was asked."""

    process_id = 0

    def __init__(self, name: str, seconds: float, asked: list):
        self.name, self.seconds, self.asked = name, seconds, asked

    def score(self, query, documents):
        self.asked.append((self.name, len(documents)))
        time.sleep(self.seconds)
        return np.zeros(len(documents))

    def close(self):
        pass


def test_scorers_take_turns_and_untimed_calls_do_not_count():
    asked: list = []
    scorers = {
        ("m", "fast"): Recorder("fast", 0.0, asked),
        ("m", "slow"): Recorder("slow", 0.01, asked),
    }
    pages = {1: [("q", ["d"])], 3: [("q", ["d", "e", "f"])]}
    times = measure(scorers, pages, seconds=0)
    assert {key: len(found) for key, found in times.items()} == {
        ("m", name, size): 3 * ROUNDS for name in ("fast", "slow") for size in (1, 3)
    }
    turns = [one for index, one in enumerate(asked) if index % 5 == 0]
    assert turns == [(name, size) for size in (1, 3) for name in ("fast", "slow")] * ROUNDS
    assert np.median(times["m", "slow", 1]) >= 10 > np.median(times["m", "fast", 1])


def test_a_row_has_percentiles_and_throughput():
    found = row("m", "e", 50, np.arange(1.0, 101.0))
    assert (found["p50_ms"], found["p95_ms"], found["calls"]) == (50.5, 95.05, 100)
    assert found["documents_per_second"] == round(50 / 0.0505, 1)


def test_the_table_has_a_line_for_each_model_and_engine():
    rows = [
        {**row(model, engine, size, np.full(100, float(size))), "peak_mb": 100.0 + size}
        for model in ("albert", "teacher")
        for engine in ("savedmodel", "grpc")
        for size in (1, 10)
    ]
    bench = {"dataset": "d", "split": "s", "rows": rows}
    table = bench_table(bench)
    assert table.row_count == 4
    assert [str(column.header) for column in table.columns][2:4] == ["1 doc", "10 docs"]
    lines = markdown_bench(bench).splitlines()
    assert len(lines) == 6
    assert lines[2] == "| albert | savedmodel | 1.00 / 1.00 | 10.0 / 10.0 | 1,000 | 110 |"


def test_of_few_calls_there_is_no_p99_and_scores_that_differ_are_told():
    rows = [row("albert", engine, 10, np.full(99, 2.0)) for engine in ("savedmodel", "openvino")]
    agreement = [{"model": "albert", "engine": "openvino", "max_difference": 0.00423}]
    bench = {"dataset": "d", "split": "s", "rows": rows, "agreement": agreement}
    assert markdown_bench(bench).splitlines() == [
        "| model | engine | 10 docs | docs/s | peak MB | scores off by |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| albert | savedmodel | 2.00 / – (99) | 5,000 | – |  |",
        "| albert | openvino | 2.00 / – (99) | 5,000 | – | 0.0042 |",
    ]
    agreement[0]["max_difference"] = 0.0009
    assert "scores off by" not in markdown_bench(bench)
    assert bench_table(bench).row_count == 2
    agreement[0]["max_difference"] = float("nan")  # agrees with nothing
    assert markdown_bench(bench).splitlines()[-1].endswith("| nan |")


def test_the_table_has_cold_starts_with_the_warmup_file_first():
    rows = [row("albert", engine, 1, np.full(100, 2.0)) for engine in ("savedmodel", "onnxruntime")]
    cold_start = [
        {"warmup": False, "load_ms": 1900.4, "first_ms": 283.0, "engine": "savedmodel"},
        {"warmup": True, "load_ms": 2200.0, "first_ms": 2.5, "engine": "savedmodel"},
        {"warmup": None, "load_ms": 310.0, "first_ms": 4.0, "engine": "onnxruntime"},
    ]
    for one, cores in zip(cold_start, (1.0, 1.04, None), strict=True):
        one |= {"model": "albert", "cores": cores}
    bench = {"rows": rows, "cold_start": cold_start}
    assert markdown_bench(bench).splitlines() == [
        "| model | engine | 1 doc | docs/s | peak MB | cores | load ms | first ms |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| albert | savedmodel | 2.00 / 2.00 | 500 | – | 1.0 | 2,200 / 1,900 | 2.50 / 283 |",
        "| albert | onnxruntime | 2.00 / 2.00 | 500 | – | – | 310 | 4.00 |",
    ]
    bench["cold_start"].pop()  # that engine's start failed
    assert markdown_bench(bench).splitlines()[-1].endswith("| – | – | – | – |")


def test_scorers_are_timed_on_the_same_pages():
    """A slow one sees fewer; on pages that it did not see, the others do not count either."""
    pages = [("q", ["d"] * (1 + number)) for number in range(60)]
    slow, fast = Recorder("slow", 0.02, []), Recorder("fast", 0.0, [])
    times = measure({("m", "slow"): slow, ("m", "fast"): fast}, {0: pages}, seconds=0.06 * ROUNDS)
    seen = {size for _, size in slow.asked}
    assert len(seen) < len(pages) == len({size for _, size in fast.asked})
    assert 3 * ROUNDS <= len(times["m", "slow", 0]) < len(times["m", "fast", 0])
    assert len(times["m", "fast", 0]) < len(fast.asked)
    starts = [fast.asked[0][1], slow.asked[0][1]]
    assert starts == [1, 1]


def test_cold_starts_with_and_without_the_warmup_file(save_model, tmp_path):
    version = save_model(tmp_path / "tiny" / "1")
    pages = {2: ("q", ["d", "e"]), 1: ("q", ["d"])}
    [bare], _ = measure_cold("tiny", "savedmodel", version, pages)
    assert bare["warmup"] is None
    write_warmup(version, "tiny", [("q", ["d"])])
    rows, peaks = measure_cold("tiny", "savedmodel", version, pages)
    assert [one["warmup"] for one in rows] == [True, False]
    assert all(one["load_ms"] > 0 and one["first_ms"] > 0 for one in rows)
    assert all(0 < one["cores"] < 1.1 * (os.cpu_count() or 1) for one in rows)
    assert set(peaks) == {1, 2}
    assert 50 < peaks[1] <= peaks[2]
    assert (version / WARMUP_FILE).is_file()
    json.dumps(rows)


def test_peaks_are_of_a_start_without_the_warmup_file(save_model, tmp_path, monkeypatch):
    version = save_model(tmp_path / "tiny" / "1")
    write_warmup(version, "tiny", [("q", ["d"])])

    def start(engine, path, pages, threads):
        peak = 500.0 if (path / WARMUP_FILE).is_file() else 100.0
        return {"load_ms": 1.0, "first_ms": 1.0, "peak_mb": {1: peak}}

    monkeypatch.setattr(cold, "cold_start", start)
    assert measure_cold("tiny", "savedmodel", version, {1: ("q", ["d"])})[1] == {1: 100.0}


def test_a_cold_start_scores_the_smallest_page_first(tmp_path, monkeypatch):
    asked: list = []
    monkeypatch.setattr(engines, "load", lambda *arguments: Recorder("e", 0.0, asked))
    monkeypatch.setattr(cold, "cores_used", lambda scorer, page: float(len(page[1])))
    pages = {size: ("q", ["d"] * size) for size in (10, 1, 50)}
    found = cold._measure("e", tmp_path, pages, None)
    assert (set(found["peak_mb"]), found["cores"]) == ({1, 10, 50}, 50.0)
    assert [size for _, size in asked] == [1, 1, 10, 50]


def test_cores_are_those_of_the_process_that_scores():
    """One that waits for another process keeps none busy; one that computes, its own."""
    page = ("q", ["d"])
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        asleep = Recorder("other", 0.01, [])
        asleep.process_id = waiting.pid
        assert cold.cores_used(asleep, page, 0.2) == pytest.approx(0, abs=0.2)
    finally:
        waiting.kill()
        waiting.wait()

    class Computing(Recorder):
        def score(self, query, documents):
            end = time.thread_time() + 0.02
            while time.thread_time() < end:
                pass

    computing = Computing("own", 0.0, [])
    computing.process_id = os.getpid()
    assert cold.cores_used(computing, page, 0.2) > 0.3  # less than 1 where the machine is busy


@pytest.mark.parametrize(("threads", "wanted"), [(None, "7"), (1, "1")])
def test_an_engine_is_loaded_with_the_threads_of_its_tokenizer(
    tmp_path, monkeypatch, threads, wanted
):
    monkeypatch.setenv("RAYON_NUM_THREADS", "7")

    class Engine:
        @staticmethod
        def load(path, threads):
            return os.environ["RAYON_NUM_THREADS"]

    monkeypatch.setattr(engines.importlib, "import_module", lambda name: Engine)
    assert engines.load("onnxruntime", tmp_path, threads) == wanted


def test_tensorflow_is_imported_while_the_server_starts(save_model, tmp_path, monkeypatch):
    version = save_model(tmp_path / "tiny" / "1")
    children = []

    def imports():
        children.append(len(multiprocessing.active_children()))

    monkeypatch.setattr(grpc_server, "import_tensorflow_quietly", imports)
    engines.load("grpc", version).close()
    assert children == [1]


def test_engines_are_named_and_what_they_lack_is_said(monkeypatch):
    assert engines.missing("savedmodel") is None
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    assert engines.missing("openvino") == (
        "openvino is not installed; pip install 'kdmatch[bench]'"
    )
    with pytest.raises(UserError, match="engine 'tvm' is unknown; choose among savedmodel, grpc"):
        engines.missing("tvm")


def test_grpc_and_in_process_agree(save_model, tmp_path):
    version = save_model(tmp_path / "tiny" / "1")
    page = ("abc", ["d" * length for length in range(7)])
    here, there = (engines.load(name, version) for name in ("savedmodel", "grpc"))
    try:
        np.testing.assert_array_equal(here.score(*page), there.score(*page))
        assert there.process_id != here.process_id
    finally:
        here.close()
        there.close()
