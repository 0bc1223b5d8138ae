"""Which words are spelled right, and what a word that is not was meant to be."""

import json
import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

SHORTEST, LONGEST = 4, 24
_FILE = "spelling.json"
WORD = rf"[a-z]{{{SHORTEST},{LONGEST}}}"
_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}


class Spelling:
    """Corrects words that are not known to be right.

    A word of four letters or more is taken for a known one with a letter more or
    fewer, else (five letters) for one with another letter in a place, or with one moved;
    of several, for the most frequent. Words with other letters than a to z stay.

    Args:
        known: sequence of str. Words that are spelled right, the most frequent first.
        offered: int. Words are corrected to the first so many.

    Attributes:
        words: list of str. Those that words are corrected to; their ranks begin at 1.
        whole, shortened: dict of str to int. Rank of a word, and of the most frequent word
            that lacks one letter.

    Reference:
        Garbe, "SymSpell: symmetric delete spelling correction", 2012: two words are one
        letter apart where they agree once each has lost one letter at most.

    >>> spelling = Spelling(["kitchen", "faucet", "kitten", "sofas"], offered=3)
    >>> spelling.correct("Kitcheen facuet for sofas")
    'kitchen faucet for sofas'
    """

    def __init__(self, known: Sequence[str], offered: int) -> None:
        self.known = dict.fromkeys(filter(is_spelled, known))
        rest = set(known[offered:])
        self.words = [word for word in self.known if word not in rest]
        self.whole = {word: rank for rank, word in enumerate(self.words, 1)}
        self.shortened: dict[str, int] = {}
        for word, rank in self.whole.items():
            for shorter in _without_one(word):
                self.shortened.setdefault(shorter, rank)

    def correct(self, text: str) -> str:
        """`text` folded (NFKC, a to z) if anything in it is corrected, else as it is."""
        folded = unicodedata.normalize("NFKC", text).translate(_LOWER)
        runs = ("".join(run) for _, run in groupby(folded, _is_letter))
        corrected = "".join(map(self._meant, runs))
        return text if corrected == folded else corrected

    def _meant(self, word: str) -> str:
        if word in self.known or not is_spelled(word):
            return word
        shorter = list(_without_one(word))
        ranks = [self.whole.get(key, 0) for key in shorter] + [self.shortened.get(word, 0)]
        if not any(ranks) and len(word) > SHORTEST:
            ranks = [self.shortened.get(key, 0) for key in shorter]
        best = min(filter(None, ranks), default=0)
        return self.words[best - 1] if best else word

    @classmethod
    def load(cls, folder: Path) -> "Spelling | None":
        """What `save_spelling` wrote to `folder`, if anything."""
        try:
            return cls(**json.loads((folder / _FILE).read_text("utf-8")))
        except FileNotFoundError:
            return None


def save_spelling(spelling: Spelling | None, folder: Path) -> None:
    """Write `spelling.json`, and leave none where there is no spelling."""
    if spelling is None:
        (folder / _FILE).unlink(missing_ok=True)
        return
    rest = [word for word in spelling.known if word not in spelling.whole]
    content = {"known": [*spelling.words, *rest], "offered": len(spelling.words)}
    (folder / _FILE).write_text(json.dumps(content), encoding="utf-8")


def is_spelled(word: str) -> bool:
    """Whether a word is one of those that can be right or wrong: of 4 to 24 letters a to z."""
    return re.fullmatch(WORD, word) is not None


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def _without_one(word: str) -> Iterator[str]:
    return (word[:i] + word[i + 1 :] for i in range(len(word)))
