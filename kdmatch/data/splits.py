"""Splits and samples of whole queries, decided by a seeded hash of the query's id."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np


def query_position(query_id: str, seed: int) -> float:
    """A place in [0, 1) for a query, the same on every machine and in every order."""
    digest = hashlib.blake2b(f"{seed}:{query_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def query_key(query: str) -> str:
    """A query without case, width of letters and extra blanks: two with one key are one query.

    >>> query_key(" LED  bulb")
    'led bulb'
    >>> query_key("ＬＥＤ bulb")
    'led bulb'
    """
    return " ".join(unicodedata.normalize("NFKC", query).casefold().split())


def sample_queries(query_ids: Sequence[str], fraction: float, seed: int = 0) -> np.ndarray:
    """Mask of the rows whose query falls into the sample; queries stay whole.

    Independent of `assign_split` with the same seed: a sample of one split is a sample.

    >>> ids = ["a", "a", "b", "c", "d"]
    >>> kept = sample_queries(ids, 0.5)
    >>> bool(kept[0] == kept[1])
    True
    """
    inside = {query: query_position(f"sample:{query}", seed) < fraction for query in set(query_ids)}
    return np.array([inside[query] for query in query_ids], dtype=bool)


def assign_split(
    query_ids: Iterable[str], fractions: tuple[float, float], seed: int = 0
) -> list[str]:
    """`train`, `valid` or `test` for each row, by query.

    Args:
        query_ids: iterable of str; for texts, `query_key` of each, so that a query stays whole
            however it is written.
        fractions: shares of queries for valid and for test.
        seed: int.
    """
    valid, test = fractions
    names = []
    for query in query_ids:
        place = query_position(query, seed)
        names.append("valid" if place < valid else "test" if place < valid + test else "train")
    return names
