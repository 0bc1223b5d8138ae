"""Exports for ONNX Runtime and OpenVINO: ids in, scores out, a tokenizer beside."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdmatch.errors import UserError
from kdmatch.serving.engines import MODEL_FILES
from kdmatch.serving.tokenizer import write_tokenizer
from kdmatch.serving.versions import hidden_folder


def export_format(matcher: keras.Model, encoder: Any, base: str | Path, format: str) -> Path:
    """Write `<base>/<format>/`, by Keras's own exporter; what was there is replaced.

    The folder holds `model.onnx`, or `model.xml` and `model.bin`, whose inputs
    are those of the signature `tokens` and whose one output is the score;
    `tokenizer.json`, and the encoder's own files. TF Serving passes it over.

    Args:
        matcher: Functional matcher on the TensorFlow backend.
        encoder: PairEncoder that made the matcher's training ids.
        base: folder of the model.
        format: str. "onnx" or "openvino".

    Returns:
        the folder.

    Raises:
        UserError: if the format is unknown or its package is not installed.
    """
    if format not in MODEL_FILES:
        raise UserError(
            f"format {format!r} is unknown; choose one of savedmodel, {', '.join(MODEL_FILES)}"
        )
    base = Path(base)
    target = base / format
    with hidden_folder(base, format) as folder, hidden_folder(base, "former") as former:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                {"onnx": _export_onnx, "openvino": _export_openvino}[format](
                    matcher, folder / MODEL_FILES[format]
                )
        except ImportError as error:
            raise UserError(
                f"format {format} needs the package {error.name}; pip install 'kdmatch[bench]'"
            ) from error
        write_tokenizer(encoder, folder)
        if target.exists():
            target.rename(former / format)
        folder.rename(target)
    return target


def _export_onnx(matcher: keras.Model, path: Path) -> None:
    # Keras imports its exporter's package late and by attribute, which hides that it is missing.
    import tf2onnx  # noqa: F401

    # It exports what the model was last called with, and a loaded one was never called.
    matcher({name: np.ones((1, 2), np.int32) for name in matcher.input})
    matcher.export(str(path), format="onnx", verbose=False)


def _export_openvino(matcher: keras.Model, path: Path) -> None:
    import openvino

    # Weights are mapped from the file that is read, so it cannot be the one that is written.
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / path.name
        matcher.export(str(raw), format="openvino", verbose=False)
        model = openvino.Core().read_model(raw)
        # KerasHub's own pooler comes along as further outputs.
        for result in model.get_results()[1:]:
            model.remove_result(result)
        model.outputs[0].get_tensor().set_names({"score"})
        openvino.save_model(model, path, compress_to_fp16=False)
        del model
