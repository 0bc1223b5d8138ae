"""What a word is spelled with."""


def letter_pairs(word: str) -> set[str]:
    """Neighbouring letters of a word with its ends marked, and letters one apart.

    >>> sorted(letter_pairs("ab"))
    ['^.b', '^a', 'a.$', 'ab', 'b$']
    """
    marked = f"^{word}$"
    pairs = {marked[i : i + 2] for i in range(len(marked) - 1)}
    pairs.update(f"{marked[i]}.{marked[i + 2]}" for i in range(len(marked) - 2))
    return pairs
