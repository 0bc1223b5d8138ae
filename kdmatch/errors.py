"""The one exception that means: the user can mend this, and here is how."""


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
