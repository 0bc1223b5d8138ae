"""OpenVINO on the CPU, tokenization by Hugging Face tokenizers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.serving.tokenizer import PairTokenizer


class OpenVinoScorer:
    """`model.xml` with its weights and tokenizer beside it.

    It is compiled for latency. On CPUs that have bf16 OpenVINO calculates in it
    of its own accord.

    Args:
        path: the model's file.
        threads: int. Threads of an inference; every core if None.
        precision: `float32` or `bfloat16`; OpenVINO's own choice if None.
    """

    def __init__(
        self, path: Path, threads: int | None = None, precision: str | None = None
    ) -> None:
        import openvino

        self.process_id = os.getpid()
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        if precision is not None:
            hints = {"float32": "f32", "bfloat16": "bf16"}
            settings["INFERENCE_PRECISION_HINT"] = hints[precision]
        self._tokenizer = PairTokenizer(path.parent)
        self._model = openvino.Core().compile_model(str(path), "CPU", settings)
        self._request = self._model.create_infer_request()
        self._inputs = [
            (one.get_any_name(), one.get_element_type().to_dtype()) for one in self._model.inputs
        ]

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        return self.score_pairs([query] * len(documents), documents)

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        ids = self._tokenizer(queries, documents)
        wanted = {name: ids[name].astype(kind, copy=False) for name, kind in self._inputs}
        return np.ravel(self._request.infer(wanted)[0]).copy()

    def close(self) -> None:
        del self._request, self._model


def load(path: Path, threads: int | None = None) -> OpenVinoScorer:
    """Load a `model.xml`."""
    return OpenVinoScorer(path, threads)
