"""The backend-neutral parts, on JAX, in a process that cannot import TensorFlow."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STUDENTS = ("albert", "textcnn")

if importlib.util.find_spec("jax") is None:
    pytest.skip("jax is not installed: pip install jax", allow_module_level=True)


def _run(script: str, backend: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), str(folder)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jax")
    _run("train_without_tensorflow.py", "jax", folder)
    return folder


@pytest.mark.parametrize("name", STUDENTS)
def test_students_learn_on_jax_without_tensorflow(trained: Path, name: str) -> None:
    history = json.loads((trained / "history.json").read_text("utf-8"))[name]
    for loss in ("loss", "soft_loss", "hard_loss", "relevance_loss"):
        assert history[loss][-1] < 0.5 * history[loss][0], (loss, history[loss])
    assert history["auc"][0] > 0.95


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_text") is None,
    reason="loading and exporting the weights needs TensorFlow, which is not installed here",
)
def test_weights_trained_on_jax_score_the_same_once_exported(trained: Path) -> None:
    _run("export_with_tensorflow.py", "tensorflow", trained)
    with np.load(trained / "scores.npz") as found:
        for name in STUDENTS:
            with np.load(trained / f"{name}.npz") as arrays:
                expected = arrays["scores"]
            assert np.ptp(expected) > 0.5
            for side in ("keras", "savedmodel"):
                np.testing.assert_allclose(found[f"{name}/{side}"], expected, rtol=0, atol=1e-5)
