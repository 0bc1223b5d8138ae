"""The page of a run's ablations."""

import json
from pathlib import Path
from typing import Any

import pytest

from kdmatch.errors import UserError
from kdmatch.evaluation.ablation_table import ablations_markdown


def _ablation(of: str, others: list[str]) -> dict[str, Any]:
    def model(value: float) -> dict[str, Any]:
        return {
            "auc": {"value": value, "low": value - 0.01, "high": value + 0.01},
            "seeds": {"auc": [value, value + 0.002]},
        }

    def comparison(a: str, b: str, difference: float) -> dict[str, Any]:
        return {"a": a, "b": b, "difference": difference, "low": -0.03, "high": 0.04}

    return {
        "dataset": "shop",
        "split": "test",
        "of": of,
        "student": "textcnn",
        "models": {"recipe": model(0.75)} | {name: model(0.7) for name in others},
        "comparisons": [comparison(name, "recipe", -0.05) for name in others]
        + [comparison("recipe", name, 0.05) for name in others],
    }


def test_every_ablation_of_a_run_has_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "ablation" / "textcnn"
    (folder / "recipe" / "seed-0").mkdir(parents=True)
    (folder / "recipe" / "seed-0" / "done.json").write_text("{}", encoding="utf-8")
    for of, others in (("losses", ["control", "soft"]), ("levers", ["- soft", "labels"])):
        text = json.dumps(_ablation(of, others))
        (folder / f"{of}-test.json").write_text(text, encoding="utf-8")
    page = ablations_markdown([tmp_path / "run"])
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert titles == ["## shop · textcnn · levers · test", "## shop · textcnn · losses · test"]
    interval = "[−0.030, +0.040]"
    rows = page.splitlines()
    mean = "0.751 ± 0.001 [0.740, 0.760]"
    assert f"| recipe | {mean} | | +0.050 {interval} |" in rows  # to labels, to the control
    assert f"| soft | 0.701 ± 0.001 [0.690, 0.710] | −0.050 {interval} | |" in rows


def test_a_run_without_ablations_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}: no ablation; make one with .*--out"):
        ablations_markdown([tmp_path])
