"""How a field says, where it is declared, over what a search may move it."""

from dataclasses import dataclass
from typing import Any, Literal

Sampling = Literal["linear", "log"]


@dataclass(frozen=True)
class Searchable:
    """The range of a number, or the choices of anything else.

    Stands in the annotation of a config field, or beside a constructor
    argument in a matcher's `searched`; `kdmatch search` and its documentation
    read it from there.

    Attributes:
        low, high: ends of the range, both included.
        sampling: "log" draws the exponent evenly.
        choices: the values, in place of a range.
        when: (name of a field beside it, its values for which this one counts).

    >>> Searchable(1e-4, 4e-3, "log").described()
    '0.0001 to 0.004, log'
    >>> Searchable(choices=("hinge", "both")).described()
    'hinge, both'
    """

    low: float | None = None
    high: float | None = None
    sampling: Sampling = "linear"
    choices: tuple[Any, ...] = ()
    when: tuple[str, tuple[str, ...]] | None = None

    def described(self) -> str:
        """The range in words, for documentation."""
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        return f"{self.low:g} to {self.high:g}" + (", log" if self.sampling == "log" else "")
