"""Calls in worker processes, each on its share of the cores.

A small model's training does not fill many cores: two of them side by side,
each on one core, do more steps a second than one after the other on both.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from kdmatch.errors import UserError
from kdmatch.pipeline.console import Console
from kdmatch.processes import end_with_parent
from kdmatch.quiet import import_tensorflow_quietly

MOST_JOBS = 4

Calls = Mapping[str, Callable[[Console], Any]]


def side_by_side(calls: Calls, jobs: int, console: Console) -> Iterator[tuple[str, Any]]:
    """Call each in one of `jobs` processes; yields name and result as they come.

    A worker ends with this process, however that ends. Once a call has raised
    none begins: those under way are waited for and yielded, then the exception
    is raised here.

    Args:
        calls: name to a callable that can be pickled, of a Console of its own: what
            it says there `console` shows here.
        jobs: int. Processes at most.
        console: Console.

    Raises:
        UserError: if a worker was killed.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    jobs = min(jobs, len(calls))
    events, shares = context.Queue(), context.Queue()
    for share in shares_of_cores(jobs):
        shares.put(share)
    waiting = list(calls.items())
    under_way: dict[Future[Any], str] = {}
    failure: BaseException | None = None
    with (
        _shown(events, console),
        ProcessPoolExecutor(jobs, context, _start_worker, (events, shares)) as pool,
    ):
        while under_way or (waiting and failure is None):
            while waiting and failure is None and len(under_way) < jobs:
                name, call = waiting.pop(0)
                under_way[pool.submit(_call, call)] = name
            names = ", ".join(under_way.values())
            for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                name, error = under_way.pop(done), done.exception()
                if error is None:
                    yield name, done.result()
                elif isinstance(error, BrokenProcessPool):
                    failure = failure or UserError(
                        f"a process that did one of {names} was killed, most likely for want of "
                        "memory; call the same command again with a smaller --jobs: what is done "
                        "is kept"
                    )
                else:
                    failure = failure or error
    if failure is not None:
        raise failure


def shares_of_cores(jobs: int) -> list[list[int]]:
    """This process's cores dealt out to `jobs` processes, at least one to each."""
    cores = _cores()
    return [cores[i::jobs] or [cores[i % len(cores)]] for i in range(jobs)]


def default_jobs() -> int:
    """One for each core up to `MOST_JOBS`; one where Keras has a GPU or TPU, which one fills."""
    import keras

    if any(not device.startswith("cpu") for device in keras.distribution.list_devices()):
        return 1
    return min(len(_cores()), MOST_JOBS)


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class _Relay(Console):
    """A worker's console: what it is told, the parent's says."""

    def __init__(self, say: Callable[[tuple[Any, ...]], None]) -> None:
        super().__init__(quiet=True)
        self._say = say

    def stage(self, name: str, message: str) -> None:
        self._say(("stage", name, message))

    @contextlib.contextmanager
    def progress(self, name: str, total: int) -> Iterator[Callable[[int, str], None]]:
        self._say(("begin", name, total))
        try:
            yield lambda done, message: self._say(("advance", name, done, message))
        finally:
            self._say(("end", name))


@contextlib.contextmanager
def _shown(events: Any, console: Console) -> Iterator[None]:
    """Show what workers say for as long as the context lasts."""

    def listen() -> None:
        bars: dict[str, tuple[contextlib.ExitStack, Callable[[int, str], None]]] = {}
        for kind, *said in iter(events.get, None):
            if kind == "stage":
                console.stage(*said)
            elif kind == "begin":
                stack = contextlib.ExitStack()
                bars[said[0]] = stack, stack.enter_context(console.progress(*said))
            elif kind == "advance":
                bars[said[0]][1](*said[1:])
            else:
                bars.pop(said[0])[0].close()
        for stack, _ in bars.values():
            stack.close()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        # A worker that was killed while it spoke keeps the queue's lock for ever.
        events.cancel_join_thread()
        events.put(None)
        listener.join(timeout=10)


_relay: _Relay


def _start_worker(events: Any, shares: Any) -> None:
    global _relay
    end_with_parent()
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))  # the parent says what is to be said
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, shares.get())
    import_tensorflow_quietly()
    _relay = _Relay(events.put)


def _call(call: Callable[[Console], Any]) -> Any:
    return call(_relay)
