"""Commands on a finished run, as a user calls them."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kdmatch.cli import app
from kdmatch.errors import UserError


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_evaluate_measures_every_model_on_any_table(finished_run: Path, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    call(
        "evaluate",
        finished_run,
        "--data",
        finished_run / "data" / "test.parquet",
        "--json",
        numbers,
    )
    here = json.loads(numbers.read_text("utf-8"))["models"]
    run = json.loads((finished_run / "metrics.json").read_text("utf-8"))["models"]
    assert here.keys() == run.keys()
    for name in run:
        assert here[name]["auc"]["value"] == pytest.approx(run[name]["auc"]["value"], abs=1e-6)


def test_evaluate_without_labels_says_so(finished_run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("query,document\nled,led bulb\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.csv.*label"):
        call("evaluate", finished_run, "--data", rows)


def test_a_run_reads_other_files_by_its_own_names_or_by_given_ones(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kdmatch.cli_shared import read_rows
    from kdmatch.pipeline.config.loader import load_config

    named = "{query: q, document: d, label: relevance, f_price: price}"
    config = load_config(tiny, [f"data.columns={named}", "data.on_bad_row=skip"])
    rows = tmp_path / "rows.csv"
    rows.write_text("q,d,grade\nled,led bulb,1\nled,,0\n", encoding="utf-8")
    assert read_rows(config, rows, ["label=grade"]).column("label").to_pylist() == [1.0]
    assert "rows.csv: 1 bad rows skipped" in capsys.readouterr().err
    assert read_rows(config, rows, None).column("label").to_pylist() == [None]
    with pytest.raises(UserError, match="no column 'stars', which is mapped to 'label'"):
        read_rows(config, rows, ["label=stars"])
    with pytest.raises(UserError, match="no column 'query'"):
        read_rows(config, rows, ["query=words"])


def test_compare_says_what_a_run_gains_over_another(finished_run: Path, tmp_path: Path) -> None:
    rows = finished_run / "data" / "test.parquet"
    old = shutil.copytree(finished_run, tmp_path / "old")
    # The old run's ALBERT is its control: what is gained is what the new run's report says.
    shutil.copytree(
        old / "students" / "albert_control", old / "students" / "albert", dirs_exist_ok=True
    )
    numbers = tmp_path / "numbers.json"
    command = ("compare", finished_run, old, "--data", rows, "--json", numbers)
    text = call(*command)
    found = json.loads(numbers.read_text("utf-8"))["models"]
    metrics = json.loads((finished_run / "metrics.json").read_text("utf-8"))
    assert found.keys() == metrics["models"].keys() <= set(text.split())
    (told,) = (
        one
        for one in metrics["comparisons"]
        if (one["a"], one["b"], one["metric"]) == ("albert", "albert_control", "auc")
    )
    assert found["albert"]["difference"]["difference"] != 0
    for key in ("difference", "low", "high"):
        assert found["albert"]["difference"][key] == pytest.approx(told[key], abs=1e-6)
        assert found["textcnn"]["difference"][key] == 0
    call(*command, "--models", "albert, teachers")
    some = json.loads(numbers.read_text("utf-8"))["models"]
    assert some == {name: found[name] for name in ("albert", "teachers")}
    with pytest.raises(UserError, match=r"no model 'albrt'; did you mean 'albert'\?"):
        call(*command, "--models", "albrt")


def test_score_streams_a_csv(finished_run: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "scored.parquet"
    lines = [f"led bulb,document {i}" for i in range(30)]
    rows.write_text("query,document\n" + "\n".join(lines) + "\n", encoding="utf-8")
    base = finished_run / "export" / "textcnn"
    assert "30 rows" in call("score", base, "--data", rows, "--out", out, "--batch", 7)
    whole = pq.read_table(out)
    assert whole.column("document").to_pylist() == [f"document {i}" for i in range(30)]
    again = tmp_path / "again.parquet"
    call("score", base / "1", "--data", rows, "--out", again, "--batch", 30)
    assert pq.read_table(again).column("score").to_pylist() == pytest.approx(
        whole.column("score").to_pylist(), abs=1e-6
    )


def test_score_reads_a_file_with_other_names(finished_run: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "new" / "scored.parquet"
    rows.write_text("search_term,document\nred shoe,shoe\n")
    arguments = ["score", str(finished_run / "export" / "textcnn"), "--data", str(rows)]
    arguments += ["--out", str(out)]
    refused = CliRunner().invoke(app, arguments)
    assert "--column query=YOURS" in str(refused.exception)
    for wrong in ("query", "query=", "=x"):
        failed = CliRunner().invoke(app, [*arguments, "--column", wrong])
        assert "write it as ours=theirs" in str(failed.exception)
    done = CliRunner().invoke(app, [*arguments, "--column", "query=search_term"])
    assert done.exit_code == 0, done.output
    assert pq.read_table(out).num_rows == 1


def test_evaluate_of_a_run_that_is_not_over_says_what_is_missing(
    finished_run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished_run, tmp_path / "run")
    (copy / "students" / "textcnn" / "seed-0" / "done.json").unlink()
    rows = str(finished_run / "data" / "test.parquet")
    failed = CliRunner().invoke(app, ["evaluate", str(copy), "--data", rows])
    assert "students/textcnn/seed-0 is not done yet" in str(failed.exception)


def test_score_leaves_nothing_behind_when_a_row_is_bad(finished_run: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "scored.parquet"
    rows.write_text("query,document\nled,bulb\n,lamp\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 2, column 'query'"):
        call("score", finished_run / "export" / "albert", "--data", rows, "--out", out)
    assert list(tmp_path.iterdir()) == [rows]


def test_export_serve_rank(finished_run: Path, tmp_path: Path) -> None:
    from kdmatch.serving.server import LocalServer

    text = call("export", finished_run, "--student", "textcnn", "--to", tmp_path / "saved_models")
    assert "textcnn" in text
    with LocalServer(tmp_path / "saved_models", port=0) as server:
        answer = tmp_path / "answer.json"
        call(
            *("rank", "hidden lantern", "Hidden Lantern S1", "steel shelf"),
            *("--model", "textcnn", "--target", f"localhost:{server.port}", "--json", answer),
        )
    ranking = json.loads(answer.read_text("utf-8"))["ranking"]
    assert {row["index"] for row in ranking} == {0, 1}
    assert ranking[0]["score"] >= ranking[1]["score"]


def test_report_compares_runs(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    call("report", finished_run, "--out", out)
    assert "cnn_attention" in out.read_text("utf-8")


def test_commands_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run directory"):
        call("evaluate", tmp_path / "nope", "--data", "x.parquet")
    with pytest.raises(UserError, match="no exported model here"):
        call("score", tmp_path, "--data", "x.parquet", "--out", tmp_path / "y")
