"""A config being carried out in a directory: what all stages are given."""

from dataclasses import dataclass
from pathlib import Path

from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import check_corpus, source_hashes
from kdmatch.pipeline.model_checks import check_models
from kdmatch.pipeline.run_directory import RunDirectory

LABELS_ONLY = {"alpha": 0.0, "beta": 1.0, "gamma": 0.0, "scaling": "none"}


@dataclass
class Run:
    """A config being carried out in a directory.

    Attributes:
        config: Config.
        root: Path of the run directory.
        console: Console for progress.
        directory: RunDirectory over `root`.
        sources: content hashes of the source files, by their field in `data`.
        jobs: students trained at a time.
    """

    config: Config
    root: Path
    console: Console
    directory: RunDirectory
    sources: dict[str, list[str]]
    jobs: int = 1


def open_run(config: Config, root: Path, console: Console, until: str = "") -> Run:
    """The run of a config in a directory, made if missing; nothing is done yet."""
    check_models(config)
    check_corpus(config.data)
    sources = source_hashes(config.data)  # a missing file is said before anything is written
    root.mkdir(parents=True, exist_ok=True)
    return Run(config, root, console, RunDirectory(root, console, until), sources)
