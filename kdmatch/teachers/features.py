"""What a GBDT sees of a (query, document) pair."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from kdmatch.data.language import detect_language
from kdmatch.errors import UserError
from kdmatch.files import read_arrays, write_arrays
from kdmatch.teachers.analysis import LANGUAGES, Analysis, analyse
from kdmatch.teachers.grams import BUCKETS, GRAM_NAMES, SIZES, gram_features, gram_rows
from kdmatch.teachers.nearest import EMBEDDING_NAMES
from kdmatch.teachers.overlap import OVERLAP_NAMES
from kdmatch.teachers.pairs import PAIR_NAMES, pair_features
from kdmatch.teachers.sides import Side
from kdmatch.teachers.spelling import Speller
from kdmatch.text.stem import stem

_BLOCK = 8192
_CACHED_TEXTS = 100_000
_FORMAT = 1


def inverse_frequency(frequency: np.ndarray, documents: int) -> np.ndarray:
    """`log(1 + (N - n + 0.5) / (n + 0.5))`, BM25's idf, always positive.

    >>> float(inverse_frequency(np.array([1]), 1).round(3)[0])   # log(1 + 0.5 / 1.5)
    0.288
    """
    frequency = np.minimum(frequency, documents)
    return np.log1p((documents - frequency + 0.5) / (frequency + 0.5))


@dataclass
class Collection:
    """What the documents told: how many there are, how long, and which tokens are rare.

    Attributes:
        documents: int. Number of documents.
        word_frequency, unit_frequency: dict. Documents with a word, and with a stem (English) or
            character (Chinese).
        gram_frequency: dict of n to int array `(BUCKETS,)`. Documents with a hashed n-gram.
        words, units: int. Total of tokens.
    """

    documents: int
    word_frequency: dict[str, int]
    unit_frequency: dict[str, int]
    gram_frequency: dict[int, np.ndarray]
    words: int
    units: int

    @classmethod
    def count(cls, documents: Iterable[str], language: str) -> "Collection":
        """Counts a stream of documents, a block in memory at a time."""
        words: Counter[str] = Counter()
        units: Counter[str] = Counter()
        self = cls(0, words, units, {n: np.zeros(BUCKETS, np.int32) for n in SIZES}, 0, 0)
        stream = iter(documents)
        while block := [analyse(text, language) for text in islice(stream, _BLOCK)]:
            self.documents += len(block)
            for one in block:
                words.update(set(one.words))
                units.update(set(one.units))
                self.words += len(one.words)
                self.units += len(one.units)
            for n, frequency in self.gram_frequency.items():
                rows = gram_rows([one.text for one in block], n)
                frequency += np.bincount(rows.indices, minlength=BUCKETS).astype(np.int32)
        return self


class TextFeatures:
    """Lexical features of query-document pairs, and embedding cosines where vectors are given.

    Made by `TextFeatures.fit`. Each row depends on its own pair and on the fitted documents,
    never on the rows beside it. English queries are spell-checked against the documents.

    >>> features = TextFeatures.fit(["red towel bar", "blue towel ring", "lamp"], language="en")
    >>> row = features.transform(["towel bar"], ["red towel bar"])[0]
    >>> float(row[features.names.index("word_cover")])
    1.0
    """

    def __init__(
        self,
        collection: Collection,
        language: str,
        vector_words: Sequence[str] = (),
        vectors: np.ndarray | None = None,
    ) -> None:
        self.collection = collection
        self.language = language
        self._vector_row = {word: row for row, word in enumerate(vector_words)}
        self._vectors = vectors
        self._gram_idf = {
            n: inverse_frequency(frequency, collection.documents).astype(np.float32)
            for n, frequency in collection.gram_frequency.items()
        }
        self._speller = Speller(collection.word_frequency) if language == "en" else None
        self._analyses: dict[str, Analysis] = {}
        levels = ("word", "stem" if language == "en" else "char")
        self.names: list[str] = [f"{level}_{name}" for level in levels for name in OVERLAP_NAMES]
        self.names += [*GRAM_NAMES, *PAIR_NAMES]
        if vectors is not None:
            self.names += EMBEDDING_NAMES

    @classmethod
    def fit(cls, documents: Iterable[str], *, language: str = "auto") -> "TextFeatures":
        """Learns token rarity and lengths from documents, streamed once.

        Args:
            documents: iterable of str. The collection, each text once.
            language: `"en"`, `"zh"`, or `"auto"`: by the script of the first documents.
        """
        if language not in LANGUAGES:
            raise UserError(f"language {language!r} is not one of {', '.join(LANGUAGES)}")
        stream = iter(documents)
        first = list(islice(stream, _BLOCK))
        if not first:
            raise UserError("no documents to compute features from; is the data empty?")
        if language == "auto":
            language = detect_language(first)
        collection = Collection.count((text for part in (first, stream) for text in part), language)
        return cls(collection, language)

    def with_vectors(self, vectors: Any) -> "TextFeatures":
        """The same with features of word vectors too.

        Args:
            vectors: gensim `KeyedVectors` of `words`.
        """
        matrix = np.asarray(vectors.vectors, np.float32)
        norm = np.linalg.norm(matrix, axis=1, keepdims=True)
        known = TextFeatures(
            self.collection,
            self.language,
            vectors.index_to_key,
            matrix / np.maximum(norm, 1e-9),
        )
        known._analyses = self._analyses
        return known

    @property
    def has_vectors(self) -> bool:
        """Whether word vectors are known."""
        return self._vectors is not None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Sums of each text's word vectors, weighed by idf, of length 1; 0 where none is known.

        Returns: float32 `(len(texts), dimension)`.
        """
        if self._vectors is None:
            raise ValueError("no word vectors; give them by with_vectors")
        encoded = np.zeros((len(texts), self._vectors.shape[1]), np.float32)
        frequency, documents = self.collection.word_frequency, self.collection.documents
        for row, text in enumerate(texts):
            words = [word for word in self.words(text) if word in self._vector_row]
            counts = np.array([frequency.get(word, 0) for word in words])
            vectors = self._vectors[[self._vector_row[word] for word in words]]
            encoded[row] = inverse_frequency(counts, documents) @ vectors
        norm = np.linalg.norm(encoded, axis=1, keepdims=True)
        return encoded / np.maximum(norm, 1e-9)

    def transform(
        self, queries: Sequence[str], documents: Sequence[str], *, workers: int = 1
    ) -> np.ndarray:
        """Features of each pair `(queries[i], documents[i])`.

        Args:
            queries, documents: sequences of str, equally long.
            workers: int. Processes to spread blocks of rows over.

        Returns: float32 array `(pairs, len(names))`, finite.
        """
        if len(queries) != len(documents):
            raise ValueError(f"{len(queries)} queries but {len(documents)} documents")
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(queries), _BLOCK)]
        if workers > 1 and len(blocks) > 1:
            run = joblib.delayed(self._block)
            parts = joblib.Parallel(n_jobs=workers)(run(queries[b], documents[b]) for b in blocks)
        else:
            parts = [self._block(queries[b], documents[b]) for b in blocks]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.names)), np.float32)

    def words(self, text: str) -> tuple[str, ...]:
        """The words that embeddings are looked up by; train vectors for these on these."""
        return self._analyse(text).words

    def _analyse(self, text: str) -> Analysis:
        found = self._analyses.get(text)
        if found is None:
            if len(self._analyses) >= _CACHED_TEXTS:
                self._analyses.clear()
            found = self._analyses[text] = analyse(text, self.language)
        return found

    def _correct(self, analyses: list[Analysis]) -> tuple[list[Analysis], np.ndarray]:
        """Queries with misspelled words replaced, and how many words were."""
        changed = np.zeros(len(analyses))
        if self._speller is None:
            return analyses, changed
        corrections = self._speller.correct([word for one in analyses for word in one.words])
        result = []
        for row, one in enumerate(analyses):
            if corrections and not corrections.keys().isdisjoint(one.words):
                words: list[str] = []
                head = -1
                for position, word in enumerate(one.words):
                    words.extend(corrections.get(word, (word,)))
                    changed[row] += word in corrections
                    head = len(words) - 1 if position == one.head else head
                units = tuple(map(stem, words))
                one = Analysis(one.text, tuple(words), units, one.measures, head)
            result.append(one)
        return result, changed

    def _block(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        query_texts = {text: row for row, text in enumerate(dict.fromkeys(queries))}
        document_texts = {text: row for row, text in enumerate(dict.fromkeys(documents))}
        query_row = np.array([query_texts[text] for text in queries])
        document_row = np.array([document_texts[text] for text in documents])
        asked, corrected = self._correct([self._analyse(text) for text in query_texts])
        found = [self._analyse(text) for text in document_texts]
        sides = (Side(asked, distinct=True), Side(found, distinct=False))
        matched, scalars = pair_features(
            *sides, query_row, document_row, corrected, self.collection, self._vectors,
            self._vector_row,
        )  # fmt: skip
        grams = [
            gram_features(
                gram_rows([one.text for one in asked], n),
                gram_rows([one.text for one in found], n),
                query_row,
                document_row,
                self._gram_idf[n],
            )
            for n in SIZES
        ]
        return np.concatenate([matched, *grams, scalars], 1).astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_analyses": {}}

    def save(self, path: Path) -> None:
        """Writes one `.npz` file of plain arrays."""
        c = self.collection
        header = {
            "format": _FORMAT,
            "language": self.language,
            "documents": c.documents,
            "words": c.words,
            "units": c.units,
            "word_frequency": c.word_frequency,
            "unit_frequency": c.unit_frequency,
            "vector_words": list(self._vector_row),
        }
        arrays: dict[str, Any] = {
            f"gram{n}": frequency for n, frequency in c.gram_frequency.items()
        }
        if self._vectors is not None:
            arrays["vectors"] = self._vectors
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_arrays(Path(path), header, arrays, compress=True)

    @classmethod
    def load(cls, path: Path) -> "TextFeatures":
        """Reads what `save` wrote."""
        header, arrays = read_arrays(path)
        if header["format"] != _FORMAT:
            raise UserError(f"{path}: features of format {header['format']}, not {_FORMAT}")
        collection = Collection(
            header["documents"],
            header["word_frequency"],
            header["unit_frequency"],
            {n: arrays[f"gram{n}"] for n in SIZES},
            header["words"],
            header["units"],
        )
        return cls(collection, header["language"], header["vector_words"], arrays.get("vectors"))
