"""ONNX Runtime on the CPU, tokenization by Hugging Face tokenizers."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdmatch.serving.tokenizer import PairTokenizer


class OnnxScorer:
    """`model.onnx` and the tokenizer beside it.

    Args:
        path: the model's file.
        threads: int. Threads within an operation; a physical core each if None.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        self.process_id = os.getpid()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._tokenizer = PairTokenizer(path.parent)
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {one.name: one.type for one in self._session.get_inputs()}

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        return self.score_pairs([query] * len(documents), documents)

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        ids = self._tokenizer(queries, documents)
        wide = {
            name: ids[name].astype(np.int64) if "int64" in kind else ids[name]
            for name, kind in self._inputs.items()
        }
        return np.ravel(self._session.run(None, wide)[0])

    def close(self) -> None:
        del self._session


def load(path: Path, threads: int | None = None) -> OnnxScorer:
    """Load a `model.onnx`."""
    return OnnxScorer(path, threads)
