"""OpenVINO on the CPU, tokenization by Hugging Face tokenizers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.serving.engines.pair_tokenizer import load_pair_tokenizer


class OpenVinoScorer:
    """`model.xml` with its weights and tokenizer beside it.

    It is compiled for latency; on CPUs that have bf16 OpenVINO calculates in
    it unless told otherwise, as a user of it would find.

    Args:
        path: the model's file.
        threads: int. Threads of an inference; every core if None.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import openvino

        self.process_id = os.getpid()
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._tokenizer = load_pair_tokenizer(path.parent)
        self._model = openvino.Core().compile_model(str(path), "CPU", settings)
        self._request = self._model.create_infer_request()
        self._inputs = [
            (one.get_any_name(), one.get_element_type().to_dtype()) for one in self._model.inputs
        ]

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        ids = self._tokenizer(query, documents)
        wanted = {name: ids[name].astype(kind, copy=False) for name, kind in self._inputs}
        return np.ravel(self._request.infer(wanted)[0]).copy()

    def close(self) -> None:
        del self._request, self._model


def load(path: Path, threads: int | None = None) -> OpenVinoScorer:
    """Load a `model.xml`."""
    return OpenVinoScorer(path, threads)
