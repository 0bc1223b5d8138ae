"""Ablations: which variants there are, and a whole one on a tiny run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kdmatch.errors import UserError
from kdmatch.pipeline.config_loader import load_config
from kdmatch.pipeline.console import Console

MakeRun = Callable[..., tuple[Path, Path]]


def test_variants_switch_off_what_the_recipe_uses_and_nothing_else(run: MakeRun) -> None:
    from kdmatch.search.ablation import variants

    config = load_config(run()[0], ["students.textcnn.arguments.match_details=true"])
    found = variants(config, "textcnn")
    assert list(found) == [
        "recipe",
        *(f"- {name}" for name in ("soft", "relevance", "transfer", "scaling", "details", "start")),
        *(f"+ {name}" for name in ("soft", "relevance", "scaling", "details", "start")),
        "labels",
    ]  # coverage, characters and average are off in this recipe
    assert found["recipe"] == config
    without, alone, bare = found["- soft"], found["+ soft"], found["labels"]
    assert without.distillation_of("textcnn").alpha == 0
    assert without.distillation_of("textcnn").gamma == alone.distillation_of("textcnn").alpha == 1
    assert alone.distillation_of("textcnn").gamma == bare.distillation_of("textcnn").alpha == 0
    assert found["- transfer"].transfer.share == bare.transfer.share == 0
    assert bare.student("textcnn").start == "scratch"
    assert bare.distillation_of("textcnn").beta == config.distillation.beta


@pytest.mark.slow
def test_an_ablation_trains_compares_and_goes_on(run: MakeRun, monkeypatch) -> None:
    import kdmatch.search.ablation as ablation

    monkeypatch.setattr(ablation, "LEVERS", {"soft": ablation.LEVERS["soft"]})
    path, root = run()
    config = load_config(path)
    found = ablation.ablate(config, root, "textcnn", [1], Console(quiet=True))
    assert json.loads((root / "ablation/textcnn/metrics.json").read_text("utf-8")) == found
    assert set(found["models"]) == {"recipe", "- soft", "+ soft", "labels"}
    assert all(len(model["seeds"]["auc"]) == 1 for model in found["models"].values())
    against = {(one["a"], one["b"]): one for one in found["comparisons"]}
    assert set(against) == {
        ("- soft", "recipe"),
        ("+ soft", "labels"),
        ("labels", "recipe"),
    }
    values = {name: model["auc"]["value"] for name, model in found["models"].items()}
    difference = against["+ soft", "labels"]["difference"]
    assert difference == pytest.approx(values["+ soft"] - values["labels"])
    weights = root / "ablation/textcnn/-soft/seed-1/model.weights.h5"
    written = weights.stat().st_mtime_ns
    again = ablation.ablate(config, root, "textcnn", [1], Console(quiet=True))
    assert (weights.stat().st_mtime_ns, again) == (written, found)


def test_a_student_that_the_config_lacks_is_named(run: MakeRun) -> None:
    from kdmatch.search.ablation import ablate

    path, root = run()
    with pytest.raises(UserError, match="--student albert: this config has textcnn"):
        ablate(load_config(path), root, "albert", [0], Console(quiet=True))
