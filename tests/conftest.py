"""Scored pairs to train on, small enough for any test; how tests are spread over processes."""

from collections.abc import Callable

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
