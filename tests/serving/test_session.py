"""A SavedModel in a session of its own, and the threads that it runs in."""

import subprocess
import sys
import weakref

import grpc
import numpy as np
import pytest
import tensorflow as tf

from kdmatch.serving.servable import Servable
from kdmatch.serving.servables import Servables
from kdmatch.serving.session import SavedModelSession
from kdmatch.serving.tensors import RequestError
from kdmatch.serving.versions import new_version

QUERIES, DOCUMENTS = ["a", "质量", ""], ["long document", "", "文档"]

# How much of the work a thread does that asks for it, by the processor time of both.
SHARE = """
import sys, time
from pathlib import Path
from kdmatch.serving.engines import load
scorer = load("savedmodel", Path(sys.argv[1]), 1)
page = ["word " * 50] * 20_000
scorer.score("query", page)
mine, all = time.thread_time(), time.process_time()
for _ in range(20):
    scorer.score("query", page)
print((time.thread_time() - mine) / (time.process_time() - all))
"""


def test_scores_are_those_of_tensorflows_own_loader(saved_model):
    found = SavedModelSession(saved_model).score(QUERIES, DOCUMENTS)
    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    wanted = signature(query=tf.constant(QUERIES), document=tf.constant(DOCUMENTS))["score"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted.numpy())


def test_of_one_thread_it_is_the_one_that_asks(saved_model):
    command = [sys.executable, "-c", SHARE, str(saved_model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0.97


def test_the_initialiser_is_no_signature_to_ask_for(saved_model):
    servable = Servable("model", 1, saved_model)
    assert "__saved_model_init_op" in servable.signature_defs
    with pytest.raises(RequestError, match='key "__saved_model_init_op" not found') as error:
        servable.predict("__saved_model_init_op", {})
    assert error.value.code == grpc.StatusCode.FAILED_PRECONDITION


def test_a_version_that_is_dropped_leaves_memory(save_model, tmp_path):
    with new_version(tmp_path / "model") as directory:
        save_model(directory)
    servables = Servables(tmp_path)
    servables.scan()
    [version] = servables._served["model"].versions.values()
    graph = weakref.ref(version.servable._session._session.graph)
    del version
    with new_version(tmp_path / "model") as directory:
        save_model(directory)
    servables.scan()
    assert servables.versions("model") == [2]
    assert graph() is None
