"""A tiny run as far as the teachers' scores, which searches go on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("tensorflow_text")


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `config.yaml` and `run/`; tests copy it."""
    from kdmatch.data.quickstart import generate
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import prepare_students

    folder = tmp_path_factory.mktemp("scored")
    files = generate(folder / "data", queries=60, seed=3)

    def training(steps: int) -> dict[str, Any]:
        return {"steps": steps, "validate_every": 10, "learning_rate": 2e-3, "batch_size": 16}

    config = {
        "name": "tiny",
        "data": {name: str(files[name]) for name in ("train", "valid", "test")}
        | {"positive_threshold": 2},
        "text": {
            "language": "en",
            "wordpiece": {"max_query_tokens": 12, "max_tokens": 32},
            "words": {"dimension": 16, "epochs": 1},
        },
        "gbdt": {"folds": 2, "params": {"num_rounds": 20}, "dimension": 0},
        "transfer": {"per_query": 3},
        "teacher": {"preset": "bert_2l_64", "training": training(10)},
        "students": {
            "textcnn": {
                "preset": "textcnn_64",
                "start": "vectors",
                "arguments": {"filters": 8},
                "training": training(20),
            },
        },
        "search": {
            "sample": 0.4,
            "trials": 4,
            "steps": 6,
            "epochs": 3,
            "tuner": "random",
            "space": {"arguments.filters": {"choices": [4, 8]}},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    prepare_students(load_config(folder / "config.yaml"), folder / "run", Console(quiet=True))
    return folder


@pytest.fixture
def run(scored: Path, tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Makes a copy of the run and a config with other search settings."""
    import shutil

    def make(**search: Any) -> tuple[Path, Path]:
        root = shutil.copytree(scored / "run", tmp_path / "run")
        config = yaml.safe_load((scored / "config.yaml").read_text("utf-8"))
        config["search"] |= search
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return tmp_path / "config.yaml", root

    return make
