"""Training batches: whole queries of labelled rows, unlabelled rows mixed in, alike in length."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kdmatch.data.ids import PairIds, padded_width

_WINDOW = 24


@dataclass
class ScoredPairs:
    """Everything a training step reads about `n` pairs.

    Attributes:
        ids: PairIds of the student's encoder.
        label: float32 `(n,)`, standardised; NaN where unlabelled.
        group: int32 `(n,)`. Query of each row.
        weight: float32 `(n,)`.
        scores: teacher name to float32 `(n,)`, standardised; NaN where absent.

    Raises:
        ValueError: if a column has another shape than `(n,)`.
    """

    ids: PairIds
    label: np.ndarray
    group: np.ndarray
    weight: np.ndarray
    scores: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        columns = {"label": self.label, "group": self.group, "weight": self.weight}
        columns |= {f"scores[{name!r}]": score for name, score in self.scores.items()}
        for name, column in columns.items():
            if np.shape(column) != (len(self.ids),):
                raise ValueError(
                    f"{name} has shape {np.shape(column)}; there are {len(self.ids)} pairs of ids"
                )

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> "ScoredPairs":
        """The pairs `rows`, int `(k,)`, in that order."""
        scores = {name: score[rows] for name, score in self.scores.items()}
        return ScoredPairs(
            self.ids.take(rows), self.label[rows], self.group[rows], self.weight[rows], scores
        )

    def batch(self, rows: np.ndarray) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
        """`(inputs, targets, weights)` of some rows, as `Distiller` reads them."""
        targets = {
            "label": self.label[rows],
            "group": self.group[rows],
            "scores": {name: score[rows] for name, score in self.scores.items()},
        }
        return self.ids.pad(rows), targets, self.weight[rows]


class TrainingBatches(keras.utils.PyDataset):
    """An endless shuffled pass over scored pairs, cut into epochs of `steps`.

    Labelled rows come by whole queries (at most `rows_per_query` of each, for
    the pairs of the hard loss); the rest of a batch are unlabelled rows. Parts
    of a batch are drawn from rows alike in length. Batch `b` of epoch `e` is a
    function of the seed alone, so a run that resumes sees what it would have;
    give `fit` `shuffle=False`, or Keras asks for an epoch's batches in its own order.

    Args:
        pairs: ScoredPairs.
        batch_size: int. Rows of a batch.
        unlabelled_share: float. Share of each batch that is unlabelled rows.
        steps: int. Batches of an epoch.
        rows_per_query: int. Rows of one query at most, in one pass.
        seed: int.
        first_epoch: int. Epoch to begin with when a run resumes.
        unlabelled_by_query: bool. Draw unlabelled rows by whole queries too.
    """

    def __init__(
        self,
        pairs: ScoredPairs,
        batch_size: int,
        unlabelled_share: float = 0.0,
        steps: int = 100,
        rows_per_query: int = 16,
        seed: int = 0,
        first_epoch: int = 0,
        unlabelled_by_query: bool = False,
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.steps = steps
        labelled = np.flatnonzero(~np.isnan(pairs.label))
        unlabelled = np.flatnonzero(np.isnan(pairs.label))
        if not len(unlabelled):
            unlabelled_share = 0.0
        if not len(labelled):
            unlabelled_share = 1.0
        other = round(batch_size * unlabelled_share)
        if 0 < unlabelled_share < 1:  # both kinds stand in every batch
            other = min(max(1, other), batch_size - 1)
        self._streams = [
            _Stream(pairs, rows, size, seed + salt, rows_per_query, by_query)
            for rows, size, salt, by_query in (
                (labelled, batch_size - other, 0, True),
                (unlabelled, other, 1, unlabelled_by_query),
            )
            if size
        ]
        self._epoch = first_epoch

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
        number = self._epoch * self.steps + index
        rows = np.concatenate([stream.rows(number) for stream in self._streams])
        return self.pairs.batch(rows)

    def on_epoch_end(self) -> None:
        self._epoch += 1

    def for_fit(self) -> Any:
        """What to hand to `fit`, with `steps_per_epoch=len(batches)`.

        On TensorFlow a `tf.data` pipeline with open widths: Keras guesses the
        shapes of a `PyDataset` from its first two batches, and TensorFlow then
        refuses a longer row that comes later. Elsewhere these batches.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        from kdmatch.data.tf_input import as_tf_dataset

        return as_tf_dataset(self)


