"""Engines that score a page of raw text: one file each, the same two calls.

An engine's module has a function `load(path, threads)`; what it returns has
`score`, `score_pairs` and `close`. Libraries are imported by `load`, so that an engine whose
library is missing costs nothing.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kdmatch.errors import UserError
from kdmatch.serving.threads import set_tokenizer_threads
from kdmatch.serving.versions import latest_version

MODEL_FILES = {"onnx": "model.onnx", "openvino": "model.xml"}
Score = Callable[[Sequence[str], Sequence[str]], np.ndarray]


class Scorer(Protocol):
    """A loaded model.

    Attributes:
        process_id: int. The process that does the work and holds the memory.
    """

    process_id: int

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        """Scores of a query's documents, float32 `(documents,)`, from raw text."""
        ...

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """Scores of pairs `(queries[i], documents[i])`, float32."""
        ...

    def close(self) -> None:
        """Ends what the scorer has started."""
        ...


class Engine(Protocol):
    """A module that loads models."""

    def load(self, path: Path, threads: int | None = None) -> Scorer:
        """Load the model at `path`; `threads` within an operation, its own choice if None."""
        ...


# SavedModels that are measured beside the one that is served, by how `export` makes them: of the
# matcher as it was trained, and with an encoder's products in bfloat16.
SAVED_MODEL_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"graph": "keras"},
    "bfloat16": {"precision": "bfloat16"},
}
# Engines that load such a SavedModel, and which.
VARIANT_OF: Mapping[str, str] = {
    **{name: name for name in SAVED_MODEL_VARIANTS},
    "grpc-bfloat16": "bfloat16",
}


@dataclass(frozen=True)
class EngineEntry:
    """Where an engine is and what it needs.

    Attributes:
        module: its module's full name.
        requires: names of the modules it imports.
        needs: the same as a user installs them.
    """

    module: str
    requires: tuple[str, ...]
    needs: str


ENGINES: Mapping[str, EngineEntry] = {
    "savedmodel": EngineEntry(f"{__name__}.savedmodel", ("tensorflow",), "tensorflow"),
    "grpc": EngineEntry(f"{__name__}.grpc_server", ("tensorflow", "grpc"), "grpcio"),
    "onnxruntime": EngineEntry(
        f"{__name__}.onnxruntime", ("onnxruntime", "tokenizers"), "onnxruntime"
    ),
    "openvino": EngineEntry(f"{__name__}.openvino", ("openvino", "tokenizers"), "openvino"),
    "pytorch": EngineEntry(f"{__name__}.pytorch", ("torch", "tokenizers"), "torch"),
    "plain": EngineEntry(f"{__name__}.savedmodel", ("tensorflow",), "tensorflow"),
    "bfloat16": EngineEntry(f"{__name__}.savedmodel", ("tensorflow",), "tensorflow"),
    "grpc-bfloat16": EngineEntry(f"{__name__}.grpc_server", ("tensorflow", "grpc"), "grpcio"),
}
DEFAULT_ENGINES = tuple(name for name in ENGINES if name not in VARIANT_OF)


def missing(name: str) -> str | None:
    """What an engine lacks here, in words, or None where it can be used.

    Raises:
        UserError: if there is no such engine.
    """
    entry = _entry(name)
    if all(importlib.util.find_spec(module) for module in entry.requires):
        return None
    return f"{entry.needs} is not installed; pip install 'kdmatch[bench]'"


def load(name: str, path: Path, threads: int | None = None) -> Scorer:
    """Load a model with an engine by its name."""
    set_tokenizer_threads(threads)
    engine: Engine = importlib.import_module(_entry(name).module)  # type: ignore[assignment]
    return engine.load(path, threads)


def load_engine(model: Path, threads: int | None = None, precision: str = "float32") -> Score:
    """The model as `score(queries, documents)` → float32 `(rows,)`, its engine told by its files.

    Args:
        model: a SavedModel version's folder, a model's base folder, whose
            latest version is taken, or a folder with `model.onnx` or `model.xml`.
        threads: int. Threads within an operation; the engine's own choice if None.
        precision: `float32` or `bfloat16`, in which OpenVINO computes; for the
            others it was settled by the export.

    Raises:
        UserError: if there is no model, or its engine is not installed.
    """
    for name, format_name in (("onnxruntime", "onnx"), ("openvino", "openvino")):
        path = model / MODEL_FILES[format_name]
        if path.is_file():
            if lacks := missing(name):
                raise UserError(f"{model}: {lacks}")
            if name == "openvino":
                from kdmatch.serving.engines.openvino import OpenVinoScorer

                set_tokenizer_threads(threads)
                return OpenVinoScorer(path, threads, precision).score_pairs
            return load(name, path, threads).score_pairs
    return load("savedmodel", version_folder(model), threads).score_pairs


def version_folder(model: Path) -> Path:
    """A version's folder as it is, or the latest version of a model's base folder.

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


def _entry(name: str) -> EngineEntry:
    if name not in ENGINES:
        raise UserError(f"engine {name!r} is unknown; choose among {', '.join(ENGINES)}")
    return ENGINES[name]
