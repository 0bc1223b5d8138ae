"""Processes that are started to work for this one."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process end when that which spawned it does, however that ends.

    `daemon=True` alone covers an orderly end; a parent that is killed tells nobody.

    Raises:
        RuntimeError: if no other process spawned this one by `multiprocessing`.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("end_with_parent: this process was not spawned by another")

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