class _Stream:
    """Rows of batch number `b`, over endless passes each shuffled anew.

    Batches are made a window at a time: the window's rows, sorted by length
    with queries kept together, are cut into batches, which all streams of a
    seed shuffle alike. So the parts of one batch are alike in length.
    """

    def __init__(
        self,
        pairs: ScoredPairs,
        rows: np.ndarray,
        size: int,
        seed: int,
        rows_per_query: int,
        by_query: bool,
    ) -> None:
        self._rows, self._size, self._seed, self._cap = rows, size, seed, rows_per_query
        # Rows that form no pairs are shuffled each by itself.
        groups = pairs.group[rows] if by_query else np.arange(len(rows))
        self._group = np.unique(groups, return_inverse=True)[1]
        self._sizes = pairs.ids.sizes
        self._group_of = np.zeros(len(pairs), np.int64)
        self._group_of[rows] = self._group
        self._passes: dict[int, np.ndarray] = {}
        self._cached = (-1, np.zeros((0, 0), np.int64))

    def rows(self, number: int) -> np.ndarray:
        window, slot = divmod(number, _WINDOW)
        # Keras may still be prefetching for an epoch that is over, in another thread: what is
        # returned must not be read back from the cache.
        cached = self._cached
        if cached[0] != window:
            cached = self._cached = (window, self._cut(window))
        return cached[1][np.random.default_rng(window).permutation(_WINDOW)[slot]]

    def _cut(self, window: int) -> np.ndarray:
        length = _WINDOW * self._size
        first, parts, found = window * length, [], 0
        which, offset = divmod(first, len(self._pass(0)))
        while found < length:
            part = self._pass(which)[offset : offset + length - found]
            parts.append(part)
            found, which, offset = found + len(part), which + 1, 0
        rows = np.concatenate(parts)
        groups, inverse = np.unique(self._group_of[rows], return_inverse=True)
        longest = np.zeros(len(groups), np.int64)
        np.maximum.at(longest, inverse, self._sizes[rows])
        return rows[np.lexsort((inverse, longest[inverse]))].reshape(_WINDOW, self._size)

    def _pass(self, which: int) -> np.ndarray:
        found = self._passes.get(which)
        if found is None:
            generator = np.random.default_rng([self._seed, which])
            place = generator.permutation(int(self._group.max()) + 1)[self._group]
            order = np.lexsort((generator.random(len(self._rows)), place))
            ranked = place[order]
            starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
            counts = np.diff(np.append(starts, len(ranked)))
            position = np.arange(len(ranked)) - np.repeat(starts, counts)
            found = self._rows[order[position < self._cap]]
            kept = {k: v for k, v in self._passes.items() if k in (0, which - 1)}
            self._passes = {**kept, which: found}
        return found


def padded_batches(
    ids: PairIds, batch_tokens: int = 16_384
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """All rows once, in batches of one padded length, for inference.

    Off TensorFlow, where every shape is compiled for, a batch has a power of two of rows: the
    last of a length is filled up.

    Args:
        ids: PairIds.
        batch_tokens: int. Padded tokens of a batch at most, but for one of a single row.

    Yields:
        numbers of the rows, and their inputs, which may go on after them.
    """
    width = np.array([padded_width(size) for size in ids.sizes.tolist()], np.int64)
    filled_up = keras.backend.backend() != "tensorflow"
    for one in np.unique(width):
        alike = np.flatnonzero(width == one)
        size = max(1, batch_tokens // int(one))
        size = 1 << (size.bit_length() - 1)
        for start in range(0, len(alike), size):
            rows = alike[start : start + size]
            count = 1 << (len(rows) - 1).bit_length() if filled_up else len(rows)
            yield rows, ids.pad(np.resize(rows, count))
