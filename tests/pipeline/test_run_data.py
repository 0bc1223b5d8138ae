"""A training loop of one's own on a run's data, as the README shows it."""

import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

import kdmatch
from kdmatch.errors import UserError

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_training_loop_runs(finished_run: Path, tmp_path: Path) -> None:
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
        if "Distiller" in block
    )
    code = code.replace("runs/shop", str(finished_run)).replace("epochs=10", "epochs=1")
    code = code.replace('"student.keras"', f'"{tmp_path / "student.keras"}"')
    found: dict = {}
    exec(compile(code, "README.md", "exec"), found)
    restored = kdmatch.load_model(tmp_path / "student.keras")
    inputs = found["batches"][0][0]
    np.testing.assert_allclose(
        restored.predict_on_batch(inputs), found["student"].predict_on_batch(inputs), atol=1e-6
    )


def test_a_student_learns_as_it_does_in_the_run(finished_run: Path) -> None:
    run = kdmatch.RunData(finished_run)
    student = run.student("textcnn")
    before = run.validate(student)["auc"]["value"]
    distiller = kdmatch.Distiller(student, **run.losses("textcnn"))
    distiller.compile(optimizer=keras.optimizers.AdamW(3e-3))
    batches = run.batches("textcnn", batch_size=32, steps=20)
    distiller.fit(batches.for_fit(), steps_per_epoch=20, epochs=3, shuffle=False, verbose=0)
    assert run.validate(student)["auc"]["value"] > before + 0.05
    scores = [batch[1]["scores"] for batch in (batches[0], batches[1])]
    assert all(set(one) == {"teacher", "gbdt"} for one in scores)
    # Transfer rows, which have no label, are among them.
    assert any(np.isnan(batches[i][1]["label"]).any() for i in range(5))


def test_what_is_not_a_matcher_of_its_own_is_validated_too(finished_run: Path) -> None:
    run = kdmatch.RunData(finished_run)
    student = run.student("textcnn")
    wanted = run.validate(student)
    copy = keras.Model(student.input, student.output)
    assert run.validate(copy) == wanted
    assert run.validate(kdmatch.Distiller(student)) == wanted
    x = keras.Input((3,), name="x")
    other = keras.Model(x, keras.layers.Dense(1, name="logit")(x))
    with pytest.raises(UserError, match="has the inputs x; a student has those of a matcher"):
        run.validate(other)


def test_rows_of_a_query_come_together_where_the_soft_loss_compares_them(
    finished_run: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(finished_run, tmp_path / "run")

    def together(run: kdmatch.RunData) -> float:
        """Unlabelled rows of a batch for each of their queries."""
        _, targets, _ = run.batches("textcnn", batch_size=64)[0]
        groups = targets["group"][np.isnan(targets["label"])]
        return len(groups) / len(np.unique(groups))

    apart = together(kdmatch.RunData(root))
    config = yaml.safe_load((root / "config.yaml").read_text("utf-8"))
    config["students"]["textcnn"]["distillation"] = {"soft": "listwise"}
    (root / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    assert together(kdmatch.RunData(root)) > 1.5 * apart


def test_the_same_seed_starts_with_the_same_weights(finished_run: Path) -> None:
    run = kdmatch.RunData(finished_run)
    one, again, other = (run.student("textcnn", seed).get_weights() for seed in (0, 0, 1))
    assert all(map(np.array_equal, one, again))
    assert not all(map(np.array_equal, one, other))


def test_mistakes_are_named(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no student 'albrt'; did you mean 'albert'\?"):
        kdmatch.RunData(finished_run).batches("albrt")
    with pytest.raises(UserError, match="not a run directory"):
        kdmatch.RunData(tmp_path)
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "run" / "scores" / "done.json").unlink()
    with pytest.raises(UserError, match="scores is not done yet"):
        kdmatch.RunData(tmp_path / "run")
