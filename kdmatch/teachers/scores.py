"""Teachers' scores on one scale."""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Standard:
    """Mean and deviation of a score on the labelled training rows.

    >>> Standard.of(np.array([1.0, 3.0, np.nan])).apply(np.array([4.0])).tolist()
    [2.0]
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Standard":
        """Measured on the values that are not NaN."""
        known = values[~np.isnan(values)]
        return cls(float(known.mean()), float(known.std()) or 1.0)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """`(values − mean) / deviation`, float32; NaN stays NaN."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)
