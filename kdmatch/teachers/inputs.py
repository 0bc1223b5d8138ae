"""All that a GBDT teacher computes of the two texts of a row."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from kdmatch.teachers.features import TextFeatures
from kdmatch.teachers.neighbours import NeighbourFeatures
from kdmatch.teachers.sentences import Encode, SentenceFeatures
from kdmatch.text.word2vec import skip_gram

Progress = Callable[[int], AbstractContextManager[Callable[[int, str], None]]]
_TEXT, _SENTENCES, _NEIGHBOURS = "features", "sentences.npz", "neighbours.npz"


class GbdtInputs:
    """`TextFeatures`, then `SentenceFeatures` where a sentence encoder is named, then neighbours'.

    `NeighbourFeatures` go by the sentence encoder's vectors, or else by the words'.

    Attributes:
        names: list of str.
    """

    def __init__(
        self,
        text: TextFeatures,
        sentences: SentenceFeatures | None = None,
        neighbours: NeighbourFeatures | None = None,
    ) -> None:
        self._text, self._sentences, self._neighbours = text, sentences, neighbours
        parts = (text, sentences, neighbours)
        self.names = [name for part in parts if part is not None for name in part.names]

    @classmethod
    def fit(
        cls,
        documents: Sequence[str],
        queries: Sequence[str],
        language: str,
        dimension: int = 0,
        sentences: str | None = None,
        components: int = 32,
        neighbours: Callable[[Encode], NeighbourFeatures] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> "GbdtInputs":
        """Learn what the features read of a collection.

        Args:
            documents, queries: sequences of str, each text once.
            language: str. As `TextFeatures.fit`.
            dimension: int. Length of the word vectors, trained on both; 0 for none.
            sentences: str or None. As `SentenceEncoder`'s start.
            components: int. Directions of `SentenceFeatures`.
            neighbours: callable of what gives vectors of texts that makes `NeighbourFeatures`, or
                None for none; where nothing gives vectors there are none either.
            seed: int. Of the word vectors.
            progress: callable of how many texts the sentence encoder will read, which gives
                a context of a callable of (texts read, message).
        """
        text = TextFeatures.fit(documents, language=language)
        if dimension:
            # Vectors of the features' own words, so that what they look up is there.
            read = [list(text.words(one)) for one in (*documents, *queries)]
            vectors = skip_gram(read, dimension, epochs=10, seed=seed, min_count=2)
            if vectors is not None:
                text = text.with_vectors(vectors)
        fitted = None
        if sentences:
            texts = len({*documents, *queries})
            with progress(texts) if progress is not None else nullcontext() as advance:
                fitted = SentenceFeatures.fit(sentences, documents, components, queries, advance)
        known = cls(text, fitted)
        if neighbours is None or known._encode is None:
            return known
        return cls(text, fitted, neighbours(known._encode))

    def transform(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """Features of each pair, float32 `(pairs, len(names))`."""
        features = [self._text.transform(queries, documents)]
        encode = self._known(queries, documents)
        if self._sentences is not None:
            features.append(self._sentences.transform(queries, documents, encode))
        if self._neighbours is not None and encode is not None:
            features.append(self._neighbours.transform(queries, documents, encode))
        return np.concatenate(features, axis=1)

    def without_fold(
        self, features: np.ndarray, queries: Sequence[str], documents: Sequence[str]
    ) -> Callable[[int], np.ndarray]:
        """What the model of a fold may see of training rows: nothing of that fold's labels.

        Args:
            features: float `(rows, columns)`. Theirs by `transform`, and what comes after.
            queries, documents: sequences of str, `(rows,)`.

        Returns:
            callable of a fold that gives features like `features`, a copy where any differ.
        """
        near = self._neighbours
        encode = self._known(queries, documents) if near is not None else None
        if near is None or encode is None:
            return lambda fold: features
        columns = slice(len(self.names) - len(near.names), len(self.names))

        def seen(fold: int) -> np.ndarray:
            copy = features.copy()
            copy[:, columns] = near.transform(queries, documents, encode, without=fold)
            return copy

        return seen

    def _known(self, queries: Sequence[str], documents: Sequence[str]) -> Encode | None:
        """What looks up vectors of these texts, each made once, None where none are wanted."""
        encode = self._encode
        if encode is None or (self._sentences is None and self._neighbours is None):
            return None
        texts = list(dict.fromkeys([*queries, *documents]))
        vectors, place = encode(texts), {text: i for i, text in enumerate(texts)}
        return lambda some: vectors[[place[text] for text in some]]

    @property
    def _encode(self) -> Encode | None:
        """What gives vectors of texts, None where nothing does."""
        if self._sentences is not None:
            return self._sentences.encode
        return self._text.encode if self._text.has_vectors else None

    def save(self, folder: Path) -> None:
        """Write what `load` reads into a folder."""
        self._text.save(folder / _TEXT)
        if self._sentences is not None:
            self._sentences.save(folder / _SENTENCES)
        if self._neighbours is not None:
            self._neighbours.save(folder / _NEIGHBOURS)

    @classmethod
    def load(cls, folder: Path, sentences: str | None = None) -> "GbdtInputs":
        """Read what `save` wrote.

        Args:
            folder: Path.
            sentences: str or None. Where the sentence encoder is now, if there is one.
        """
        fitted, near = None, None
        if sentences is not None and (folder / _SENTENCES).is_file():
            fitted = SentenceFeatures.load(folder / _SENTENCES, sentences)
        if (folder / _NEIGHBOURS).is_file():
            near = NeighbourFeatures.load(folder / _NEIGHBOURS)
        return cls(TextFeatures.load(folder / _TEXT), fitted, near)
