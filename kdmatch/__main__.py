"""`python -m kdmatch`."""

from kdmatch.cli import entry_point

entry_point()
