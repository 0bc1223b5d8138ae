"""Token ids of many pairs, kept ragged, padded a batch at a time."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kdmatch.files import whole

_SIZES = (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 192, 256, 384, 512)


class PairIds:
    """The model inputs of `n` pairs as flat values and row lengths.

    Args:
        values: mapping of input name to int32 `(total tokens,)`.
        lengths: mapping of input name to int32 `(n,)`.

    >>> ids = PairIds({"query_ids": np.array([5, 6, 7], "int32")},
    ...               {"query_ids": np.array([1, 2], "int32")})
    >>> ids.pad([1, 0])["query_ids"].tolist()
    [[6, 7, 0, 0, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0, 0]]
    """

    def __init__(self, values: Mapping[str, np.ndarray], lengths: Mapping[str, np.ndarray]) -> None:
        self.values = dict(values)
        self.lengths = dict(lengths)
        self._starts = {
            name: np.concatenate([[0], np.cumsum(n, dtype=np.int64)]) for name, n in lengths.items()
        }

    def __len__(self) -> int:
        return len(next(iter(self.lengths.values())))

    @property
    def sizes(self) -> np.ndarray:
        """Tokens of each pair over all inputs that are not parallel, int `(n,)`."""
        seen = [n for name, n in self.lengths.items() if name != "segment_ids"]
        return np.sum(seen, axis=0)

    def pad(self, rows: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Inputs of `rows`, int32 `(len(rows), width)`, padded with 0.

        The width is the longest row's, rounded up to one of a few sizes, so
        that a compiler which specialises on shapes meets few of them.
        """
        rows = np.asarray(rows, np.int64)
        inputs = {}
        for name, flat in self.values.items():
            lengths, starts = self.lengths[name][rows], self._starts[name][rows]
            width = padded_width(int(lengths.max(initial=1)))
            columns = np.arange(width)
            inside = columns[None, :] < lengths[:, None]
            positions = np.where(inside, starts[:, None] + columns[None, :], 0)
            padded = flat[positions] if len(flat) else np.zeros_like(positions, np.int32)
            inputs[name] = np.where(inside, padded, 0).astype(np.int32)
        return inputs

    def take(self, rows: np.ndarray) -> "PairIds":
        """The pairs `rows`, int `(k,)`, in that order.

        >>> ids = PairIds({"query_ids": np.array([5, 6, 7], "int32")},
        ...               {"query_ids": np.array([1, 2], "int32")})
        >>> ids.take(np.array([1])).values["query_ids"].tolist()
        [6, 7]
        """
        values, lengths = {}, {}
        for name, flat in self.values.items():
            size = lengths[name] = self.lengths[name][rows]
            ends = np.cumsum(size, dtype=np.int64)
            offset = np.arange(int(size.sum())) - np.repeat(ends - size, size)
            values[name] = flat[np.repeat(self._starts[name][rows], size) + offset]
        return PairIds(values, lengths)

    def save(self, path: Path) -> None:
        """Write one uncompressed `.npz`, complete or not at all."""
        arrays = {f"values/{k}": v for k, v in self.values.items()}
        arrays |= {f"lengths/{k}": v for k, v in self.lengths.items()}
        with whole(path) as partial:
            np.savez(partial, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "PairIds":
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            parts: dict[str, dict[str, np.ndarray]] = {"values": {}, "lengths": {}}
            for key in arrays.files:
                part, name = key.split("/", 1)
                parts[part][name] = arrays[key]
        return cls(parts["values"], parts["lengths"])

    @classmethod
    def concatenate(cls, parts: Iterable["PairIds"]) -> "PairIds":
        """One cache from several, rows in order."""
        kept = list(parts)
        names = kept[0].values
        return cls(
            {name: np.concatenate([part.values[name] for part in kept]) for name in names},
            {name: np.concatenate([part.lengths[name] for part in kept]) for name in names},
        )


def padded_width(width: int) -> int:
    """The width that `PairIds.pad` gives a batch whose longest row has `width` tokens.

    >>> padded_width(5), padded_width(33), padded_width(600)
    (8, 40, 600)
    """
    return next((size for size in _SIZES if size >= width), width)
