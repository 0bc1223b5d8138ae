"""After training: exports, metrics, report, model card."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq

from kdmatch.errors import UserError
from kdmatch.evaluation.model_card import write_model_card
from kdmatch.evaluation.report import write_report
from kdmatch.files import read_json, write_json
from kdmatch.models.registry import load_matcher
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.evaluation_stage import evaluate_table, time_export
from kdmatch.pipeline.run_directory import RunDirectory
from kdmatch.pipeline.scoring import matcher_folder, model_config, student_folders
from kdmatch.pipeline.teacher_stage import matcher_teachers
from kdmatch.pipeline.training_stage import encoder_kind
from kdmatch.serving.graph import REVISION
from kdmatch.serving.versions import latest_version


def finish(config: Config, root: Path, directory: RunDirectory, console: Console) -> None:
    """Export teacher and students, evaluate on test, write report and card."""
    trained = [name for name in directory.keys if name.startswith("students/")]
    for left in (root / "export").glob("*/"):
        if left.name not in exported_models(config):  # `kdmatch serve` would go on serving it
            shutil.rmtree(left)
    for name in exported_models(config):
        directory.stage(
            f"export/{name}",
            {"model": name, "graph": f"packed, {REVISION}"},
            ["teacher"] if name == "teacher" else [one for one in trained if f"/{name}/" in one],
            partial(_export, config, root, name),
        )
    exports = [f"export/{name}" for name in exported_models(config)]
    directory.stage(
        "evaluate",
        {
            "name": config.name,
            "evaluation": config.evaluation,
            "threshold": config.data.positive_threshold,
            "teachers": (config.distillation.alpha, config.distillation.gamma),
        },
        ["data", "scores", *(["original"] if config.original else []), *trained, *exports],
        lambda folder: _evaluate(config, root, folder, console),
    )
    metrics = read_json(root / "evaluate" / "metrics.json")
    write_json(root / "metrics.json", metrics)
    with console.working("report"):
        write_report([root], root / "report.html")
        write_model_card(root, root / "model_card.md")
    console.stage("report", str(root / "report.html"))


def exported_models(config: Config) -> list[str]:
    """Models of a run that are exported: the teacher and the students."""
    return ["teacher", *config.students]


def _export(config: Config, root: Path, name: str, folder: Path) -> dict[str, Any]:
    return {"version": export_model(config, root, name, folder).name}


def export_model(
    config: Config,
    root: Path,
    name: str,
    base: Path,
    format: str = "savedmodel",
    graph: str = "packed",
    precision: str = "float32",
    batching: Path | None = None,
) -> Path:
    """Export a run's teacher or the best seed of one of its students into `base`.

    Args:
        config: Config of the run.
        root: Path of the run.
        name: str. The model.
        base: Path. Its versions' folder.
        format: str. "savedmodel", "onnx" or "openvino".
        graph, precision, batching: as `kdmatch.export`; a SavedModel's alone.

    Returns:
        the folder written.

    Raises:
        UserError: if the run has no such model, or it is not trained yet, or
            the options do not go together.
    """
    from kdmatch.serving.export import export
    from kdmatch.serving.formats import export_format
    from kdmatch.text.encoder import load_encoder

    if name not in exported_models(config):
        raise UserError(
            f"{root}: no model {name!r}; this run has {', '.join(exported_models(config))}"
        )
    if format != "savedmodel" and (graph, precision, batching) != ("packed", "float32", None):
        raise UserError(
            f"--graph, --precision and --batching are a SavedModel's; format {format} has none"
        )
    preset = model_config(config, name).preset
    folder = matcher_folder(config, root, name)
    keras.utils.clear_session(free_memory=True)
    matcher = load_matcher(folder)
    encoder = load_encoder(root / "text" / encoder_kind(preset))
    if format != "savedmodel":
        return export_format(matcher, encoder, base, format)
    warmup = _warmup_page(root)
    return export(matcher, encoder, base, None, warmup, graph, precision, batching)


def _evaluate(config: Config, root: Path, folder: Path, console: Console) -> dict[str, Any]:
    table = pq.read_table(root / "data" / "test.parquet")
    metrics = evaluate_table(config, root, table, "test", console, folder / "scores.parquet")
    some = table.slice(0, config.evaluation.latency_pairs)
    pairs = list(
        zip(some.column("query").to_pylist(), some.column("document").to_pylist(), strict=True)
    )
    for name, model in metrics["models"].items():
        model["parameters"], model["latency_ms"] = None, None
        if name in exported_models(config):
            base = root / "export" / name
            model["latency_ms"] = time_export(base / str(latest_version(base)), pairs)
        weights = _model_folder(config, root, name)
        if weights is not None:
            # Trained ones: a vocabulary's tables and KerasHub's unused pooler are not.
            trained = load_matcher(weights).trainable_variables
            model["parameters"] = sum(int(np.prod(one.shape)) for one in trained)
    write_json(folder / "metrics.json", metrics)
    return {"rows": metrics["rows"]}


def _model_folder(config: Config, root: Path, name: str) -> Path | None:
    if name == "original" or name in matcher_teachers(config):
        return root / name
    for folder in student_folders(config, root):
        if folder.name == name:
            return folder / f"seed-{config.seeds[0]}"
    return None


def _warmup_page(root: Path) -> tuple[str, list[str]]:
    page = next(pq.ParquetFile(root / "data" / "train.parquet").iter_batches(64))
    return page.column("query")[0].as_py(), page.column("document").to_pylist()
