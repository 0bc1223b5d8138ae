"""An exported model as one callable in this process, whichever engine runs it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.errors import UserError
from kdmatch.serving.tokenizer import PairTokenizer
from kdmatch.serving.versions import latest_version

MODEL_FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
Score = Callable[[Sequence[str], Sequence[str]], np.ndarray]


def load_engine(model: Path, threads: int | None = None, precision: str = "float32") -> Score:
    """The model as `score(queries, documents)` → float32 `(rows,)`.

    Args:
        model: a SavedModel version's folder, a model's base folder, whose
            latest version is taken, or a folder that `--format` wrote.
        threads: int. Threads of ONNX Runtime or OpenVINO; None leaves it to
            them. TensorFlow's are set once in a process, so not here.
        precision: str. "float32" or "bfloat16", in which OpenVINO computes;
            for the others it was settled by the export.

    Raises:
        UserError: if there is no model, or its engine is not installed.
    """
    try:
        if (model / MODEL_FILES["onnx"]).is_file():
            return _onnx(model, threads)
        if (model / MODEL_FILES["openvino"]).is_file():
            return _openvino(model, threads, precision)
    except ImportError as error:
        raise UserError(
            f"{model}: needs the package {error.name}; pip install 'kdmatch[bench]'"
        ) from error
    return _saved_model(version_folder(model))


def version_folder(model: Path) -> Path:
    """The SavedModel meant by a version's folder or a model's base folder.

    Raises:
        UserError: if there is none.
    """
    if (model / "saved_model.pb").is_file():
        return model
    latest = latest_version(model) if model.is_dir() else None
    if latest is None:
        raise UserError(
            f"{model}: no exported model here; give a version's folder or its base, "
            "for example RUN/export/albert"
        )
    return model / str(latest)


def _saved_model(version: Path) -> Score:
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  registers its ops

    loaded = tf.saved_model.load(str(version))
    # A signature alone does not keep what it was loaded with.
    return partial(_call_signature, loaded, loaded.signatures["serving_default"])


def _call_signature(
    _loaded: Any, signature: Any, queries: Sequence[str], documents: Sequence[str]
) -> np.ndarray:
    import tensorflow as tf

    query, document = (tf.constant(list(side), tf.string) for side in (queries, documents))
    return signature(query=query, document=document)["score"].numpy()


def _onnx(folder: Path, threads: int | None) -> Score:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(
        str(folder / MODEL_FILES["onnx"]), options, providers=["CPUExecutionProvider"]
    )
    return _with_tokenizer(folder, lambda ids: session.run(None, ids)[0])


def _openvino(folder: Path, threads: int | None, precision: str) -> Score:
    import openvino

    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    compiled = core.compile_model(str(folder / MODEL_FILES["openvino"]), "CPU", options)
    return _with_tokenizer(folder, lambda ids: compiled(ids)[0])


def _with_tokenizer(folder: Path, run: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Score:
    tokenizer = PairTokenizer(folder)

    def score(queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        return np.reshape(run(tokenizer(queries, documents)), -1)

    return score
