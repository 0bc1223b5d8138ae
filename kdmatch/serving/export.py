"""A matcher and its encoder as one SavedModel: the only place that knows a signature."""

import shutil
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kdmatch.errors import UserError
from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.serving.export_check import check_fit, check_scores
from kdmatch.serving.graph.scorers import Scorer, make_scorer
from kdmatch.serving.ops import check_ops
from kdmatch.serving.versions import new_version, next_version
from kdmatch.serving.warmup import write_warmup

WARMUP_SIZES = (1, 2, 5, 10, 20, 50, 200)
GRAPHS = ("packed", "keras")
PRECISIONS = ("float32", "bfloat16")


def export(
    matcher: keras.Model,
    encoder: Any,
    base: str | Path,
    version: int | None = None,
    warmup: tuple[str, Sequence[str]] | None = None,
    graph: str = "packed",
    precision: str = "float32",
    batching: Path | None = None,
) -> Path:
    """Write `<base>/<version>/`, complete or not at all.

    Signatures:
        serving_default: `query`, `document` string `(batch,)` → `score` float32 `(batch,)`.
        tokens: the matcher's own inputs, int32 `(batch, length)` → `score`.

    Args:
        matcher: Functional matcher on the TensorFlow backend.
        encoder: PairEncoder that made the matcher's training ids.
        base: folder of the model, its name the model's name.
        version: int, or None for the next one.
        warmup: a query and documents to warm the server with, in pages of
            several sizes and once as ids; None writes no warm-up file.
        graph: str. "packed", the inference graph of `kdmatch.serving.graph`,
            or "keras", the model as it was trained, to compare with.
        precision: str. "float32" or "bfloat16", in which the packed graph of
            an encoder computes its layers' products. A TextCNN has float32
            alone. `kdmatch bench --engines savedmodel,bfloat16` and `kdmatch
            gate` measure what it gains and changes.
        batching: a file of `BatchingParameters` for TF Serving's
            `--enable_per_model_batching_parameters`, which reads it as it loads
            the version; None for none.

    Returns:
        the version's folder.

    Raises:
        UserError: if the backend is not TensorFlow, graph or precision is
            unknown, encoder and matcher do not fit, the version exists, `batching`
            cannot be read, the graph holds an op that TensorFlow Serving does not have, or
            its scores are not the matcher's.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"export needs the TensorFlow backend, not {keras.backend.backend()}; "
            "set KERAS_BACKEND=tensorflow"
        )
    if graph not in GRAPHS:
        raise UserError(f"graph {graph!r} is unknown; choose one of {', '.join(GRAPHS)}")
    if precision not in PRECISIONS or (graph == "keras" and precision != "float32"):
        raise UserError(
            f"precision {precision!r} is unknown to graph {graph!r}; choose one of "
            f"{', '.join(PRECISIONS if graph == 'packed' else PRECISIONS[:1])}"
        )
    if precision != "float32" and not isinstance(matcher, BertMatcher | AlbertMatcher):
        raise UserError(
            f"{matcher.name} has no graph in {precision}; export it with precision float32"
        )
    check_fit(matcher, encoder)
    base = Path(base)
    number = version or next_version(base)
    with new_version(base, number) as folder:
        _save(make_scorer(matcher, encoder, graph, precision), encoder.input_names, folder)
        check_ops(folder)
        check_scores(folder, matcher, encoder, warmup, precision)
        if batching is not None:
            shutil.copyfile(batching, folder / "batching_params.pbtxt")
        if warmup is not None:
            query, documents = warmup
            pages = [(query, list(islice(cycle(documents), size))) for size in WARMUP_SIZES]
            some = pages[2][1]
            ids = encoder(tf.constant([query] * len(some)), tf.constant(some))
            write_warmup(folder, base.name, pages, ids=ids)
    return base / str(number)


def _save(scorer: Scorer, names: Sequence[str], folder: Path) -> None:
    # Not methods of a module: it would save, and trace, each function a second time.
    from_text = tf.function(lambda **text: {"score": scorer.from_text(**text)}, autograph=False)
    from_tokens = tf.function(lambda **ids: {"score": scorer.from_tokens(ids)}, autograph=False)
    holder = tf.Module()
    holder.variables_of_scorer = scorer.variables
    tf.saved_model.save(
        holder,
        str(folder),
        signatures={
            "serving_default": from_text.get_concrete_function(
                **{
                    name: tf.TensorSpec([None], tf.string, name=name)
                    for name in ("query", "document")
                }
            ),
            "tokens": from_tokens.get_concrete_function(
                **{name: tf.TensorSpec([None, None], tf.int32, name=name) for name in names}
            ),
        },
    )
