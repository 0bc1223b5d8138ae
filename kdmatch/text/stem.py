"""English stems."""

from functools import cache, lru_cache
from typing import Any


@cache
def _english() -> Any:
    import snowballstemmer  # matchers without match details need none

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """English Snowball stem of a lower-case word; numbers and other scripts stay as they are."""
    return str(_english().stemWord(word)) if word.isascii() and word.isalpha() else word
