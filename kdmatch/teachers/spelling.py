"""Letter pairs of words, distance of spellings, correction of words that no document has."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from kdmatch.text.letters import letter_pairs

_CANDIDATES = 8
_BLOCK = 512


def pair_matrix(words: Sequence[str], columns: dict[str, int], grow: bool) -> sparse.csr_matrix:
    """Words as rows of 0/1 letter pairs; `columns` maps pairs and grows if `grow`."""
    indices: list[int] = []
    starts = [0]
    for word in words:
        for pair in letter_pairs(word):
            column = columns.setdefault(pair, len(columns)) if grow else columns.get(pair, -1)
            if column >= 0:
                indices.append(column)
        starts.append(len(indices))
    return sparse.csr_matrix(
        (np.ones(len(indices), np.float32), indices, starts), (len(words), max(1, len(columns)))
    )


def edit_distance(left: str, right: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn one into the other.

    >>> edit_distance("viynl", "vinyl")
    1
    """
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        after = [i]
        for j, b in enumerate(right, 1):
            best = min(row[j] + 1, after[-1] + 1, row[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                best = min(best, before[j - 2] + 1)
            after.append(best)
        before, row = row, after
    return row[-1]


class Speller:
    """Replaces words that the documents do not have by the nearest that they have.

    A word of at least four letters becomes the most frequent known word at edit distance 1, else
    two known words that it is glued from, else a known word at distance 2 (five letters up).

    Args:
        frequency: mapping of word to the number of documents with it.
        most: int. Only this many of the most frequent words are offered as corrections.
    """

    def __init__(self, frequency: Mapping[str, int], most: int = 50_000) -> None:
        known = [w for w, n in frequency.items() if n >= 2 and len(w) >= 3 and _spellable(w)]
        known.sort(key=lambda word: (-frequency[word], word))
        self._frequency = frequency
        self._known = known[:most]
        self._columns: dict[str, int] = {}
        self._sizes = np.array([len(letter_pairs(w)) for w in self._known], np.float32)
        self._matrix = pair_matrix(self._known, self._columns, grow=True).T.tocsr()
        self._corrections: dict[str, tuple[str, ...]] = {}

    def correct(self, words: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Corrections of those words that need one and have one."""
        unknown = [w for w in dict.fromkeys(words) if self._needs(w)]
        fresh = [w for w in unknown if w not in self._corrections]
        for start in range(0, len(fresh), _BLOCK):
            self._add(fresh[start : start + _BLOCK])
        return {w: c for w in unknown if (c := self._corrections[w])}

    def _needs(self, word: str) -> bool:
        return len(word) >= 4 and word not in self._frequency and _spellable(word)

    def _add(self, words: list[str]) -> None:
        common = pair_matrix(words, self._columns, grow=False) @ self._matrix
        for row, word in enumerate(words):
            part = slice(common.indptr[row], common.indptr[row + 1])
            columns, shared = common.indices[part], common.data[part]
            dice = 2.0 * shared / (len(letter_pairs(word)) + self._sizes[columns])
            best = columns[np.lexsort((columns, -dice))[:_CANDIDATES]]
            ranked = sorted((edit_distance(word, self._known[c]), int(c)) for c in best)
            self._corrections[word] = self._choose(word, ranked)

    def _choose(self, word: str, ranked: list[tuple[int, int]]) -> tuple[str, ...]:
        if ranked and ranked[0][0] == 1:
            return (self._known[ranked[0][1]],)
        cuts = [(word[:i], word[i:]) for i in range(3, len(word) - 2)]
        scored = [
            (min(self._frequency.get(a, 0), self._frequency.get(b, 0)), a, b) for a, b in cuts
        ]
        if scored and max(scored)[0] >= 3:
            return max(scored)[1:]
        if ranked and ranked[0][0] == 2 and len(word) >= 5:
            return (self._known[ranked[0][1]],)
        return ()


def _spellable(word: str) -> bool:
    return word.isalpha() and ord(max(word)) < 0x250
