"""A run directory as the pipeline leaves it, with made-up numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdmatch.evaluation.evaluate import compare_scores, evaluate_scores

SKILL = {
    "gbdt": 0.9,
    "original": 1.05,
    "teacher": 1.0,
    "teachers": 1.2,
    "albert": 0.85,
    "albert_control": 0.6,
    "textcnn": 0.75,
    "textcnn_control": 0.5,
    "cnn_attention": 0.78,
    "cnn_attention_control": 0.55,
}
LATENCY = {
    "gbdt": 2.1,
    "original": 14.0,
    "teacher": 4.6,
    "albert": 1.4,
    "albert_control": 1.41,
    "textcnn": 0.42,
    "textcnn_control": 0.43,
    "cnn_attention": 0.55,
    "cnn_attention_control": 0.55,
}


def _history(path: Path, steps: int, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    columns = "step,seconds,loss,soft_loss,hard_loss,relevance_loss,valid_auc,learning_rate"
    lines = [columns]
    for step in range(1, steps + 1):
        loss = 0.2 + np.exp(-step / steps * 3) + rng.normal(0, 0.03)
        auc = f"{0.74 - 0.2 * np.exp(-step / steps * 4):.4f}" if step % (steps // 10) == 0 else ""
        lines.append(
            f"{step},{step * 0.1:.1f},{loss:.4f},{loss / 2:.4f},{loss / 3:.4f},,{auc},1e-4"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Make a run directory below `tmp_path`; `rename` gives models other names."""

    def make(
        name: str = "homedepot",
        seed: int = 0,
        rename: dict[str, str] | None = None,
        dataset: str = "homedepot",
        steps: int = 100,
    ) -> Path:
        rng, run = np.random.default_rng(seed), tmp_path / name
        names = {model: (rename or {}).get(model, model) for model in SKILL}
        query = np.repeat([f"q{i}" for i in range(150)], 6)
        label = rng.choice([1.0, 1.67, 2.0, 2.33, 2.67, 3.0], size=len(query))
        scores = {
            names[model]: np.tanh((label - 2.3) * skill + rng.normal(0, 0.8, len(label)))
            for model, skill in SKILL.items()
        }
        models: dict[str, dict] = evaluate_scores(
            label, query, scores, positive_threshold=2.5, teacher="teachers", resamples=100
        )
        for model, shown in names.items():
            p50 = LATENCY.get(model)
            models[shown]["parameters"] = None if model == "gbdt" else 4_234_112
            models[shown]["latency_ms"] = p50 and {"p50": p50, "p95": p50 * 1.3, "p99": p50 * 2}
        pairs = [("albert", "teacher")]
        for student in ("albert", "textcnn", "cnn_attention"):
            pairs += [(student, f"{student}_control"), (student, "teachers")]
            auc = models[names[student]]["auc"]["value"]
            models[names[student]]["seeds"] = {"auc": [auc - 0.004, auc, auc + 0.003]}
        pairs = [(names[a], names[b]) for a, b in pairs]
        metrics = {
            "dataset": dataset,
            "split": "test",
            "positive_threshold": 2.5,
            "models": models,
            "comparisons": compare_scores(
                label, query, scores, pairs, positive_threshold=2.5, resamples=100
            ),
        }
        run.mkdir()
        (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        (run / "config.yaml").write_text("seed: 0\ndata:\n  positive_threshold: 2.5\n")
        _history(run / "bert" / "history.csv", steps, rng)
        for student in ("albert", "albert_control"):
            for number in range(2):
                _history(run / "students" / student / f"seed-{number}" / "history.csv", steps, rng)
        for finished, (stage, seconds) in enumerate(
            [("data", 4.2), ("gbdt", 75.0), ("bert", 3720.0), ("students/albert/seed-0", 610.0)]
        ):
            (run / stage).mkdir(parents=True, exist_ok=True)
            done = {
                "stage": stage.split("/")[0],
                "key": "9f86d081884c7d65",
                "seconds": seconds,
                "finished": f"2026-01-0{finished + 1}T10:00:00Z",
            }
            (run / stage / "done.json").write_text(json.dumps(done), encoding="utf-8")
        gains = {f"feature_{i}": float(100 / (i + 1)) for i in range(30)}
        (run / "gbdt" / "importance.json").write_text(json.dumps(gains), encoding="utf-8")
        table = {"query_id": query, "label": label}
        table |= {f"score_{model}": score for model, score in scores.items()}
        (run / "evaluate").mkdir()
        pq.write_table(pa.table(table), run / "evaluate" / "scores.parquet")
        return run

    return make
