"""Where a run keeps what each engine loads, and how it comes there."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from kdmatch.errors import UserError
from kdmatch.files import file_hash, read_json, write_json
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.scoring import matcher_folder, model_config
from kdmatch.pipeline.training_stage import encoder_kind
from kdmatch.serving.engines import SAVED_MODEL_VARIANTS, VARIANT_OF
from kdmatch.serving.graph import REVISION
from kdmatch.serving.versions import latest_version


def exported(root: Path, chosen: Sequence[str] = ()) -> list[str]:
    """Names of the run's exported models, the teacher last.

    Raises:
        UserError: if a chosen one is not exported, or none is.
    """
    base = root / "export"
    found = [path.name for path in sorted(base.glob("*")) if latest_version(path) is not None]
    found.sort(key=lambda name: name == "teacher")
    if not found:
        raise UserError(f"{base}: no exported model; call `kdmatch run` first")
    for name in chosen:
        if name not in found:
            raise UserError(f"{base}: no model {name!r}; this run has exported {', '.join(found)}")
    return list(chosen) or found


def artifact(root: Path, model: str, engine: str) -> Path:
    """What an engine loads of a run's model.

    In `export/<model>/`: the latest version's folder for TensorFlow, or
    `onnx/model.onnx`, `openvino/model.xml`, `pytorch/model.safetensors`,
    `plain/1`, `bfloat16/1`, which TF Serving passes over.
    """
    base = root / "export" / model
    if engine == "onnxruntime":
        return base / "onnx" / "model.onnx"
    if engine == "openvino":
        return base / "openvino" / "model.xml"
    if engine == "pytorch":
        return base / "pytorch" / "model.safetensors"
    if variant := VARIANT_OF.get(engine):
        return base / variant / "1"
    return base / str(latest_version(base))


def prepare(config: Config, root: Path, model: str, engine: str) -> str | None:
    """Export the model for the engine unless it is there, of these weights and by this code.

    Returns:
        why that cannot be done, or None.
    """
    path = artifact(root, model, engine)
    if engine in ("savedmodel", "grpc"):
        return None
    matcher = matcher_folder(config, root, model)
    weights = matcher / "model.weights.h5"
    written = path / "saved_model.pb" if engine in VARIANT_OF else path
    made_of = path.parent / "made_of.json"
    key = {"weights": file_hash(weights), "graph": REVISION}
    if written.is_file() and made_of.is_file() and read_json(made_of) == key:
        return None
    made_of.unlink(missing_ok=True)
    if lacks := _export(config, root, model, engine, matcher, path):
        return lacks
    write_json(made_of, key)
    return None


def _export(
    config: Config, root: Path, model: str, engine: str, matcher: Path, path: Path
) -> str | None:
    """Export what an engine loads to `path`; why that cannot be done, or None."""
    from kdmatch.models.registry import load_matcher
    from kdmatch.text.encoder import load_encoder

    encoder = load_encoder(root / "text" / encoder_kind(model_config(config, model).preset))
    if engine == "pytorch":
        from kdmatch.serving.engines.torch_weights import export_torch

        export_torch(load_matcher(matcher), encoder, path.parent)
        return None
    if variant := VARIANT_OF.get(engine):
        from kdmatch.serving.export import export

        shutil.rmtree(path, ignore_errors=True)
        try:
            how = SAVED_MODEL_VARIANTS[variant]
            export(load_matcher(matcher), encoder, path.parent, version=1, **how)
        except UserError as error:  # a CNN has no graph in bfloat16
            return str(error)
        return None
    from kdmatch.serving.formats import export_format

    try:
        export_format(load_matcher(matcher), encoder, path.parents[1], path.parent.name)
    except Exception as error:  # whatever a converter makes of a graph, the others are measured
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None
