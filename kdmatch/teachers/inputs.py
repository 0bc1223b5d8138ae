"""All that a GBDT teacher computes of the two texts of a row."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from kdmatch.teachers.features import TextFeatures
from kdmatch.teachers.sentences import SentenceFeatures
from kdmatch.text.word2vec import skip_gram

Progress = Callable[[int], AbstractContextManager[Callable[[int, str], None]]]
_TEXT, _SENTENCES = "features", "sentences.npz"


class GbdtInputs:
    """`TextFeatures` and, where a sentence encoder is named, `SentenceFeatures` after them.

    Attributes:
        names: list of str.
    """

    def __init__(self, text: TextFeatures, sentences: SentenceFeatures | None = None) -> None:
        self._text, self._sentences = text, sentences
        self.names = [*text.names, *(sentences.names if sentences is not None else [])]

    @classmethod
    def fit(
        cls,
        documents: Sequence[str],
        queries: Sequence[str],
        language: str,
        dimension: int = 0,
        sentences: str | None = None,
        components: int = 32,
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
        if not sentences:
            return cls(text)
        with progress(len(documents)) if progress is not None else nullcontext() as advance:
            return cls(text, SentenceFeatures.fit(sentences, documents, components, advance))

    def transform(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """Features of each pair, float32 `(pairs, len(names))`."""
        features = self._text.transform(queries, documents)
        if self._sentences is None:
            return features
        return np.concatenate([features, self._sentences.transform(queries, documents)], axis=1)

    def save(self, folder: Path) -> None:
        """Write what `load` reads into a folder."""
        self._text.save(folder / _TEXT)
        if self._sentences is not None:
            self._sentences.save(folder / _SENTENCES)

    @classmethod
    def load(cls, folder: Path, sentences: str | None = None) -> "GbdtInputs":
        """Read what `save` wrote.

        Args:
            folder: Path.
            sentences: str or None. Where the sentence encoder is now, if there is one.
        """
        text, file = TextFeatures.load(folder / _TEXT), folder / _SENTENCES
        if sentences is None or not file.is_file():
            return cls(text)
        return cls(text, SentenceFeatures.load(file, sentences))
