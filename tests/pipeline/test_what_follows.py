"""What a change of a config does again, and what it leaves; the stages' own work is left out."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdmatch.errors import UserError
from kdmatch.files import write_json
from kdmatch.pipeline.config.loader import load_config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.run import run
from kdmatch.pipeline.run_directory import RunDirectory

DISTILLED = {f"students/{name}/seed-0" for name in ("albert", "textcnn", "cnn_attention")}
CONTROLS = {f"students/{name}_control/seed-0" for name in ("albert", "textcnn", "cnn_attention")}
EXPORTS = {f"export/{name}" for name in ("albert", "textcnn", "cnn_attention")}
FOLLOWING = DISTILLED | EXPORTS | {"scores", "evaluate"}


@pytest.fixture
def redone(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """Calls the tiny run with overrides and says which stages were done."""
    import kdmatch.pipeline.finish_stage as finish_stage

    done: set[str] = set()

    def do(self: RunDirectory, name: str, *work: Any) -> None:
        folder = self._begin(name)
        done.add(name)
        (folder / "artifact").write_text(name)
        if name == "evaluate":
            write_json(folder / "metrics.json", {"models": {}})
        self._end(name, 0.0, {"valid_auc": 0.5} if name.startswith("students/") else {})

    monkeypatch.setattr(RunDirectory, "_do", do)
    monkeypatch.setattr(finish_stage, "write_report", lambda runs, out: out.write_text("report"))
    monkeypatch.setattr(finish_stage, "write_model_card", lambda root, out: out.write_text("card"))

    def call(*overrides: str, until: str = "") -> set[str]:
        done.clear()
        run(load_config(tiny, list(overrides)), tmp_path / "run", Console(quiet=True), until)
        return set(done)

    return call


def test_only_what_follows_a_change_is_done_again(
    redone: Callable[..., set[str]], tiny: Path, tmp_path: Path
) -> None:
    everything = redone()
    assert everything > FOLLOWING | CONTROLS | {"data", "text", "transfer", "gbdt", "teacher"}
    assert redone() == set()
    own = {"students/textcnn/seed-0", "students/textcnn_control/seed-0", "export/textcnn"}
    teacher = {"teacher", "export/teacher", "students/albert_control/seed-0"}
    changes: dict[str, set[str]] = {
        "gbdt.folds=3": FOLLOWING | {"gbdt"},
        "teacher.training.steps=30": FOLLOWING | teacher,
        "further_teachers.teacher_cnn.training.steps=30": FOLLOWING | {"teacher_cnn"},
        "transfer.share=0.5": DISTILLED | EXPORTS | {"evaluate"},
        "transfer.per_query=2": FOLLOWING | {"transfer"},
        "distillation.alpha=0.7": DISTILLED | EXPORTS | {"evaluate"},
        "students.textcnn.training.steps=30": own | {"evaluate"},
        # A control is not distilled.
        "students.textcnn.transfer_share=0.4": {"students/textcnn/seed-0", "export/textcnn"}
        | {"evaluate"},
        "students.textcnn.transfer_share=0.6": set(),  # `transfer.share` is the same
        "text.words.epochs=2": everything - {"data", "transfer", "gbdt"},
        "evaluation.resamples=200": {"evaluate"},
        "seeds=[0, 1]": {one.replace("seed-0", "seed-1") for one in DISTILLED | CONTROLS}
        | EXPORTS
        | {"evaluate"},
        "search.trials=3": set(),
        "students.textcnn.training.validate_every=10": set(),  # as it is
    }
    for override, wanted in changes.items():
        assert redone(override) == wanted, override
        assert (redone() == set()) == (wanted == set()), override


def test_data_that_moved_is_the_same_data(
    redone: Callable[..., set[str]],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redone()
    config = load_config(tiny)
    for name in ("train", "valid", "test"):
        shutil.copy(getattr(config.data, name), tmp_path / f"{name}.moved.parquet")
    moved = [f"data.{name}={tmp_path}/{name}.moved.parquet" for name in ("train", "valid", "test")]
    assert redone(*moved) == set()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]")
    assert redone(*(one.replace(f"{tmp_path}/", "") for one in moved)) == set()


@pytest.mark.parametrize("field", ["gbdt.sentences", "text.words.encoder"])
def test_a_sentence_encoder_counts_by_what_it_holds(
    redone: Callable[..., set[str]], tmp_path: Path, write_bert: Any, field: str
) -> None:
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for hidden, folder in zip((8, 8, 16), folders, strict=True):
        folder.mkdir()
        write_bert(folder, words=40, hidden=hidden, inside=12, heads=2, layers=1, positions=10)
    one, same, other = (f"{field}={folder}" for folder in folders)
    few = "gbdt.components=4"
    everything = redone(few)
    reads_text = everything - {"data", "transfer", "gbdt"}
    wanted = FOLLOWING | {"gbdt"} if field == "gbdt.sentences" else reads_text
    assert redone(one, few) == wanted
    assert redone(same, few) == set()
    assert redone(other, few) == wanted


def test_results_of_another_config_do_not_stand_beside_it(
    redone: Callable[..., set[str]], tiny: Path, tmp_path: Path
) -> None:
    from kdmatch.pipeline.scoring import best_seed

    redone()
    assert (tmp_path / "run" / "metrics.json").exists()
    redone(until="scores")
    assert (tmp_path / "run" / "metrics.json").exists()
    changed = "students.textcnn.training.objective=ndcg@10"
    assert redone(changed, until="scores") == set()
    assert not (tmp_path / "run" / "metrics.json").exists()
    folder = tmp_path / "run" / "students" / "textcnn"
    with pytest.raises(UserError, match=r"not trained for ndcg@10.*call `kdmatch run`"):
        best_seed(load_config(tiny, [changed]), folder)
    assert redone() == set()
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_student_that_is_no_more_is_not_served(
    redone: Callable[..., set[str]], tiny: Path, tmp_path: Path
) -> None:
    redone()
    textcnn = load_config(tiny).student("textcnn").model_dump(mode="json")
    assert redone(f"students={{textcnn: {textcnn}}}".replace("None", "null")) == {"evaluate"}
    exports = {one.name for one in (tmp_path / "run" / "export").iterdir()}
    assert exports == {"teacher", "textcnn"}
