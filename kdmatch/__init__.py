"""kdmatch: query-document rankers distilled until they are small enough to serve.

The names below are loaded on first use, so that `import kdmatch` is cheap and
needs neither TensorFlow nor a GPU.
"""

import importlib
from typing import Any

__version__ = "0.3.1"

_HOMES = {
    "AlbertMatcher": "kdmatch.models.albert",
    "AsyncClient": "kdmatch.serving.client",
    "BertMatcher": "kdmatch.models.bert",
    "Client": "kdmatch.serving.client",
    "CnnAttentionMatcher": "kdmatch.models.textcnn",
    "Distiller": "kdmatch.distillation.distiller",
    "RunData": "kdmatch.pipeline.run_data",
    "TextCnnMatcher": "kdmatch.models.textcnn",
    "UserError": "kdmatch.errors",
    "build_triples": "kdmatch.data.triples",
    "export": "kdmatch.serving.export",
    "load_model": "kdmatch.loading",
    "read": "kdmatch.data.readers",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kdmatch' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
