"""A search in a run's report, from made-up trials."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdmatch.evaluation.report import write_report
from kdmatch.evaluation.search_record import at_ends, read_searches
from kdmatch.evaluation.search_report import write_search_report

RATE = {"low": 1e-4, "high": 4e-3, "sampling": "log", "choices": None, "start": 3e-4}
HARD = {
    "low": None,
    "high": None,
    "sampling": "linear",
    "choices": ["hinge", "both"],
    "start": "both",
}


def write_search(run: Path, trials: list[dict[str, Any]]) -> None:
    folder = run / "search" / "albert"
    (folder / "trial_0").mkdir(parents=True)
    (folder / "trial_0" / "history.csv").write_text("step,loss,valid_auc\n1,0.5,0.6\n")
    settings = {"objective": "auc", "sample": 0.06, "tuner": "bayesian"}
    parameters = {"training.learning_rate": RATE, "training.hard": HARD}
    (folder / "search.json").write_text(
        json.dumps({"student": "albert", "search": settings, "parameters": parameters})
    )
    rows = [{"trial": 0, "sample": 0.7, "full": 0.8, "rank_sample": 1, "rank_full": 2}]
    (folder / "verify.json").write_text(json.dumps({"trials": rows, "spearman": -0.5}))
    columns = ["trial", "status", "auc", "epochs", "seconds", *parameters, "reason"]
    with (folder / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(trials)


TRIALS: list[dict[str, Any]] = [
    {"trial": "0", "status": "completed", "auc": 0.61, "epochs": 9, "seconds": 75.0}
    | {"training.learning_rate": 3e-4, "training.hard": "both"},
    {"trial": "1", "status": "stopped", "auc": 0.58, "epochs": 4, "seconds": 30.0}
    | {"training.learning_rate": 1e-4, "training.hard": "hinge"},
    {"trial": "2", "status": "failed", "reason": "<b>collapsed</b> in epoch 2"}
    | {"training.learning_rate": 4e-3, "training.hard": "hinge"},
    {"trial": "3", "status": "completed", "auc": 0.6789, "epochs": 9, "seconds": 74.0}
    | {"training.learning_rate": 1e-3, "training.hard": "hinge"},
]


def test_a_runs_report_shows_its_search(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run()
    without = write_report([run], tmp_path / "without.html").read_text("utf-8")
    write_search(run, TRIALS)
    page = write_report([run], tmp_path / "report.html").read_text("utf-8")
    assert page.count("<svg") == without.count("<svg") + 3
    assert "The best of 4 trials reaches auc 0.6789 on valid" in page
    assert "6 % of the training queries" in page
    assert "the config's own values (nearest in the ranges) reach 0.6100" in page
    assert "1 stopped early, 1 failed" in page
    assert "&lt;b&gt;collapsed&lt;/b&gt; in epoch 2" in page
    assert "rank correlation -0.50" in page
    assert "trial_0" not in page  # no training curve for every trial
    assert "At an end of its range" not in page


def test_values_at_an_end_of_their_ranges_are_named(tmp_path: Path) -> None:
    best = {**TRIALS[3], "training.learning_rate": 3.99e-3}
    write_search(tmp_path, [*TRIALS[:3], best])
    page = write_search_report(tmp_path, tmp_path / "report.html").read_text("utf-8")
    assert "At an end of its range stands training.learning_rate (0.00399): better" in page
    share = {"low": 0.0, "high": 0.3, "sampling": "linear", "choices": None, "start": 0.1}
    space = {"rate": RATE, "share": share, "hard": HARD}
    assert at_ends(space, {"rate": 1e-4, "share": 0.0, "hard": "both"}) == {"rate": 1e-4}
    assert at_ends(space, {"rate": 1e-3, "share": 0.3, "tuner/epochs": 9}) == {"share": 0.3}


def test_a_search_of_a_run_that_is_not_evaluated_has_its_own_page(tmp_path: Path) -> None:
    write_search(tmp_path, TRIALS)
    page = write_search_report(tmp_path, tmp_path / "search" / "report.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert page.count("<script") == 0
    (search,) = read_searches(tmp_path)
    assert search.best is not None
    assert search.best["trial"] == "3"
    assert search.trials[2]["auc"] is None


def test_what_is_carried_on_stands_for_the_configs_own_values(tmp_path: Path) -> None:
    own = {"training.learning_rate": 3e-4, "training.hard": "both"}
    trials = [
        {**TRIALS[0], "auc": 0.5, "epochs": 1},
        {**TRIALS[3], "trial": "1"},
        {"trial": "2", "status": "completed", "auc": 0.59, "epochs": 3, "seconds": 9.0, **own},
    ]
    write_search(tmp_path, trials)
    page = write_search_report(tmp_path, tmp_path / "search" / "report.html").read_text("utf-8")
    assert "reach 0.5900 there, after 3 of the best one's 9 epochs" in page


def test_where_the_configs_own_values_failed_no_other_trial_passes_for_them(
    tmp_path: Path,
) -> None:
    failed = {**TRIALS[2], "trial": "0"} | {"training.learning_rate": 3e-4, "training.hard": "both"}
    write_search(tmp_path, [failed, *TRIALS[1:]])
    (search,) = read_searches(tmp_path)
    assert search.own is None
    page = write_search_report(tmp_path, tmp_path / "search" / "report.html").read_text("utf-8")
    assert "the config's own values" not in page
    assert "The best of 4 trials" in page


def test_a_collapse_on_all_rows_is_shown_with_its_reason(tmp_path: Path) -> None:
    write_search(tmp_path, TRIALS)
    rows = [
        {"trial": 3, "sample": 0.67, "full": None, "rank_sample": 1, "rank_full": 2}
        | {"reason": "training collapsed in epoch 1"},
        {"trial": 0, "sample": 0.61, "full": 0.7, "rank_sample": 2, "rank_full": 1},
    ]
    (tmp_path / "search" / "albert" / "verify.json").write_text(json.dumps({"trials": rows}))
    page = write_search_report(tmp_path, tmp_path / "search" / "report.html").read_text("utf-8")
    assert "Trial 3: training collapsed in epoch 1." in page


@pytest.mark.parametrize("name", ["training.learning_rate", "training.hard"])
def test_a_parameter_that_counted_in_no_trial_yet_leaves_its_place(
    name: str, tmp_path: Path
) -> None:
    trials = [TRIALS[0], TRIALS[3]]
    write_search(tmp_path, [{**trial, name: None} for trial in trials])
    page = write_search_report(tmp_path, tmp_path / "search" / "report.html").read_text("utf-8")
    assert page.count("<svg") == 3
    rows = [{"trial": None, "sample": None, "full": None, "rank_sample": 3, "rank_full": 3}]
    rows[0] |= {"own": True, "reason": "training collapsed in epoch 2"}
    (tmp_path / "search" / "albert" / "verify.json").write_text(json.dumps({"trials": rows}))
    page = write_search_report(tmp_path, tmp_path / "search" / "report.html").read_text("utf-8")
    assert "The config's own values: training collapsed in epoch 2." in page.replace("&#39;", "'")


@pytest.mark.parametrize("trials", [[], TRIALS[2:3], TRIALS[:1]])
def test_few_trials_leave_what_cannot_be_drawn_out(
    trials: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_search(tmp_path, trials)
    page = write_search_report(tmp_path, tmp_path / "search" / "report.html").read_text("utf-8")
    ended = sum("auc" in trial for trial in trials)
    assert page.count("<svg") == ended
    assert ("No trial of this search has ended" in page) == (ended == 0)
