"""Teachers' scores on one scale."""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Standard:
    """Mean and deviation of a score on the training rows.

    >>> Standard.of(np.array([1.0, 3.0, np.nan])).apply(np.array([4.0])).tolist()
    [2.0]
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Standard":
        """Measured on the values that are not NaN; the deviation of equal ones counts as 1."""
        known = values[~np.isnan(values)].astype(np.float64)
        mean, deviation = float(known.mean()), float(known.std())
        constant = deviation <= 1e-6 * max(1.0, abs(mean))
        return cls(mean, 1.0 if constant else deviation)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """`(values − mean) / deviation`, float32; NaN stays NaN."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)
