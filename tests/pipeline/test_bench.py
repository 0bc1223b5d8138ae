"""`kdmatch bench` on a finished run."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdmatch.cli import app
from kdmatch.errors import UserError
from kdmatch.pipeline.bench import BenchOptions
from kdmatch.pipeline.bench_models import artifact, prepare
from kdmatch.pipeline.config.loader import load_config
from kdmatch.pipeline.scoring import matcher_folder
from kdmatch.serving import engines
from kdmatch.serving.versions import list_versions


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy: the bench writes into its run."""
    return shutil.copytree(finished_run, tmp_path / "run")


def bench(run: Path, *arguments: str, cold: bool = False) -> str:
    data = str(run / "data" / "test.parquet")
    command = ["bench", str(run), "--data", data, "--seconds", "0", *arguments]
    command += [] if cold else ["--no-cold"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_every_model_and_engine_has_its_rows(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(engines.ENGINES["openvino"], requires=("no_such_module",))
    monkeypatch.setattr(engines, "ENGINES", {**engines.ENGINES, "openvino": absent})
    names = ["savedmodel", "openvino", "plain", *(["pytorch"] if find_spec("torch") else [])]
    numbers = tmp_path / "bench.json"
    output = bench(
        *(run, "--engines", ",".join(names), "--documents", "1,5", "--json", str(numbers))
    )
    assert "openvino is not installed; pip install 'kdmatch[bench]'" in output
    found = json.loads(numbers.read_text("utf-8"))
    measured = [name for name in names if name != "openvino"]
    assert {(row["model"], row["engine"], row["documents"]) for row in found["rows"]} == {
        (model, engine, size)
        for model in ("albert", "textcnn", "cnn_attention", "teacher")
        for engine in measured
        for size in (1, 5)
    }
    for row in found["rows"]:
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["documents_per_second"] > 0
    assert len(found["agreement"]) == 4 * (len(measured) - 1)
    assert all(one["max_difference"] < 1e-5 for one in found["agreement"])
    assert json.loads((run / "bench.json").read_text("utf-8")) == found
    # Beside the versions, where no server looks.
    assert (run / "export" / "albert" / "plain" / "1" / "saved_model.pb").is_file()
    assert list_versions(run / "export" / "albert") == [1]
    assert "Latency by documents of a page of albert" in (run / "report.html").read_text("utf-8")


def test_a_cold_start_that_fails_loses_nothing_else(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise RuntimeError("a process was killed\nsecond line")

    monkeypatch.setattr("kdmatch.pipeline.bench.measure_cold", killed)
    numbers = tmp_path / "bench.json"
    options = ("--engines", "savedmodel", "--models", "textcnn", "--documents", "2")
    output = bench(run, *options, "--json", str(numbers), cold=True)
    found = json.loads(numbers.read_text("utf-8"))
    assert [row["documents"] for row in found["rows"]] == [2]
    assert found["skipped"] == ["textcnn, savedmodel: no cold start: a process was killed"]
    assert found["skipped"][0] in " ".join(output.split())


def test_products_in_bfloat16_are_measured_where_the_model_has_them(
    run: Path, tmp_path: Path
) -> None:
    numbers = tmp_path / "bench.json"
    options = ("--engines", "savedmodel,bfloat16,grpc-bfloat16", "--models", "albert,textcnn")
    output = bench(run, *options, "--documents", "2", "--json", str(numbers))
    found = json.loads(numbers.read_text("utf-8"))
    measured = [(row["model"], row["engine"]) for row in found["rows"]]
    here = [("albert", engine) for engine in ("savedmodel", "bfloat16", "grpc-bfloat16")]
    assert measured == [*here, ("textcnn", "savedmodel")]
    assert "textcnn, bfloat16: text_cnn_matcher has no graph in bfloat16" in output
    in_process, served = (one["max_difference"] for one in found["agreement"])
    assert 0 < in_process < 0.05
    assert served == in_process  # the same export


def test_variants_of_the_savedmodel_are_measured_where_they_are_asked_for() -> None:
    variants = {"plain", "bfloat16", "grpc-bfloat16"}
    assert set(engines.ENGINES) - set(BenchOptions().engines) == variants


def test_markdown_is_the_table_alone(run: Path) -> None:
    options = ("--engines", "savedmodel", "--models", "textcnn", "--documents", "2", "--markdown")
    lines = bench(run, *options, "--pages", "3").strip().splitlines()
    assert json.loads((run / "bench.json").read_text("utf-8"))["environment"]["pages"] == 3
    assert lines[0] == "| model | engine | 2 docs | docs/s | peak MB |"
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engines", "tvm"), "engine 'tvm' is unknown"),
        (("--models", "gbdt"), "no model 'gbdt'; this run has exported albert"),
        (("--documents", "1,x"), "--documents '1,x'"),
        (("--documents", "0"), "give sizes of a page"),
    ],
)
def test_mistakes_are_one_line(finished_run: Path, arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench(finished_run, *arguments)


def test_what_an_engine_loads_is_made_once_of_each_weights_and_revision(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(run / "config.yaml")
    graph = artifact(run, "albert", "plain") / "saved_model.pb"

    def made() -> int:
        assert prepare(config, run, "albert", "plain") is None
        return graph.stat().st_mtime_ns

    first = made()
    assert made() == first
    monkeypatch.setattr("kdmatch.pipeline.bench_models.REVISION", 0)
    second = made()
    assert second != first
    weights = matcher_folder(config, run, "albert") / "model.weights.h5"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert made() != second
