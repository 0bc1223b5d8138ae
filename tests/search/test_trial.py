"""One trial: its length, and what is said of how it ended."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdmatch.errors import UserError
from kdmatch.files import write_json
from kdmatch.pipeline.config.loader import parse_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.search import trial as trial_module
from kdmatch.search.callbacks import MedianStop
from kdmatch.search.oracles import make_oracle
from kdmatch.search.record import write_record
from kdmatch.search.space import hyperparameters, space_of
from kdmatch.search.trial import Rung, TrialTrainer, trial_schedule
from kdmatch.search.tuner import StudentTuner


def config(**training: Any) -> Config:
    student = {"preset": "albert_1l_64", "training": {"steps": 4500, **training}}
    raw = {
        "name": "x",
        "data": {"train": "train.parquet"},
        "teacher": {"preset": "bert_2l_64"},
        "students": {"albert": student},
        "search": {"steps": 900, "epochs": 9, "trials": 1, "tuner": "random"},
    }
    return parse_config(raw, "test")


def test_a_trial_is_shorter_and_its_average_of_the_weights_with_it() -> None:
    full = config(average=0.998, validate_every=250, patience=6).student("albert").training
    short = trial_schedule(full, config())
    assert (short.steps, short.validate_every) == (900, 100)
    assert short.patience == 3  # of 9 epochs, as 6 of 18 validations
    assert short.average == pytest.approx(0.998**5)
    assert short.average**short.steps == pytest.approx(full.average**full.steps)
    assert trial_schedule(config(average=0).student("albert").training, config()).average == 0


def trainer_that(ends: Callable[..., None], root: Path, monkeypatch) -> TrialTrainer:
    """A trainer whose trainings do no more than `ends` does with folder and callbacks."""

    def train(*arguments: Any, extra: Any, advance: Any = None, **_: Any) -> float:
        ends(arguments[5], extra)
        if advance is not None:
            advance(100, "valid AUC 0.7000")
        return 0.7

    made = TrialTrainer.__new__(TrialTrainer)
    made.config, made.student, made.root = config(), "albert", root
    made.space, made.queries = space_of(config(), "albert"), ["q"]
    made.pairs = made.valid = None  # type: ignore[assignment]
    (root / "scores").mkdir()
    write_json(root / "scores" / "done.json", {"key": "as begun"})
    made._made_from = "as begun"
    monkeypatch.setattr(trial_module, "train_matcher", train)
    return made


def write_history(folder: Path, epochs: int) -> None:
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["valid_auc"], *([0.7] for _ in range(epochs))])


@pytest.mark.parametrize(
    ("epochs", "median", "status"),
    [(4, True, "stopped"), (4, False, "completed"), (9, True, "completed")],
)
def test_stopped_is_what_the_median_ended_before_its_last_epoch(
    tmp_path: Path, monkeypatch, epochs: int, median: bool, status: str
) -> None:
    def end(folder: Path, callbacks: Any) -> None:
        write_history(folder, epochs)
        stop = next(one for one in callbacks if isinstance(one, MedianStop))
        stop.stopped = median

    trainer = trainer_that(end, tmp_path, monkeypatch)
    space = trainer.space
    oracle = make_oracle(config().search, hyperparameters(space, "albert-0"))
    StudentTuner(oracle, trainer, tmp_path / "albert", Console(quiet=True)).search()
    write_record(oracle, tmp_path / "albert", config(), "albert", space)
    with (tmp_path / "albert" / "trials.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["status"], row["epochs"]) == (status, str(epochs))


def test_a_trial_on_another_run_than_the_searchs_is_none(tmp_path: Path, monkeypatch) -> None:
    trainer = trainer_that(lambda folder, _: write_history(folder, 9), tmp_path, monkeypatch)
    write_json(tmp_path / "scores" / "done.json", {"key": "of another config"})
    with pytest.raises(UserError, match="no longer those that this search began with"):
        trainer.train({}, tmp_path / "trial_0", Rung(9))
    assert not (tmp_path / "trial_0").exists()


def test_the_bar_of_a_trial_moves(tmp_path: Path, monkeypatch) -> None:
    seen: list[Any] = []

    @contextmanager
    def progress(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
        seen.append((title, total))
        yield lambda done, message: seen.append((done, message))

    trainer = trainer_that(lambda folder, _: write_history(folder, 9), tmp_path, monkeypatch)
    oracle = make_oracle(config().search, hyperparameters(trainer.space, "albert-0"))
    console: Any = SimpleNamespace(progress=progress)
    StudentTuner(oracle, trainer, tmp_path / "albert", console).search()
    assert seen == [("albert trial 0", 900), (100, "")]


def test_a_rung_of_hyperband_is_as_long_as_its_epochs(tmp_path: Path, monkeypatch) -> None:
    def end(folder: Path, callbacks: Any) -> None:
        write_history(folder, 3)
        assert not any(isinstance(one, MedianStop) for one in callbacks)

    trainer = trainer_that(end, tmp_path, monkeypatch)
    found = trainer.train({}, tmp_path / "trial_0", Rung(3, resumable=True))
    assert (found["value"], found["values"], found["stopped"]) == (0.7, [0.7] * 3, False)
    assert trainer.steps(3) == 300
