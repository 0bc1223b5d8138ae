"""A matcher's weights and tokenizer in a folder that needs no Keras to read."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.serving.tokenizer import write_tokenizer


def export_torch(matcher: Any, encoder: Any, folder: Path) -> Path:
    """Write `model.safetensors`, `model.json` and the tokenizer.

    Args:
        matcher: one of this package's matchers.
        encoder: the PairEncoder that made its training ids.
        folder: where to; it is made.

    Returns:
        the path of `model.safetensors`, whose tensors are named as the
        matcher's variables.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(encoder, folder)
    config = {"kind": matcher.kind, "config": matcher.get_config()}
    (folder / "model.json").write_text(json.dumps(config, indent=2), "utf-8")
    weights = {
        variable.path: np.asarray(variable.value, np.float32)
        for variable in matcher.variables
        if "seed_generator" not in variable.path
    }
    partial = folder / "partial.safetensors"
    save_file(weights, partial)
    return partial.replace(folder / "model.safetensors")
