"""PyTorch on the CPU, in float32, tokenization by Hugging Face tokenizers."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdmatch.serving.tokenizer import PairTokenizer


class TorchScorer:
    """`model.safetensors` with its config and tokenizer beside it.

    Args:
        path: the weights' file, as `export_torch` writes it.
        threads: int. Threads within an operation; a core each if None.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import torch
        from safetensors.torch import load_file

        from kdmatch.serving.engines.torch_models import build

        self.process_id = os.getpid()
        if threads is not None:
            torch.set_num_threads(threads)
        saved = json.loads((path.parent / "model.json").read_text("utf-8"))
        self._torch = torch
        self._model = build(saved["kind"], saved["config"], load_file(path)).eval()
        self._tokenizer = PairTokenizer(path.parent)

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        return self.score_pairs([query] * len(documents), documents)

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        ids = self._tokenizer(queries, documents)
        with self._torch.inference_mode():
            tensors = {name: self._torch.from_numpy(one) for name, one in ids.items()}
            return self._model(tensors).numpy()

    def close(self) -> None:
        del self._model


def load(path: Path, threads: int | None = None) -> TorchScorer:
    """Load a `model.safetensors`."""
    return TorchScorer(path, threads)
