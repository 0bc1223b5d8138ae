"""A small SavedModel to serve: strings in, a score in (-1, 1) out."""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

# All but the versions need TensorFlow; an environment without it has the rest.
if find_spec("tensorflow") is None:
    collect_ignore = ["matchers.py"] + [
        f"test_{name}.py"
        for name in (
            "bench",
            "client",
            "configs",
            "export",
            "formats",
            "gate",
            "graph",
            "hostile",
            "labels",
            "load",
            "ops",
            "server",
            "server_life",
            "session",
            "warmup",
        )
    ]


@pytest.fixture(scope="session")
def save_model() -> Callable[..., Path]:
    """Saves a model whose score is `tanh((bias + length of query - of document) / 100)`."""
    import tensorflow as tf

    class Matcher(tf.Module):
        def __init__(self, bias: float):
            super().__init__()
            self.bias = tf.Variable(bias)

        def score(self, query, document):
            tf.debugging.assert_equal(tf.shape(query), tf.shape(document))
            lengths = tf.strings.length(query) - tf.strings.length(document)
            return {"score": tf.tanh((self.bias + tf.cast(lengths, tf.float32)) / 100.0)}

    def save(directory: Path, bias: float = 0.0) -> Path:
        matcher = Matcher(bias)
        function = tf.function(matcher.score)
        signature = function.get_concrete_function(
            query=tf.TensorSpec([None], tf.string, name="query"),
            document=tf.TensorSpec([None], tf.string, name="document"),
        )
        tf.saved_model.save(matcher, str(directory), {"serving_default": signature})
        return directory

    return save


@pytest.fixture(scope="session")
def saved_model(save_model, tmp_path_factory) -> Path:
    """One saved model, to be read or copied, not changed."""
    return save_model(tmp_path_factory.mktemp("model") / "saved")


@pytest.fixture(scope="module")
def base(saved_model, tmp_path_factory) -> Path:
    """A folder of two models, one of them with two versions."""
    base = tmp_path_factory.mktemp("served")
    shutil.copytree(saved_model, base / "tiny" / "3")
    shutil.copytree(saved_model, base / "tiny" / "2")
    shutil.copytree(saved_model, base / "other" / "1")
    return base


@pytest.fixture(scope="module")
def server(base):
    """A local server of it."""
    from kdmatch.serving.server import LocalServer

    with LocalServer(base, port=0, poll_seconds=0) as server:
        yield server
