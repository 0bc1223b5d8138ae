"""How numbers are written in the report, the model card and the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A metric; a dash where it is undefined.

    >>> number(0.74449), number(None)
    ('0.744', '–')
    """
    return MISSING if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """A difference, with its sign and a true minus.

    >>> signed(-0.0121), signed(0.5, 2)
    ('−0.0121', '+0.50')
    """
    if value is None or not np.isfinite(value):
        return MISSING
    return f"{value:+.{digits}f}".replace("-", "−")


def interval(found: Mapping[str, Any] | None, digits: int = 3) -> str:
    """The interval of a metric, or nothing where it has none.

    >>> interval({"value": 0.7, "low": 0.68, "high": 0.72})
    '[0.680, 0.720]'
    """
    if not found or found.get("low") is None or found.get("high") is None:
        return ""
    return f"[{number(found['low'], digits)}, {number(found['high'], digits)}]"


def signed_interval(found: Mapping[str, Any], digits: int = 4) -> str:
    """The interval of a difference, or nothing where it has none."""
    if found.get("low") is None or found.get("high") is None:
        return ""
    return f"[{signed(found['low'], digits)}, {signed(found['high'], digits)}]"


def difference(found: Mapping[str, Any], digits: int = 4) -> str:
    """A difference and its interval.

    >>> difference({"difference": 0.01, "low": -0.002, "high": 0.022}, 3)
    '+0.010 [−0.002, +0.022]'
    """
    return f"{signed(found['difference'], digits)} {signed_interval(found, digits)}".rstrip()


def markdown_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table.

    >>> markdown_row(["a", "", "b"])
    '| a | | b |'
    """
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def documents(number: int) -> str:
    """The heading of pages of one size.

    >>> documents(1), documents(50)
    ('1 doc', '50 docs')
    """
    return f"{number} doc{'s' if number > 1 else ''}"


def excludes_zero(found: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference lies on one side of 0."""
    low, high = found.get("low"), found.get("high")
    return low is not None and high is not None and (low > 0 or high < 0)


def seeds(values: Sequence[float] | None) -> str:
    """Mean and standard deviation over the seeds of a student.

    >>> seeds([0.74, 0.75, 0.76])
    '0.750 ± 0.010'
    """
    kept = [value for value in values or () if value is not None]
    if not kept:
        return MISSING
    if len(kept) == 1:
        return number(kept[0])
    return f"{np.mean(kept):.3f} ± {np.std(kept, ddof=1):.3f}"


def count(value: float | None) -> str:
    """Parameters, shortened.

    >>> count(4_234_112), count(81_200), count(950)
    ('4.2 M', '81 k', '950')
    """
    if value is None:
        return MISSING
    if value >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value / 1e3:.0f} k" if value >= 1e4 else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """A latency with three significant digits.

    >>> milliseconds(1.0234), milliseconds(15.27), milliseconds(123.4)
    ('1.02', '15.3', '123')
    """
    if value is None:
        return MISSING
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(max(value, 0.01)))))}f}"


def duration(seconds: float | None) -> str:
    """The time of a stage.

    >>> duration(4.21), duration(75), duration(3720)
    ('4.2 s', '1 min 15 s', '1 h 02 min')
    """
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
