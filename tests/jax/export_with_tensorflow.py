"""Run by test_without_tensorflow.py: load what JAX trained, score it, export it, score that."""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import kdmatch
from kdmatch.models.registry import load_matcher
from kdmatch.text.wordpiece import WordPieceEncoder
from kdmatch.text.words import WordEncoder


def main(folder: Path) -> None:
    assert keras.backend.backend() == "tensorflow"
    wordpieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(35))]
    words = ["[PAD]", "\ufffd", *(f"w{n}" for n in range(38))]
    encoders = {"albert": WordPieceEncoder(wordpieces), "textcnn": WordEncoder(words)}
    scores = {}
    for name, encoder in encoders.items():
        student = load_matcher(folder / name)
        with np.load(folder / f"{name}.npz") as arrays:
            inputs = {key: arrays[key] for key in arrays.files if key != "scores"}
        scores[f"{name}/keras"] = student.predict(inputs, verbose=0)
        version = kdmatch.export(student, encoder, folder / "export" / name)
        tokens = tf.saved_model.load(str(version)).signatures["tokens"]
        tensors = {key: tf.constant(ids) for key, ids in inputs.items()}
        scores[f"{name}/savedmodel"] = tokens(**tensors)["score"].numpy()
    np.savez(folder / "scores.npz", **scores)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
