"""The thread pools of TensorFlow and of Hugging Face's tokenizers."""

import logging
import os
from typing import Any

log = logging.getLogger(__name__)


def set_threads(intra_op: int | None, inter_op: int | None) -> None:
    """Set the sizes of this process's pools; None leaves one as it is.

    TensorFlow reads them once: after its first operation they stay, which is
    logged.

    Args:
        intra_op: int. Threads that share one operation.
        inter_op: int. Operations that run side by side; -1 runs them all in the
            thread that asks, and hands nothing over.
    """
    if intra_op is None and inter_op is None:
        return
    import tensorflow as tf

    try:
        if intra_op is not None:
            tf.config.threading.set_intra_op_parallelism_threads(intra_op)
        if inter_op is not None:
            tf.config.threading.set_inter_op_parallelism_threads(inter_op)
    except RuntimeError:
        log.warning("TensorFlow runs already in this process; its threads stay as they are")


def session_config() -> Any:
    """A `ConfigProto` with the sizes that `set_threads` has set for this process."""
    import tensorflow as tf

    threads = tf.config.threading
    return tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=threads.get_inter_op_parallelism_threads(),
    )


def inter_op_of(threads: int | None) -> int | None:
    """`inter_op` for so many threads in all: of one, it is the thread that asks."""
    return -1 if threads == 1 else threads


def set_tokenizer_threads(threads: int | None) -> None:
    """Set the size of the pool of Hugging Face's tokenizers; None leaves it as it is.

    They read it once, when they first cut several texts in this process.

    Args:
        threads: int. Threads that share the texts of a call.
    """
    if threads is not None:
        os.environ["RAYON_NUM_THREADS"] = str(threads)
