"""`kdmatch search`: from a config to the best hyperparameters of each student."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from kdmatch.errors import UserError
from kdmatch.evaluation.report import write_report
from kdmatch.evaluation.search_report import write_search_report
from kdmatch.pipeline.config import Config
from kdmatch.pipeline.config_loader import dump_config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run import prepare_students
from kdmatch.pipeline.run_directory import alone, read_json, write_json
from kdmatch.pipeline.work import Run
from kdmatch.search.chief import serve, worker_command
from kdmatch.search.oracles import FAILURES_IN_A_ROW, SafeOracle, make_oracle
from kdmatch.search.record import BEST, finished_trials, reason, write_record
from kdmatch.search.space import Parameter, hyperparameters, space_of
from kdmatch.search.study import Study
from kdmatch.search.trial import TrialTrainer
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
        verify: int. So many of the best trials are trained on all rows.

    Returns:
        `{student: {"trials", "best", "value", "first", "file", "verify"}}`.

    Raises:
        UserError: if data, config, a budget or a port is at fault, or no trial
            of a student succeeds.
    """
    names = list(students) or list(config.students)
    for name in names:
        if name not in config.students:
            raise UserError(f"--student {name!r}: this config has {', '.join(config.students)}")
    spaces = {name: space_of(config, name) for name in names}  # mistakes are said at once
    work = prepare_students(config, root, console)
    work.jobs = workers
    found = {}
    for name in names:
        folder = root / "search" / name
        folder.mkdir(parents=True, exist_ok=True)
        taken = (
            f"{folder}: another process searches here already; to add workers to it, begin it "
            "with --listen HOST:PORT and call this with --join HOST:PORT"
        )
        with alone(FileLock(folder / ".lock"), taken):
            found[name] = _search_student(work, config, name, spaces[name], workers, listen, verify)
        console.stage("report", str(write_search_report(root, root / "search" / "report.html")))
    if (root / "metrics.json").exists():
        write_report([root], root / "report.html")
    return found


def _search_student(
    work: Run,
    config: Config,
    student: str,
    space: list[Parameter],
    workers: int,
    listen: tuple[str, int] | None,
    verify: int,
) -> dict[str, Any]:
    root, console = work.root, work.console
    study = Study.of(config, root, student)
    study.claim()
    folder = study.folder

    def ended() -> None:
        write_record(oracle, folder, config, student, space)
        _say(oracle, student, console)

    oracle = make_oracle(config.search, hyperparameters(space, study.label), ended)
    alone = workers == 1 and listen is None
    trainer = TrialTrainer(config, student, space, root)
    (folder / "queries.txt").write_text("\n".join(trainer.queries) + "\n", encoding="utf-8")
    tuner = StudentTuner(oracle, trainer, folder, console)
    oracle.save()
    tuner.save()
    if alone:
        tuner.search()
    else:
        settings = folder / "config.yaml"
        settings.write_text(dump_config(config), encoding="utf-8")
        command = worker_command(settings, root)
        serve(oracle, listen or ("127.0.0.1", 0), command, workers, folder, console)
    oracle.save()
    write_record(oracle, folder, config, student, space)
    _drop_checkpoints(folder)
    best = _best(oracle, student, folder)
    rows = verify_top(work, oracle, student, space, verify) if verify else []
    first = oracle.trials[oracle.start_order[0]]
    result = {
        "trials": len(oracle.trials),
        "best": best.trial_id,
        "value": best.score,
        "first": first.score,
        "seconds": round(oracle.spent, 1),
        "file": str(folder / BEST),
        "verify": rows,
    }
    search_file = folder / "search.json"
    write_json(search_file, {**read_json(search_file), "result": result})
    console.stage("search", f"{student}: best is trial {best.trial_id}; {folder / BEST}")
    return result


def _best(oracle: SafeOracle, student: str, folder: Path) -> Any:
    finished = finished_trials(oracle)
    last = reason(oracle.trials[oracle.end_order[-1]]) if oracle.end_order else ""
    if not finished:
        why = f"the last failed: {last}" if last else "the hours were over before one ended"
        raise UserError(
            f"search of {student}: none of {len(oracle.trials)} trials succeeded; {why}"
        )
    if oracle.gave_up:
        raise UserError(
            f"search of {student}: {FAILURES_IN_A_ROW} trials in a row failed, the last with: "
            f"{last}; the best before them is in {folder / BEST}"
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
