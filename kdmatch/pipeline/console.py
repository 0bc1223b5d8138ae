"""What a run says while it works."""

import contextlib
import sys
from collections.abc import Callable, Iterator

import rich.console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Console:
    """Stage lines and progress bars with the time left; plain lines where no one watches.

    Args:
        quiet: bool. Say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.rich = rich.console.Console(quiet=quiet)
        self._watched = sys.stdout.isatty() and not quiet
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            console=self.rich,
            transient=True,
            disable=not self._watched,
        )

    def stage(self, name: str, message: str) -> None:
        """One line about a stage; what looks like markup, as queries may, is text."""
        self.rich.print(Text.assemble((name, "bold"), f"  {message}"), highlight=False)

    @contextlib.contextmanager
    def working(self, name: str) -> Iterator[None]:
        """A pulsing bar with the time gone, for work whose end is not known."""
        with self._bar(name, None):
            yield

    @contextlib.contextmanager
    def progress(self, name: str, total: int) -> Iterator[Callable[[int, str], None]]:
        """A bar of `total` steps; yields a callable of (steps done, message).

        Where no one watches, each new message is a line instead.
        """
        said = ""
        with self._bar(name, total) as update:

            def advance(done: int, message: str) -> None:
                nonlocal said
                update(done, message)
                if message and message != said and not self._watched:
                    said = message
                    self.stage(name, f"step {done} of {total}, {message}")

            yield advance

    @contextlib.contextmanager
    def _bar(self, name: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
        self._bars.start()  # shown until the last of them is gone
        task = self._bars.add_task(name, total=total, message="")
        try:
            yield lambda done, message: self._bars.update(task, completed=done, message=message)
        finally:
            self._bars.remove_task(task)
            if not self._bars.tasks:
                self._bars.stop()
