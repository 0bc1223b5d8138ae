"""What has to be let go after a trial, so that a search of many does not grow."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def traced_gradients_forgotten() -> Iterator[None]:
    """Let go of the graphs that were traced inside.

    TensorFlow registers every custom gradient that it traces by a name of its
    own and never forgets it, and with it its graph and the weights that this
    captured; Keras' optimizer makes one in each training, to sum gradients
    over replicas. There is no public way to take one back.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        for name in set(registered) - before:
            if name.startswith("CustomGradient-"):
                del registered[name]
