"""A saved model in a process that knows none of kdmatch's classes."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kdmatch
from kdmatch.errors import UserError

LOAD = """
import sys
import numpy as np
import kdmatch

for name in ("student", "distiller"):
    model = kdmatch.load_model(f"{sys.argv[1]}/{name}.keras")
    print(type(model).__name__, model.predict_on_batch({
        "query_ids": np.array([[1, 2, 3]]), "document_ids": np.array([[3, 1, 0]])
    }).tolist())
"""


def test_a_saved_model_loads_where_no_class_of_kdmatch_is_known(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    student = kdmatch.TextCnnMatcher(vocabulary_size=9, embedding_dim=4, filters=2, widths=(1,))
    student.save(tmp_path / "student.keras")
    kdmatch.Distiller(student).save(tmp_path / "distiller.keras")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ids = {"query_ids": np.array([[1, 2, 3]]), "document_ids": np.array([[3, 1, 0]])}
    wanted = student.predict_on_batch(ids).tolist()
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["TextCnnMatcher", "Distiller"]
    for _, scores in lines:
        assert eval(scores) == pytest.approx(wanted, abs=1e-6)


def test_what_is_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        kdmatch.load_model(tmp_path / "student.keras")
    (tmp_path / "student.keras").write_bytes(b"weights")
    with pytest.raises(UserError, match="does not load as a model") as caught:
        kdmatch.load_model(tmp_path / "student.keras")
    assert "\n" not in str(caught.value)
