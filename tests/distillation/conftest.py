"""Pairs that a Distiller learns from, some of them without a label."""

import pytest

from kdmatch.data.batches import ScoredPairs


@pytest.fixture
def pairs(random_pairs) -> ScoredPairs:
    return random_pairs(24, 6, unlabelled=48)
