"""What a pre-trained sentence encoder makes of a pair: features of the GBDT teacher."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kdmatch.errors import UserError
from kdmatch.files import read_arrays, write_arrays
from kdmatch.models.sentence_encoder import Advance, SentenceEncoder

Encode = Callable[[Sequence[str]], np.ndarray]

_BLOCK = 8192


class SentenceFeatures:
    """How near the vectors of a query and a document lie, and along which directions.

    The directions are the leading principal ones of the documents' vectors.

    Args:
        start: str. See `SentenceEncoder`.
        hashes: mapping. `SentenceEncoder.hashes` of the encoder whose vectors are known.
        mean: float32 `(dimension,)`. Of the documents' vectors.
        directions: float32 `(dimension, components)`.
        texts: sequence of str, whose vectors are known.
        vectors: float16 `(len(texts), dimension)`. Those.

    Attributes:
        names: list of str. `sentence_cosine`; for each direction both sides' coordinates,
            `sentence_query_i` and `sentence_document_i`, their product, `sentence_product_i`, and
            how far apart they lie, `sentence_distance_i`.
    """

    def __init__(
        self,
        start: str,
        hashes: Mapping[str, str],
        mean: np.ndarray,
        directions: np.ndarray,
        texts: Sequence[str],
        vectors: np.ndarray,
    ) -> None:
        self.start, self.hashes = start, dict(hashes)
        self._mean, self._directions = mean, directions
        self._row = {text: row for row, text in enumerate(texts)}
        self._vectors = vectors
        self._encoder: SentenceEncoder | None = None
        self.names = ["sentence_cosine"]
        for of in ("query", "document", "product", "distance"):
            self.names += [f"sentence_{of}_{i}" for i in range(directions.shape[1])]

    @classmethod
    def fit(
        cls,
        start: str,
        documents: Sequence[str],
        components: int,
        queries: Sequence[str] = (),
        advance: Advance | None = None,
    ) -> "SentenceFeatures":
        """Find the directions of documents, and keep the vectors of these and of queries.

        Args:
            start: str. See `SentenceEncoder`.
            documents, queries: sequences of str, each text once.
            components: int. How many directions.
            advance: callable of (texts read, message).

        Raises:
            UserError: if `start` names no BERT, or it has fewer dimensions than `components`.
        """
        encoder = SentenceEncoder(start)
        encoder.check(components)
        texts = list(dict.fromkeys([*documents, *queries]))
        vectors = encoder.encode(texts, advance)
        of_documents = vectors[: len(documents)]
        mean = of_documents.mean(axis=0)
        centred = of_documents - mean
        directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :components]
        features = cls(
            *(start, encoder.hashes(), mean, directions),
            texts,
            vectors.astype(np.float16),
        )
        features._encoder = encoder
        return features

    def transform(
        self, queries: Sequence[str], documents: Sequence[str], encode: Encode | None = None
    ) -> np.ndarray:
        """Features of each pair, float32 `(pairs, len(names))`.

        Args:
            queries, documents: sequences of str, `(pairs,)`.
            encode: callable of texts that gives what `encode` does, where that is known already.
        """
        place = {text: i for i, text in enumerate(dict.fromkeys([*queries, *documents]))}
        vectors = (encode or self.encode)(list(place))
        near = (vectors - self._mean) @ self._directions
        query, document = (
            np.array([place[text] for text in side], np.int64) for side in (queries, documents)
        )
        features = np.zeros((len(query), len(self.names)), np.float32)
        for start in range(0, len(query), _BLOCK):
            rows = slice(start, start + _BLOCK)
            cosine = np.einsum("nd,nd->n", vectors[query[rows]], vectors[document[rows]])
            q, d = near[query[rows]], near[document[rows]]
            features[rows] = np.concatenate([cosine[:, None], q, d, q * d, np.abs(q - d)], axis=1)
        return features

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32; those known are not computed again, those new not kept."""
        rows = np.array([self._row.get(text, -1) for text in texts], np.int64)
        vectors = np.zeros((len(texts), len(self._mean)), np.float16)
        vectors[rows >= 0] = self._vectors[rows[rows >= 0]]
        new = np.flatnonzero(rows < 0)
        if len(new):
            self._encoder = self._encoder or self._same_encoder()
            # Rounded as what is known was, so that a pair's features do not depend on that.
            vectors[new] = self._encoder.encode([texts[i] for i in new.tolist()])
        return vectors.astype(np.float32)

    def _same_encoder(self) -> SentenceEncoder:
        try:
            encoder = SentenceEncoder(self.start)
        except UserError as error:
            raise UserError(f"gbdt.sentences: {error}") from error
        found = encoder.hashes()
        names = sorted(self.hashes.keys() | found.keys())
        differ = [name for name in names if self.hashes.get(name) != found.get(name)]
        if differ:
            raise UserError(
                f"gbdt.sentences: {encoder.folder} is not the encoder that the GBDT was trained "
                f"with, {', '.join(differ)} differ; put that back, or call `kdmatch run` again"
            )
        return encoder

    def save(self, path: Path) -> None:
        """Write one `.npz` file of plain arrays, complete or not at all."""
        write_arrays(
            path,
            {"hashes": self.hashes, "texts": list(self._row)},
            {"mean": self._mean, "directions": self._directions, "vectors": self._vectors},
        )

    @classmethod
    def load(cls, path: Path, start: str) -> "SentenceFeatures":
        """Read what `save` wrote; `start` says where the encoder is now."""
        header, arrays = read_arrays(path)
        return cls(
            start,
            header["hashes"],
            arrays["mean"],
            arrays["directions"],
            header["texts"],
            arrays["vectors"],
        )
