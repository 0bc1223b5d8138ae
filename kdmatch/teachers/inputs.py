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
        labelled: tuple[Sequence[str], Sequence[str], np.ndarray] | None = None,
        neighbours: int = 0,
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
            labelled: queries, documents and labels of the training rows, NaN where there is none.
            neighbours: int. As `NeighbourFeatures`'s `most`; 0 for none.
            seed: int. Of the word vectors.
            progress: callable of how many documents the sentence encoder will read, which gives
                a context of a callable of (documents read, message).
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
            with progress(len(documents)) if progress is not None else nullcontext() as advance:
                fitted = SentenceFeatures.fit(sentences, documents, components, advance)
        known = cls(text, fitted)
        if not neighbours or labelled is None or known._encode is None:
            return known
        return cls(text, fitted, NeighbourFeatures.fit(known._encode, *labelled, neighbours))

    def transform(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """Features of each pair, float32 `(pairs, len(names))`."""
        features = [self._text.transform(queries, documents)]
        encode = self._encode
        if encode is not None:
            texts = list(dict.fromkeys([*queries, *documents]))
            vectors, place = encode(texts), {text: i for i, text in enumerate(texts)}

            def look_up(some: Sequence[str]) -> np.ndarray:
                return vectors[[place[text] for text in some]]

            for part in (self._sentences, self._neighbours):
                if part is not None:
                    features.append(part.transform(queries, documents, look_up))
        return np.concatenate(features, axis=1)

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
