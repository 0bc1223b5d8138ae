from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_text as text

from kdmatch.errors import UserError
from kdmatch.serving.ops import ALLOWED_TEXT_OPS, check_ops, graph_ops


def save(function, directory: Path) -> Path:
    module = tf.Module()
    module.function = tf.function(
        function, input_signature=[tf.TensorSpec([None], tf.string, name="query")]
    )
    tf.saved_model.save(module, str(directory), {"serving_default": module.function})
    return directory


def test_operations_inside_functions_are_counted(saved_model):
    counted = graph_ops(saved_model)
    assert counted["StringLength"] == 2
    assert counted["Tanh"] == 1
    assert not any("inference" in name for name in counted)


def test_tensorflow_alone_is_admitted(saved_model):
    check_ops(saved_model)


def test_wordpiece_is_admitted(tmp_path):
    tokenizer = text.FastWordpieceTokenizer(["a", "##b", "[UNK]"], token_out_type=tf.int32)

    def tokenize(query):
        normal = text.case_fold_utf8(text.normalize_utf8(query))
        return {"ids": tokenizer.tokenize(normal).to_tensor()}

    path = save(tokenize, tmp_path / "m")
    counted = graph_ops(path)
    assert counted["FastWordpieceTokenizeWithOffsets"] == 1
    assert counted["CaseFoldUTF8"] == 1
    check_ops(path)


def test_round_robin_trimmer_is_refused_by_name(tmp_path):
    def pack(query):
        ids = text.WhitespaceTokenizer().tokenize(query)
        first, second = text.RoundRobinTrimmer(8).trim([ids, ids])
        return {"ids": tf.concat([first, second], axis=1).to_tensor()}

    with pytest.raises(UserError, match="TFText>RoundRobinTrim"):
        check_ops(save(pack, tmp_path / "m"))


def test_jit_is_refused(tmp_path):
    compiled = tf.function(lambda x: x * 2.0, jit_compile=True)
    path = save(
        lambda query: {"score": compiled(tf.ones_like(query, dtype=tf.float32))}, tmp_path / "m"
    )
    with pytest.raises(UserError, match="must be compiled by XLA"):
        check_ops(path)


def test_python_callback_is_refused(tmp_path):
    def call(query):
        return {"out": tf.numpy_function(lambda q: q, [query], tf.string)}

    with pytest.raises(UserError, match="PyFunc"):
        check_ops(save(call, tmp_path / "m"))


def test_the_list_holds_registered_operations_and_none_that_came_later():
    from tensorflow.python.framework import op_def_registry

    assert all(op_def_registry.get(op) is not None for op in ALLOWED_TEXT_OPS)
    assert not any(hasattr(tf.raw_ops, op) for op in ALLOWED_TEXT_OPS)
    assert not any("RoundRobin" in op or "Utf8Binarize" in op for op in ALLOWED_TEXT_OPS)


def test_a_directory_without_a_model_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"saved_model\.pb: cannot be read"):
        check_ops(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"not a proto")
    with pytest.raises(UserError, match="not a SavedModel"):
        check_ops(tmp_path)
