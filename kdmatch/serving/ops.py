"""Which graph operations the stock TF Serving binary can run.

The binary links TensorFlow's own operations and those of TensorFlow Text, and
released images long carried TensorFlow Text 2.12.1. A graph with anything else
loads nowhere or fails at the first request, so the exporter looks first.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdmatch.errors import UserError

# Read from the shared objects of the tensorflow-text 2.12.1 wheel. TensorFlow
# Text registers most of its operations without a `TFText>` namespace, so the
# namespace alone does not tell them from TensorFlow's own.
ALLOWED_TEXT_OPS: frozenset[str] = frozenset(
    {
        "CaseFoldUTF8",
        "ConstrainedSequence",
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "FindSourceOffsets",
        "MaxSpanningTree",
        "NormalizeUTF8",
        "NormalizeUTF8WithOffsetsMap",
        "PhraseTokenize",
        "RegexSplitWithOffsets",
        "RougeL",
        "SentenceFragments",
        "SentenceFragmentsV2",
        "SentencepieceDetokenizeOp",
        "SentencepieceIdToStringOp",
        "SentencepieceOp",
        "SentencepieceStringToIdOp",
        "SentencepieceTokenizeOp",
        "SentencepieceTokenizeWithOffsetsOp",
        "SentencepieceVocabSizeOp",
        "SplitMergeTokenizeWithOffsets",
        "TFText>BoiseTagsToOffsets",
        "TFText>ByteSplitByOffsets",
        "TFText>ByteSplitWithOffsets",
        "TFText>FastSentencepieceDetokenize",
        "TFText>FastSentencepieceTokenize",
        "TFText>FastWordpieceDetokenize",
        "TFText>NgramsStringJoin",
        "TFText>OffsetsToBoiseTags",
        "TFText>PhraseDetokenize",
        "TFText>WhitespaceTokenizeWithOffsetsV2",
        "TokenizerFromLogits",
        "UnicodeScriptTokenizeWithOffsets",
        "WhitespaceTokenizeWithOffsets",
        "WordpieceTokenizeWithOffsets",
    }
)

# Registered by TensorFlow, but their kernels call back into a Python process.
PYTHON_OPS: frozenset[str] = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})

XLA_ATTRIBUTE = "_XlaMustCompile"


def graph_ops(saved_model_dir: Path) -> Counter[str]:
    """Counts every operation of a SavedModel, in its graph and its functions.

    Reads `saved_model.pb` alone: no variable is loaded and no operation needs
    to be registered here. Calls of the graph's own functions are not counted,
    the operations inside them are.

    Args:
        saved_model_dir: Path. The version's directory.

    Returns:
        A counter from operation name to the number of its nodes.
    """
    counted: Counter[str] = Counter()
    for meta_graph in read_meta_graphs(saved_model_dir):
        library = meta_graph.graph_def.library
        functions = {function.signature.name for function in library.function}
        counted.update(node.op for node in _nodes(meta_graph.graph_def) if node.op not in functions)
    return counted


def check_ops(saved_model_dir: Path) -> None:
    """Refuses a SavedModel that the stock TF Serving binary could not run.

    Admitted are TensorFlow's own operations and `ALLOWED_TEXT_OPS`. Not
    admitted are later TensorFlow Text operations, custom ones, Python
    callbacks, and anything that must be compiled by XLA.

    Args:
        saved_model_dir: Path. The version's directory.

    Raises:
        UserError: naming each operation or function that is not admitted.
    """
    refused = sorted(op for op in graph_ops(saved_model_dir) if not _is_admitted(op))
    compiled = _must_compile(saved_model_dir)
    problems = []
    if refused:
        problems.append(f"TF Serving cannot run {', '.join(refused)}")
    if compiled:
        problems.append(f"{', '.join(compiled)} must be compiled by XLA (export without jit)")
    if problems:
        raise UserError(f"{saved_model_dir}: {'; '.join(problems)}")


def read_meta_graphs(saved_model_dir: Path) -> list[Any]:
    """Parses `saved_model.pb` into its `MetaGraphDef` messages.

    Args:
        saved_model_dir: Path. The version's directory.

    Raises:
        UserError: if the file is missing or is not a SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    path = Path(saved_model_dir) / "saved_model.pb"
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); export the model") from error
    except DecodeError as error:
        raise UserError(f"{path}: not a SavedModel; export the model again") from error
    return list(saved_model.meta_graphs)


def _is_admitted(op: str) -> bool:
    """`tf.raw_ops` is fixed when TensorFlow is built.

    The registry would also hold what a library loaded since has added.
    """
    import tensorflow as tf

    if op in ALLOWED_TEXT_OPS:
        return True
    if op in PYTHON_OPS or op.startswith("Xla"):
        return False
    return not op.startswith("__") and callable(getattr(tf.raw_ops, op, None))


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _must_compile(saved_model_dir: Path) -> list[str]:
    names: set[str] = set()
    for meta_graph in read_meta_graphs(saved_model_dir):
        graph_def = meta_graph.graph_def
        for function in graph_def.library.function:
            if XLA_ATTRIBUTE in function.attr and function.attr[XLA_ATTRIBUTE].b:
                names.add(function.signature.name)
        for node in _nodes(graph_def):
            if XLA_ATTRIBUTE in node.attr and node.attr[XLA_ATTRIBUTE].b:
                names.add(node.name)
    return sorted(names)
