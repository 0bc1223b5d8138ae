"""A pre-trained sentence encoder: texts, or single words, to vectors."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kdmatch.data.batches import padded_batches
from kdmatch.data.ids import PairIds, padded_width
from kdmatch.errors import UserError
from kdmatch.files import file_hash
from kdmatch.models.head import masked_mean_pool
from kdmatch.models.matcher import for_any_shape
from kdmatch.models.pretrained import is_lower_case, pretrained_sizes, resolve_pretrained

_MAX_TOKENS = 128
_BLOCK = 8192
_FILES = ("config.json", "vocab.txt", "tokenizer_config.json", "*.safetensors*", "*.weights.h5*")
Advance = Callable[[int, str], None]


class SentenceEncoder:
    """Texts to vectors: the mean of a BERT's last hidden vectors over the text's tokens.

    Args:
        start: str. A BERT's Hugging Face or KerasHub directory with its `vocab.txt`, or
            `package:NAME/SUB`.

    Raises:
        UserError: if it is none.

    Reference:
        Reimers and Gurevych, "Sentence-BERT: sentence embeddings using siamese
        BERT-networks", 2019.
    """

    def __init__(self, start: str) -> None:
        self.folder = resolve_pretrained(start)
        sizes = pretrained_sizes(self.folder)
        self.dimension = sizes["hidden_dim"]
        # Padding has places too.
        places = sizes["max_sequence_length"]
        self._max_tokens = max(n for n in range(1, _MAX_TOKENS + 1) if padded_width(n) <= places)
        if not (self.folder / "vocab.txt").is_file():
            raise UserError(
                f"start {start!r}: {self.folder} has no vocab.txt; save its tokens so, one a line"
            )
        self._model: keras.Model | None = None

    def hashes(self) -> dict[str, str]:
        """BLAKE2 of each file that its vectors come from, by name."""
        names = {one.name: one for pattern in _FILES for one in self.folder.glob(pattern)}
        return {name: file_hash(path) for name, path in sorted(names.items())}

    def check(self, components: int) -> None:
        """Check that its vectors have so many directions.

        Raises:
            UserError: if not.
        """
        if components > self.dimension:
            raise UserError(
                f"gbdt.components is {components}: the vectors of {self.folder.name} have "
                f"{self.dimension}; give no more"
            )

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """Vectors of length 1, float32 `(len(texts), dimension)`.

        Args:
            texts: sequence of str; what follows the first 128 tokens, or as many as the BERT has
                places for, is not read.
            advance: callable of (texts done, message), for progress.
        """
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        if not len(texts):
            return vectors
        tokenizer = self._tokenizer()
        # A block at a time: an encoding is many times its ids.
        tokens = [
            np.array(one.ids, np.int32)
            for start in range(0, len(texts), _BLOCK)
            for one in tokenizer.encode_batch(list(texts[start : start + _BLOCK]))
        ]
        ids = PairIds(
            {"token_ids": np.concatenate(tokens)},
            {"token_ids": np.array(list(map(len, tokens)), np.int32)},
        )
        model = self._model = self._model or self._load()
        done = 0
        for rows, batch in padded_batches(ids):
            vectors[rows] = model.predict_on_batch(batch["token_ids"])[: len(rows)]
            done += len(rows)
            if advance is not None:
                advance(done, "")
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def _tokenizer(self) -> Any:
        from tokenizers import BertWordPieceTokenizer

        tokenizer = BertWordPieceTokenizer(
            str(self.folder / "vocab.txt"), lowercase=is_lower_case(self.folder)
        )
        tokenizer.enable_truncation(self._max_tokens)
        return tokenizer

    def _load(self) -> keras.Model:
        import keras_hub

        backbone = keras_hub.models.BertBackbone.from_preset(str(self.folder))
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        mask = keras.ops.not_equal(token_ids, 0)
        read = backbone(
            {
                "token_ids": token_ids,
                "segment_ids": keras.ops.zeros_like(token_ids),
                "padding_mask": keras.ops.cast(mask, "int32"),
            }
        )
        pooled = masked_mean_pool(read["sequence_output"], mask)
        return for_any_shape(keras.Model(token_ids, pooled))
