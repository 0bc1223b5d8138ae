"""The one exception that means: the user can mend this, and here is how."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake outside the program, said in one line.

    The message names the file, row, column or key, the value found and what
    to do. The command line prints it without a traceback and exits with 2.

    >>> raise UserError("rows.csv: no column 'query'; rename one or map it with data.columns")
    Traceback (most recent call last):
    ...
    kdmatch.errors.UserError: rows.csv: no column 'query'; rename one or map it with data.columns
    """


class CollapsedRunError(UserError):
    """Training arrived at a model that gives every pair the same score."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The end of a message about an unknown name: the nearest known one, else `otherwise`.

    >>> did_you_mean("droput", ["dropout", "filters"], "known: dropout, filters")
    "did you mean 'dropout'?"
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else otherwise
