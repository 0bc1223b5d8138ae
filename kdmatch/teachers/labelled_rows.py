"""Labelled rows as LightGBM takes them: grouped by query, labels as levels, folds of queries."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kdmatch.errors import UserError

MOST_LEVELS = 31
MOST_ROWS = 10_000  # LightGBM refuses a query with more


def label_levels(label: np.ndarray) -> np.ndarray:
    """Labels as small ints, by rank of the distinct values, at most 31 of them.

    >>> label_levels(np.array([1.0, 2.33, 3.0, 2.33])).tolist()
    [0, 1, 2, 1]
    """
    low, high = label.min(initial=np.inf), label.max(initial=-np.inf)
    # What differs by less than a ten-thousandth of the range is one value, written twice.
    places = np.round((label - low) / max(high - low, 1e-30) * 1e4)
    values, level = np.unique(places, return_inverse=True)
    if len(values) > MOST_LEVELS:
        level = level * (MOST_LEVELS - 1) // (len(values) - 1)
    return level


def query_folds(query: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each row; rows of one query share it, and folds have equally many queries.

    Raises:
        UserError: if there are fewer queries than folds.
    """
    names, index = np.unique(query, return_inverse=True)
    if not 2 <= folds <= len(names):
        raise UserError(f"{folds} folds of {len(names)} queries; use 2 folds up to one a query")
    fold = np.arange(len(names)) % folds
    np.random.default_rng(seed).shuffle(fold)
    return fold[index]


def cut_groups(group: np.ndarray, most: int = MOST_ROWS) -> np.ndarray:
    """Sizes of queries, those above `most` cut into parts.

    >>> cut_groups(np.array([3, 7]), most=3).tolist()
    [3, 3, 3, 1]
    """
    if group.max(initial=0) <= most:
        return group
    parts = [[most] * (size // most) + [size % most] * (size % most > 0) for size in group.tolist()]
    return np.array([size for part in parts for size in part])


@dataclass
class LabelledRows:
    """Labelled rows, those of one query together."""

    features: np.ndarray
    label: np.ndarray
    group: np.ndarray
    weight: np.ndarray | None = None

    @classmethod
    def of(cls, features: Any, label: Any, query: Any, weight: Any = None) -> "LabelledRows":
        features, label = np.asarray(features), np.asarray(label, float)
        _, index = np.unique(np.asarray(query), return_inverse=True)
        if not len(features) == len(label) == len(index):
            raise ValueError(f"{len(features)} rows, {len(label)} labels, {len(index)} queries")
        order = np.argsort(index, kind="stable")
        order = order[np.isfinite(label[order])]
        group = np.bincount(index[order])
        weight = None if weight is None else np.asarray(weight, float)[order]
        return cls(features[order], label[order], group[group > 0], weight)

    def with_hidden(self, columns: list[int], share: float, seed: int) -> "LabelledRows":
        """These rows, and those of `share` of the queries again with `columns` missing."""
        chosen = np.random.default_rng(seed).random(len(self.group)) < share
        if not columns or not chosen.any():
            return self
        copied = np.repeat(chosen, self.group)
        hidden = self.features[copied]
        hidden[:, columns] = np.nan
        return LabelledRows(
            np.concatenate([self.features, hidden]),
            np.concatenate([self.label, self.label[copied]]),
            np.concatenate([self.group, self.group[chosen]]),
            None if self.weight is None else np.concatenate([self.weight, self.weight[copied]]),
        )

    def has_pairs(self) -> bool:
        """Whether some query has two different labels."""
        parts = np.split(self.label, np.cumsum(self.group)[:-1])
        return any(part.min() < part.max() for part in parts)
