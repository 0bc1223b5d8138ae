"""TensorFlow's two thread pools."""

import logging

log = logging.getLogger(__name__)


def set_threads(intra_op: int | None, inter_op: int | None) -> None:
    """Set the sizes of this process's pools; None leaves one as it is.

    TensorFlow reads them once: after its first operation they stay, which is
    logged.

    Args:
        intra_op: int. Threads that share one operation.
        inter_op: int. Operations that run side by side.
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
