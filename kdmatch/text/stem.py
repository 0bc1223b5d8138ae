"""English stems."""

from functools import lru_cache

import snowballstemmer

_english = snowballstemmer.stemmer("english")


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """English Snowball stem of a lower-case word; numbers and other scripts stay as they are."""
    return str(_english.stemWord(word)) if word.isascii() and word.isalpha() else word
