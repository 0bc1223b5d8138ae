"""WordPieces of words, outside the graph: what a BERT would read for each."""

import re
from collections.abc import Sequence

# BERT reads each of these as a word of its own.
_CJK = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


def word_pieces(words: Sequence[str], vocabulary: Sequence[str]) -> list[list[int]]:
    """Ids of the pieces of each word: the longest that fit, from the left.

    Args:
        words: sequence of str, as the pieces' case is.
        vocabulary: sequence of str. WordPiece tokens in id order.

    Returns:
        one list a word; empty where a part of it has no piece.

    Reference:
        Schuster and Nakajima, "Japanese and Korean voice search", 2012.

    >>> word_pieces(["lamps", "lamp", "爱情", "x"], ["[PAD]", "lamp", "##s", "爱", "情"])
    [[1, 2], [1], [3, 4], []]
    """
    number = {piece: i for i, piece in enumerate(vocabulary)}
    found = []
    for word in words:
        parts = [_longest(part, number) for part in _CJK.split(word) if part]
        found.append([i for part in parts for i in part] if all(parts) else [])
    return found


def _longest(word: str, number: dict[str, int]) -> list[int]:
    ids, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            if (piece := number.get(prefix + word[start:end])) is not None:
                ids.append(piece)
                start = end
                break
        else:
            return []
    return ids
