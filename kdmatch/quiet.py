"""TensorFlow without the lines that tell a user nothing."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


def import_tensorflow_quietly() -> None:
    """Import TensorFlow and what it brings, its C++ start-up log lines left out.

    They are written before TensorFlow reads its own log level, straight to the
    process's standard error, so only that can be turned away, and only while
    the import lasts. Without TensorFlow installed this does nothing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with contextlib.suppress(ImportError):
            import tensorflow_text  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """TensorFlow's own warnings left out for a while, such as that a function is an old one."""
    tensorflow = logging.getLogger("tensorflow")
    level = tensorflow.level
    tensorflow.setLevel(logging.ERROR)
    try:
        yield
    finally:
        tensorflow.setLevel(level)
