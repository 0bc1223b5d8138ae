"""The report, the model card and the terminal table of synthetic runs."""

import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from kdmatch.errors import UserError
from kdmatch.evaluation.figures import training_curves
from kdmatch.evaluation.model_card import write_model_card
from kdmatch.evaluation.report import summary, write_report
from kdmatch.evaluation.run_record import read_run
from kdmatch.evaluation.table import metric_table

MakeRun = Callable[..., Path]
VOID = {"meta", "br", "wbr", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Text, tags, ids and addresses of a page, and whether its tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.ids = "", Counter[str](), Counter[str]()
        self.addresses: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href", "xlink:href"):
                self.addresses.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


def _read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_report_shows_every_part_and_needs_nothing_else(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    out = write_report([run], tmp_path / "made" / "report.html")
    page = _read(out)
    for model, found in json.loads((run / "metrics.json").read_text())["models"].items():
        assert model in page.text
        assert f"{found['auc']['value']:.3f}" in page.text
    for words in (
        "homedepot",
        "test",
        "label ≥ 2.5",
        "3 seeds",
        "4.2 M",
        "feature_19",
        "students/albert_control · 2 seeds",
        "1 h 02 min",
        "positive_threshold: 2.5",
        "validation AUC",
        "▲",
        "▼",
    ):
        assert words in page.text, words
    assert "feature_20" not in page.text
    assert page.tags["svg"] == 1 + 3 + 10 + 1  # scatter, curves, histograms, importance
    assert "mathdefault" not in out.read_text("utf-8")  # a tick label that nobody renders
    assert page.tags["script"] == 0
    assert all(address.startswith("#") for address in page.addresses)
    assert max(page.ids.values()) == 1
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert not re.search(r"url\((?!#)|@import", out.read_text(encoding="utf-8"))
    assert [found.name for found in out.parent.iterdir()] == ["report.html"]


def test_runs_stand_side_by_side_first(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("first"), make_run("second", seed=1)]
    out = write_report(runs, tmp_path / "report.html")
    page = _read(out)
    assert "2 runs side by side" in page.text
    assert page.text.index("side by side") < page.text.index("Comparisons")
    assert page.addresses[:2] == ["#run1", "#run2"]
    assert max(page.ids.values()) == 1


def test_names_are_escaped_everywhere(make_run: MakeRun, tmp_path: Path) -> None:
    evil = "<script>alert('$x$')</script>"
    run = make_run(rename={"gbdt": evil, "textcnn": "_a&b"}, dataset=f"set {evil}")
    shutil.copytree(run / "bert", run / "<b>bold")
    page = _read(write_report([run], tmp_path / "report.html"))
    assert page.tags["script"] == 0
    assert page.tags["b"] == 0
    assert page.text.count(evil) >= 4
    assert "_a&b" in page.text
    card = write_model_card(run, tmp_path / "card.md").read_text(encoding="utf-8")
    assert "<script" not in card.split("---", 2)[2]


def test_missing_pieces_leave_a_sentence(tmp_path: Path) -> None:
    run = tmp_path / "bare"
    run.mkdir()
    nothing = {"value": None, "low": None, "high": None}
    models = {"albert": {"auc": nothing, "latency_ms": None, "parameters": None}}
    (run / "metrics.json").write_text(json.dumps({"models": models}))
    page = _read(write_report([run], tmp_path / "report.html"))
    for words in (
        "No latency was measured",
        "no training history",
        "no scores",
        "not recorded",
        "no feature importance",
        "no finished stage",
        "compares no models",
    ):
        assert words in page.text
    assert page.tags["svg"] == 0
    assert "not recorded in the run" in write_model_card(run, tmp_path / "card.md").read_text()
    Console(quiet=True).print(metric_table({"models": models}))


def test_half_written_history_is_shown_as_far_as_it_goes(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    (run / "bert" / "history.csv").write_text("step,loss,valid_auc\n1,0.5,\n2,0.4\n3,oops,\n4,0.")
    (run / "gbdt" / "history.csv").write_text("step,loss\n")
    assert read_run(run).histories["gbdt"] == {}
    assert _read(write_report([run], tmp_path / "report.html")).tags["svg"] == 15


def test_a_curve_is_of_the_metric_that_weights_are_kept_by() -> None:
    history = {"step": np.array([1.0, 2.0]), "valid_ndcg@10": np.array([0.5, 0.6])}
    picture = training_curves("albert", {"seed-0": history}, "key")
    assert picture is not None
    assert "Validation ndcg@10 of albert over the steps" in picture


def test_stages_stand_in_the_order_they_finished_and_ablations_apart(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    names = ["text", "data", "ablation/albert/+soft/seed-0"]
    for second, name in enumerate(names):
        folder = run / name
        folder.mkdir(parents=True, exist_ok=True)
        done = {"stage": name, "seconds": 1.0, "finished": f"1999-01-01T00:00:0{second}+00:00"}
        (folder / "done.json").write_text(json.dumps(done))
    (folder / "history.csv").write_text("step,loss,valid_auc\n1,0.5,0.6\n2,0.4,0.6\n")
    found = read_run(run)
    assert [stage["stage"] for stage in found.stages][:3] == names
    assert not any("ablation" in str(name) for name in found.histories)


def test_a_directory_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path.name}: no metrics.json"):
        write_report([tmp_path], tmp_path / "report.html")
    (tmp_path / "metrics.json").write_text('{"models": ')
    with pytest.raises(UserError, match=r"metrics\.json: not JSON"):
        write_model_card(tmp_path, tmp_path / "card.md")
    with pytest.raises(UserError, match="at least one run"):
        write_report([], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_summary_is_made_from_the_numbers(tmp_path: Path) -> None:
    models = {
        name: {
            "auc": {"value": auc, "low": auc - 0.01, "high": auc + 0.01},
            "latency_ms": {"p50": p50, "p95": p50, "p99": p50},
        }
        for name, auc, p50 in (("teacher", 0.76, 4.5), ("albert", 0.74, 1.5), ("textcnn", 0.73, 1))
    }
    pair = {"a": "teacher", "b": "albert", "metric": "auc"}
    comparisons = [pair | {"difference": 0.02, "low": 0.01, "high": 0.03}]
    (tmp_path / "metrics.json").write_text(
        json.dumps({"models": models, "comparisons": comparisons})
    )
    assert summary(read_run(tmp_path)) == (
        "albert, the best student, reaches AUC 0.740 [0.730, 0.750]; the difference to teacher is "
        "−0.0200 [−0.0300, −0.0100]; a call takes 1.50 ms against teacher's 4.50 ms, "
        "3.0 times faster."
    )


def test_model_card_holds_the_numbers_and_the_data_key(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    card = write_model_card(run, tmp_path / "model_card.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    metadata = yaml.safe_load(front)
    models = json.loads((run / "metrics.json").read_text())["models"]
    assert [one["name"] for one in metadata["model-index"]] == [
        "albert",
        "textcnn",
        "cnn_attention",
    ]
    first = metadata["model-index"][0]["results"][0]["metrics"][0]
    assert first == {
        "type": "auc",
        "name": "AUC",
        "value": round(models["albert"]["auc"]["value"], 4),
    }
    assert "9f86d081884c7d65" in body
    assert f"{models['gbdt']['auc']['value']:.3f}" in body
    for heading in (
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats and recommendations",
    ):
        assert f"## {heading}\n" in body


def test_table_puts_controls_below_their_students(make_run: MakeRun) -> None:
    metrics = json.loads((make_run() / "metrics.json").read_text())
    console = Console(width=100, file=io.StringIO())
    console.print(metric_table(metrics))
    lines = console.file.getvalue().splitlines()
    albert = next(index for index, line in enumerate(lines) if line.strip().startswith("albert"))
    assert lines[albert + 1].strip().startswith("control")
    found = metrics["models"]["albert"]["auc"]
    assert f"{found['value']:.3f} [{found['low']:.3f},{found['high']:.3f}]" in lines[albert]
    assert "+0." in lines[albert]
