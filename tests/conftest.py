"""Scored pairs to train on, small enough for any test; how tests are spread over processes."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kdmatch.data.batches import ScoredPairs
from kdmatch.data.ids import PairIds


def _random_pairs(
    queries: int, rows: int, unlabelled: int = 0, seed: int = 0, longest: int = 12
) -> ScoredPairs:
    generator = np.random.default_rng(seed)
    count = queries * rows + unlabelled
    values, lengths = {}, {}
    for name, most in (("query_ids", 4), ("document_ids", longest)):
        lengths[name] = generator.integers(1, most + 1, count).astype(np.int32)
        values[name] = generator.integers(2, 40, lengths[name].sum()).astype(np.int32)
    ids = PairIds(values, lengths)
    padded = ids.pad(np.arange(count))
    shared = (padded["query_ids"][:, :, None] == padded["document_ids"][:, None, :]) & (
        padded["query_ids"][:, :, None] > 0
    )
    relevance = shared.any(axis=2).sum(axis=1) + generator.normal(0, 0.2, count)
    relevance = ((relevance - relevance.mean()) / relevance.std()).astype(np.float32)
    labelled = np.arange(count) < queries * rows
    return ScoredPairs(
        ids,
        np.where(labelled, np.round(relevance), np.nan).astype(np.float32),
        np.where(labelled, np.arange(count) // rows, -1).astype(np.int32),
        np.ones(count, np.float32),
        {"teacher": relevance, "gbdt": (0.8 * relevance).astype(np.float32)},
    )


def _write_bert(
    folder: Path, words: int, hidden: int, inside: int, heads: int, layers: int, positions: int
) -> dict[str, np.ndarray]:
    """A BERT of random weights as Hugging Face would save it, its words single letters."""
    from safetensors.numpy import save_file

    generator = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (words, hidden),
        "embeddings.position_embeddings.weight": (positions, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }
    for i in range(layers):
        for name, shape in {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (inside, hidden),
            "output.dense": (hidden, inside),
            "attention.output.LayerNorm": (hidden,),
            "output.LayerNorm": (hidden,),
        }.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
    weights = {n: generator.normal(0, 0.3, s).astype(np.float32) for n, s in shapes.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": words,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": hidden,
        "intermediate_size": inside,
        "max_position_embeddings": positions,
        "type_vocab_size": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 97 + words))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary[:words]), "utf-8")
    return weights


@pytest.fixture(scope="session")
def write_bert() -> Callable[..., dict[str, np.ndarray]]:
    """Write a tiny pre-trained BERT into a folder and give its weights."""
    return _write_bert


# Folders whose tests share what took long to make, and which take longest: they begin first.
_TOGETHER = ("pipeline", "search")


def pytest_configure(config: pytest.Config) -> None:
    """With xdist, groups begin in the order that `pytest_collection_modifyitems` leaves."""
    if config.pluginmanager.hasplugin("xdist"):
        config.option.loadscopereorder = False


# First, for xdist reads the groups in a hook of this name too.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `-n 2 --dist loadgroup` tests of a file, or of some folders, share a process."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            folder = item.path.parent.name
            group = folder if folder in _TOGETHER else f"{folder}/{item.path.stem}"
            item.add_marker(pytest.mark.xdist_group(group))
        places = {name: place for place, name in enumerate(_TOGETHER)}
        items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))


@pytest.fixture
def random_pairs() -> Callable[..., ScoredPairs]:
    """Builds scored word pairs; shared words decide their labels and scores.

    Called with (queries, rows of each, unlabelled rows, seed, words of the
    longest document); ids are below 40.
    """
    return _random_pairs


@pytest.fixture(scope="session")
def is_alive() -> Callable[[int], bool]:
    """Whether a process runs; one that has ended and was not waited for does not."""

    def alive(process: int) -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        stat = Path(f"/proc/{process}/stat")
        return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")

    return alive
