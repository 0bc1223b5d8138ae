"""`kdmatch search`: from a config to the best hyperparameters of each student."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock
from keras_tuner.engine.trial import Trial

from kdmatch.errors import UserError
from kdmatch.evaluation.report import write_report
from kdmatch.evaluation.search_record import at_ends
from kdmatch.evaluation.search_report import write_search_report
from kdmatch.files import read_json, write_json
from kdmatch.pipeline.config.loader import dump_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run import prepare_students
from kdmatch.pipeline.run_directory import alone
from kdmatch.pipeline.work import Run
from kdmatch.search.chief import Chief, check_port
from kdmatch.search.crew import worker_command
from kdmatch.search.oracles import make_oracle
from kdmatch.search.record import (
    BEST,
    Chosen,
    choose,
    epochs_of,
    finished_trials,
    reason,
    verified_trials,
    with_own_values,
    write_record,
)
from kdmatch.search.safe_oracle import FAILURES_IN_A_ROW, SafeOracle
from kdmatch.search.space import Parameter, hyperparameters, space_of
from kdmatch.search.study import Study
from kdmatch.search.trial import TrialTrainer, trial_schedule
from kdmatch.search.tuner import StudentTuner
from kdmatch.search.verify import verify_top


def search(
    config: Config,
    root: Path,
    students: Sequence[str],
    console: Console,
    workers: int = 1,
    listen: tuple[str, int] | None = None,
    verify: int = 0,
) -> dict[str, Any]:
    """Search each student in turn, on top of a run's scores; called again, it goes on.

    Args:
        config: Config.
        root: Path of the run directory.
        students: names; all of the config's where empty.
        console: Console.
        workers: int. 1 works in this process; more are processes of a chief.
        listen: host and port where a chief takes workers from elsewhere, or None.
        verify: int. So many of the best trials, and the config's own values, are trained on all
            rows, and the best there wins.

    Returns:
        `{student: {"trials", "best", "value", "epochs", "first", "first_epochs",
        "seconds", "file", "chosen", "verify"}}`; `first` is the value of the config's own
        values, `seconds` without the verification, and `chosen` what the file is of, which is
        `best` unless the best trials were verified.

    Raises:
        UserError: if data, config, a budget or a port is at fault, or no trial
            of a student succeeds.
    """
    names = list(students) or list(config.students)
    for name in names:
        if name not in config.students:
            raise UserError(f"--student {name!r}: this config has {', '.join(config.students)}")
    spaces = {name: space_of(config, name) for name in names}  # mistakes are said at once
    for name in names:
        hyperparameters(spaces[name], name)
    if listen is not None:
        check_port(listen)
    work = prepare_students(config, root, console)
    work.jobs = max(1, workers)
    found = {}
    with contextlib.ExitStack() as serving:
        chief = None
        if workers != 1 or listen is not None:
            chief = serving.enter_context(Chief(listen or ("127.0.0.1", 0), workers))
        for name in names:
            folder = root / "search" / name
            folder.mkdir(parents=True, exist_ok=True)
            taken = (
                f"{folder}: another process searches here already; to add workers to it, begin it "
                "with --listen HOST:PORT and call this with --join HOST:PORT"
            )
            with alone(FileLock(folder / ".lock"), taken):
                oracle = _search_student(work, config, name, spaces[name], chief)
                _report(root, console)
                found[name] = _result(oracle, name, folder, console)
                if name == names[-1]:
                    serving.close()  # workers from elsewhere need not wait any more
                if verify:
                    verify_top(work, oracle, name, spaces[name], verify)
                    chosen = choose(oracle, folder)
                    found[name] |= _choice(chosen, oracle, folder)
                    _write_result(folder, found[name])
                    console.stage(
                        "search", f"{name}: best on all rows is {chosen}; {folder / BEST}"
                    )
                    _report(root, console)
                else:
                    _warn_of_short_trials(config, name, console)
    if (root / "metrics.json").exists():
        write_report([root], root / "report.html")
    return found


def _search_student(
    work: Run, config: Config, student: str, space: list[Parameter], chief: Chief | None
) -> SafeOracle:
    root, console = work.root, work.console
    study = Study.of(config, root, student)
    study.claim()
    folder = study.folder

    def ended() -> None:
        write_record(oracle, folder, config, student, space)
        _say(oracle, student, console)

    for moved in (parameter for parameter in space if parameter.is_moved):
        console.stage(
            "search",
            f"{student}: {moved.name} is {moved.current!r} in the config, which its range lacks; "
            f"the first trial has {moved.value(moved.start)!r}",
        )
    oracle = make_oracle(config.search, hyperparameters(space, study.label), ended)
    trainer = TrialTrainer(config, student, space, root)
    (folder / "queries.txt").write_text("\n".join(trainer.queries) + "\n", encoding="utf-8")
    tuner = StudentTuner(oracle, trainer, folder, console)
    oracle.save()
    tuner.save()
    if chief is None:
        tuner.search()
    else:
        settings = folder / "config.yaml"
        settings.write_text(dump_config(config), encoding="utf-8")
        chief.serve(oracle, worker_command(settings, root), folder, console)
    oracle.save()
    write_record(oracle, folder, config, student, space)
    _drop_checkpoints(folder)
    return oracle


def _warn_of_short_trials(config: Config, student: str, console: Console) -> None:
    """What is best after few steps is what learns fast, and need not be best after many."""
    full = config.student(student).training
    steps = trial_schedule(full, config).steps
    if steps < full.steps:
        console.stage(
            "search",
            f"{student}: trials took {steps:,} steps, the training takes {full.steps:,}, and what "
            "learns fast is favoured; the same command with --verify-top 5 trains the best in full",
        )


def _result(oracle: SafeOracle, student: str, folder: Path, console: Console) -> dict[str, Any]:
    """What a search found, written into its `search.json`."""
    best, own = _best(oracle, student, folder), with_own_values(oracle)
    objective, chosen = oracle.objective.name, choose(oracle, folder)
    result = {
        "trials": len(oracle.trials),
        "best": best.trial_id,
        "value": best.score,
        "epochs": epochs_of(folder, best.trial_id, objective),
        "first": None if own is None else own.score,
        "first_epochs": None if own is None else epochs_of(folder, own.trial_id, objective),
        "seconds": round(oracle.spent, 1),
        "file": str(folder / BEST),
        **_choice(chosen, oracle, folder),
    }
    _write_result(folder, result)
    said = f"{student}: best on the sample is trial {best.trial_id}"
    if chosen is not None and chosen.among:
        said += f", on all rows {chosen}"
    console.stage("search", f"{said}; {folder / BEST}")
    ends = at_ends(read_json(folder / "search.json")["parameters"], best.hyperparameters.values)
    if ends:
        stand = ", ".join(f"{name} ({value:g})" for name, value in ends.items())
        console.stage(
            "search",
            f"{student}: at an end of its range stands {stand}; better ones may lie beyond, in a "
            "wider search.space",
        )
    return result


def _choice(chosen: Chosen | None, oracle: SafeOracle, folder: Path) -> dict[str, Any]:
    """What is recommended, and the rows of the verification that it goes by."""
    return {
        "chosen": None if chosen is None else asdict(chosen),
        "verify": verified_trials(finished_trials(oracle), folder),
    }


def _write_result(folder: Path, result: dict[str, Any]) -> None:
    search_file = folder / "search.json"
    write_json(search_file, {**read_json(search_file), "result": result})


def _report(root: Path, console: Console) -> None:
    console.stage("report", str(write_search_report(root, root / "search" / "report.html")))


def _best(oracle: SafeOracle, student: str, folder: Path) -> Trial:
    finished = finished_trials(oracle)
    last = reason(oracle.trials[oracle.end_order[-1]]) if oracle.end_order else ""
    if oracle.gave_up:
        before = f"; the best before them is in {folder / BEST}" if finished else ""
        raise UserError(
            f"search of {student}: {FAILURES_IN_A_ROW} trials in a row failed, the last with: "
            f"{last}; mend that and call the same command again, which goes on, or, if it comes "
            f"from a range of search.space, change that and delete {folder}{before}"
        )
    if not finished:
        why = (
            f"the last failed: {last}; mend that, delete {folder} and search again"
            if last
            else "the hours were over before one ended; give more --hours"
        )
        raise UserError(
            f"search of {student}: none of {len(oracle.trials)} trials succeeded; {why}"
        )
    return finished[0]


def _say(oracle: SafeOracle, student: str, console: Console) -> None:
    trial = oracle.trials[oracle.end_order[-1]] if oracle.end_order else None
    if trial is None:
        return
    known = trial.score is not None and math.isfinite(trial.score)
    said = f"{oracle.objective.name} {trial.score:.4f}" if known else f"failed: {reason(trial)}"
    best = finished_trials(oracle)[:1]
    so_far = f"; best so far {best[0].score:.4f} (trial {best[0].trial_id})" if best else ""
    console.stage(f"{student} trial {trial.trial_id}", said + so_far)


def _drop_checkpoints(folder: Path) -> None:
    for checkpoint in folder.glob("trial_*/checkpoint.npz"):
        checkpoint.unlink()
