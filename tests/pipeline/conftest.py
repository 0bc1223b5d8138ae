"""A finished tiny run, made once, on generated data."""

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("tensorflow_text")


def tiny_config(folder: Path) -> dict[str, Any]:
    """Every stage and every model, each as small as it can be."""
    from kdmatch.data.quickstart import generate

    files = generate(folder / "data", queries=60, seed=3)

    def training(steps: int) -> dict[str, Any]:
        # Of the recipes' own, nothing that takes time or blurs what 20 steps have done.
        return {"average": 0.0, "precision": "float32", "patience": 6} | {
            "steps": steps,
            "validate_every": 10,
            "learning_rate": 2e-3,
            "batch_size": 32,
        }

    return {
        "name": "tiny",
        "seeds": [0],
        "data": {name: str(files[name]) for name in ("train", "valid", "test")}
        | {"unlabelled": [str(files["unlabelled"])], "positive_threshold": 2},
        "text": {
            "language": "en",
            "wordpiece": {"max_query_tokens": 12, "max_tokens": 32},
            "words": {"dimension": 16, "epochs": 1},
        },
        "gbdt": {"folds": 2, "params": {"num_rounds": 20}},
        "transfer": {"per_query": 3},
        "teacher": {
            "preset": "bert_2l_64",
            "arguments": {"match_details": False, "match_coverage": False},
            "training": training(20),
        },
        "further_teachers": {
            "teacher_cnn": {
                "preset": "textcnn_64",
                "start": "vectors",
                "arguments": {"filters": 16, "match_details": False, "match_coverage": False},
                "training": training(20),
            },
        },
        "students": {
            "albert": {
                "preset": "albert_1l_64",
                "start": "teacher",
                "training": training(20),
            },
            "textcnn": {
                "preset": "textcnn_64",
                "start": "vectors",
                "arguments": {"filters": 16, "match_details": False},
                "training": training(20),
            },
            "cnn_attention": {
                "preset": "cnn_attention_64",
                "start": "vectors",
                "arguments": {"filters": 16, "match_coverage": False},
                "training": training(20),
            },
        },
        "evaluation": {"resamples": 100, "latency_pairs": 10},
    }


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config file of a tiny run."""
    folder = tmp_path_factory.mktemp("tiny")
    return write_config(folder, tiny_config(folder))


@pytest.fixture(scope="session")
def finished_run(tiny: Path) -> Path:
    """A finished run of it; tests read it and leave it as it is."""
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import run

    return run(load_config(tiny), tiny.parent / "run", Console(quiet=True))
