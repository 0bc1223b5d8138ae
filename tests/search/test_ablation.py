"""Ablations: which variants there are, and a whole one on a tiny run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdmatch.errors import UserError
from kdmatch.pipeline.config.loader import load_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console

MakeRun = Callable[..., tuple[Path, Path]]


def test_variants_switch_off_what_the_recipe_uses_and_nothing_else(run: MakeRun) -> None:
    from kdmatch.search.ablation import variants

    config = load_config(run().config, ["students.textcnn.arguments.match_details=true"])
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
    shares = [way.transfer_share_of("textcnn") for way in (found["- transfer"], bare, without)]
    assert shares == [0, 0, config.transfer.share]
    assert bare.student("textcnn").start == "scratch"
    assert bare.distillation_of("textcnn").beta == config.distillation.beta


def test_levers_of_what_is_off_already_are_none(run: MakeRun) -> None:
    from kdmatch.search.ablation import variants

    off = ["distillation.gamma=0", "distillation.scaling=none", "transfer.share=0"]
    found = variants(load_config(run().config, off), "textcnn")
    assert list(found) == ["recipe", "- soft", "- start", "+ soft", "+ start", "labels"]


def test_a_variant_that_collapses_costs_its_row_only(run: MakeRun, monkeypatch) -> None:
    import kdmatch.search.ablation as ablation
    from kdmatch.errors import CollapsedRunError
    from kdmatch.evaluation.ablation_table import ablation_markdown
    from kdmatch.pipeline.run_directory import Stage

    tiny = run()
    config = load_config(tiny.config)
    trained = []

    def stage(work: Any, way: Config, student: str, seed: int) -> Stage:
        alpha = way.distillation_of(student).alpha

        def train(folder: Path, console: Console) -> dict[str, Any]:
            trained.append(seed)
            if alpha == 0:
                raise CollapsedRunError("training collapsed in epoch 1")
            return {"valid_auc": 0.6}

        return Stage("x", {"alpha": alpha, "seed": seed}, [], train)

    monkeypatch.setattr(ablation, "LEVERS", {"soft": ablation.LEVERS["soft"]})
    monkeypatch.setattr(ablation, "student_stage", stage)
    monkeypatch.setattr(
        ablation, "matcher_logits", lambda folder, ids, console: np.arange(len(ids), dtype=float)
    )
    for _ in range(2):
        found = ablation.ablate(config, tiny.root, "textcnn", [1, 1], Console(quiet=True))
        assert list(found["models"]) == ["recipe", "+ soft"]
        assert found["collapsed"] == dict.fromkeys(
            ("- soft", "labels"), "training collapsed in epoch 1"
        )
    assert trained == [1] * 4  # a seed twice is once, and a collapse is a result
    assert "| labels | collapsed | | |" in ablation_markdown(found)


@pytest.mark.slow
def test_an_ablation_trains_compares_and_goes_on(run: MakeRun, monkeypatch) -> None:
    import kdmatch.search.ablation as ablation

    monkeypatch.setattr(ablation, "LEVERS", {"soft": ablation.LEVERS["soft"]})
    tiny = run()
    config = load_config(tiny.config)
    found = ablation.ablate(config, tiny.root, "textcnn", [1], Console(quiet=True))
    written = (tiny.root / "ablation/textcnn/levers-valid.json").read_text("utf-8")
    assert json.loads(written) == found
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
    weights = tiny.root / "ablation/textcnn/-soft/seed-1/model.weights.h5"
    trained = weights.stat().st_mtime_ns
    again = ablation.ablate(config, tiny.root, "textcnn", [1], Console(quiet=True))
    assert (weights.stat().st_mtime_ns, again) == (trained, found)


def test_losses_come_one_after_the_other(run: MakeRun) -> None:
    from kdmatch.search.ablation import losses

    config = load_config(run().config)
    found = losses(config, "textcnn")
    recipe, share = config.distillation_of("textcnn"), config.transfer.share
    assert 0 not in (recipe.alpha, recipe.beta, recipe.gamma, share)

    def weights(way: Config) -> tuple[float, ...]:
        own = way.distillation_of("textcnn")
        return own.alpha, own.beta, own.gamma, way.transfer_share_of("textcnn")

    assert {name: weights(way) for name, way in found.items()} == {
        "control": (recipe.alpha, recipe.beta, recipe.gamma, share),  # trained as the control is
        "soft": (recipe.alpha, 0, 0, 0),
        "soft + hard": (recipe.alpha, recipe.beta, 0, 0),
        "soft + hard + relevance": (recipe.alpha, recipe.beta, recipe.gamma, 0),
        "recipe": (recipe.alpha, recipe.beta, recipe.gamma, share),
    }


@pytest.mark.slow
def test_losses_take_what_the_run_has_and_compare_on_any_rows(run: MakeRun) -> None:
    import pyarrow.parquet as pq

    import kdmatch.search.ablation as ablation
    from kdmatch.pipeline.evaluation_stage import evaluate_table
    from kdmatch.pipeline.run import run as run_stages

    tiny = run()
    config = load_config(tiny.config)
    seed = config.seeds[0]
    run_stages(config, tiny.root, Console(quiet=True), until="students")
    table = pq.read_table(tiny.root / "data" / "test.parquet")
    found = ablation.ablate(
        config, tiny.root, "textcnn", [seed], Console(quiet=True), of="losses", rows=("test", table)
    )
    assert (found["split"], list(found["models"])) == (
        "test",
        list(ablation.losses(config, "textcnn")),
    )
    trained = {one.parent.parent.name for one in tiny.root.glob("ablation/textcnn/*/*/done.json")}
    assert {"soft", "soft+hard", "soft+hard+relevance"} <= trained
    # What the run has trained is not trained again, and measures what the run measured.
    run_found = evaluate_table(config, tiny.root, table, "test", Console(quiet=True))["models"]
    for name, of_run in (("recipe", "textcnn"), ("control", "textcnn_control")):
        assert name not in trained
        auc = found["models"][name]["auc"]["value"]
        assert auc == pytest.approx(run_found[of_run]["auc"]["value"], abs=1e-6)
    against = {(one["a"], one["b"]) for one in found["comparisons"]}
    assert {("soft", "control"), ("soft", "recipe"), ("recipe", "control")} <= against


def test_a_student_that_the_config_lacks_is_named(run: MakeRun) -> None:
    from kdmatch.search.ablation import ablate

    tiny = run()
    with pytest.raises(UserError, match="--student albert: this config has textcnn"):
        ablate(load_config(tiny.config), tiny.root, "albert", [0], Console(quiet=True))
