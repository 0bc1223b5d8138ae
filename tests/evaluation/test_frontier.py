"""Which models no other makes needless."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdmatch.cli import app
from kdmatch.errors import UserError
from kdmatch.evaluation.frontier import frontier, frontier_markdown
from kdmatch.evaluation.run_record import read_run
from kdmatch.files import write_json

AUC = {"albert": 0.80, "small": 0.78, "textcnn": 0.79, "teacher": 0.80, "gbdt": 0.9}
PAGES = {
    ("albert", "savedmodel"): (2.0, 20.0),
    ("albert", "bfloat16"): (1.5, 15.0),
    ("albert", "onnxruntime"): (0.1, 0.1),
    ("small", "savedmodel"): (0.5, 9.0),
    ("textcnn", "savedmodel"): (1.0, 5.0),
    ("teacher", "savedmodel"): (5.0, 80.0),
    ("unknown", "savedmodel"): (0.1, 0.1),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    models = {
        name: {"auc": {"value": value, "low": None, "high": None}, "parameters": 3_500_000}
        for name, value in AUC.items()
    }
    rows = [
        {"model": model, "engine": engine, "documents": size, "p50_ms": p50}
        for (model, engine), times in PAGES.items()
        for size, p50 in zip((1, 50), times, strict=True)
    ]
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "metrics.json", {"models": models})
    write_json(tmp_path / "run" / "bench.json", {"rows": rows})
    return tmp_path / "run"


def test_a_model_counts_if_all_that_are_as_fast_rank_worse(run: Path) -> None:
    found = [(one.model, one.engine, one.is_best) for one in frontier(read_run(run))]
    assert found == [
        ("textcnn", "savedmodel", True),
        ("small", "savedmodel", False),  # slower and worse than the TextCNN
        ("albert", "bfloat16", True),
        ("albert", "savedmodel", False),  # as good, and slower
        ("teacher", "savedmodel", False),
    ]


def test_the_table_is_what_the_command_prints(run: Path) -> None:
    table = frontier_markdown(read_run(run))
    assert table.splitlines()[:3] == [
        "| model | graph | parameters | AUC | 1 doc, ms | 50 docs, ms | best |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
        "| textcnn | float32 | 3.5 M | 0.790 | 1.00 | 5.00 | * |",
    ]
    assert table.splitlines()[4] == "| albert | bfloat16 | 3.5 M | 0.800 | 1.50 | 15.0 | * |"
    result = CliRunner().invoke(app, ["report", str(run), "--frontier"])
    assert table in result.output


def test_a_run_without_a_bench_says_how_to_make_one(run: Path) -> None:
    (run / "bench.json").unlink()
    with pytest.raises(UserError, match=r"kdmatch bench .*run --data FILE --engines savedmodel"):
        frontier(read_run(run))
