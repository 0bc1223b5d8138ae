"""What a run says while it works."""

import contextlib
import sys
from collections.abc import Callable, Iterator

import rich.console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Console:
    """Stage lines and progress bars with the time left; plain lines where no one watches.

    Args:
        quiet: bool. Say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self.rich = rich.console.Console(quiet=quiet, stderr=False)

    def stage(self, name: str, message: str) -> None:
        """One line about a stage."""
        self.rich.print(f"[bold]{name}[/bold]  {message}", highlight=False)

    @contextlib.contextmanager
    def progress(self, name: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A bar of `total` steps; yields a callable of (steps done, message)."""
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}"),
            console=self.rich,
            transient=True,
            disable=self._quiet or not sys.stdout.isatty(),
        )
        with bar:
            task = bar.add_task(name, total=total, message="")

            def advance(done: int, message: str) -> None:
                bar.update(task, completed=done, message=message)

            yield advance
