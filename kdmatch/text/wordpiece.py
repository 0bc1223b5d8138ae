"""BERT's input, made inside the graph: WordPiece, then `[CLS] query [SEP] document [SEP]`.

KerasHub's packer ends in `TFText>RoundRobinTrim`, which the TensorFlow Text
inside released TF Serving images does not have; the packing here is written
with TensorFlow's own ops and gives the same rows whenever both sides fit.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text

from kdmatch.errors import UserError
from kdmatch.text.clean import clean_utf8
from kdmatch.text.speller import Speller
from kdmatch.text.spelling import Spelling, save_spelling

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPieceEncoder:
    """Pairs of strings to the ids of a BERT or ALBERT matcher.

    The query stands first and whole, up to `max_query_tokens`; the document
    is cut to what is left of `max_tokens`.

    Args:
        vocabulary: sequence of str. WordPiece tokens in id order; `[PAD]` is 0.
        lower_case: bool. Lower-case and strip accents, as in uncased BERT.
        max_query_tokens: int. Query tokens kept.
        max_tokens: int. Length of the longest packed row, the three special
            tokens included.
        spelling: Spelling that queries are corrected by, of an uncased encoder, or None.

    Call args:
        query, document: string tensors `(batch,)`.

    Returns:
        `{"token_ids", "segment_ids"}`, int32 `(batch, longest in the batch)`,
        padded with 0. Segment 0 is `[CLS] query [SEP]`, 1 is `document [SEP]`.

    Raises:
        UserError: if the vocabulary lacks a special token or `[PAD]` is not 0.
        ValueError: if a cased encoder is given a spelling, which knows no case.
    """

    kind = "wordpiece"
    input_names = ("token_ids", "segment_ids")

    def __init__(
        self,
        vocabulary: Sequence[str],
        lower_case: bool = True,
        max_query_tokens: int = 32,
        max_tokens: int = 64,
        spelling: Spelling | None = None,
    ) -> None:
        self.vocabulary = list(vocabulary)
        missing = [token for token in SPECIAL_TOKENS[:4] if token not in self.vocabulary]
        if missing or self.vocabulary[0] != "[PAD]":
            lacks = ", ".join(missing) or "[PAD] as its first line"
            raise UserError(f"the WordPiece vocabulary lacks {lacks}; give a BERT vocab.txt")
        if max_tokens < max_query_tokens + 4:
            raise UserError(
                f"text.wordpiece.max_tokens is {max_tokens}: it must exceed max_query_tokens "
                f"({max_query_tokens}) by at least 4"
            )
        if spelling is not None and not lower_case:
            raise ValueError("a cased WordPieceEncoder takes no spelling, which knows no case")
        self.lower_case = lower_case
        self.max_query_tokens = max_query_tokens
        self.max_tokens = max_tokens
        self.spelling = spelling
        self._speller = Speller(spelling) if spelling is not None else None
        self._cls = self.vocabulary.index("[CLS]")
        self._sep = self.vocabulary.index("[SEP]")
        self._tokenizer = tf_text.FastBertTokenizer(
            vocab=self.vocabulary,
            token_out_type=tf.int32,
            lower_case_nfd_strip_accents=lower_case,
        )

    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Ids `(batch, (tokens))` of documents, strings `(batch,)`, without special tokens."""
        return self.cut(self.clean_documents(text))

    def cut(self, clean: tf.Tensor) -> tf.RaggedTensor:
        """Ids `(batch, (tokens))` of what one of the next two returns."""
        return self._tokenizer.tokenize(clean)

    def clean_queries(self, text: tf.Tensor) -> tf.Tensor:
        """Queries as `cut` takes them: valid, of bounded length, corrected."""
        clean = self.clean_documents(text)
        return clean if self._speller is None else self._speller(clean)

    def clean_documents(self, text: tf.Tensor) -> tf.Tensor:
        """Documents as `cut` takes them: valid, of bounded length."""
        return clean_utf8(text, max_bytes=32 * self.max_tokens)

    def __call__(self, query: tf.Tensor, document: tf.Tensor) -> dict[str, tf.Tensor]:
        query_ids = self.cut(self.clean_queries(query))[:, : self.max_query_tokens]
        document_ids = self.tokenize(document)[:, : self.max_tokens - 3]
        rows = tf.shape(query)[0]
        cls = tf.fill([rows, 1], self._cls)
        sep = tf.fill([rows, 1], self._sep)
        left = tf.concat([cls, query_ids, sep], axis=1)
        room = self.max_tokens - 1 - left.row_lengths()
        document_ids = tf.ragged.boolean_mask(
            document_ids,
            tf.ragged.range(tf.cast(document_ids.row_lengths(), tf.int64))
            < tf.expand_dims(tf.cast(room, tf.int64), 1),
        )
        right = tf.concat([document_ids, sep], axis=1)
        return {
            "token_ids": tf.concat([left, right], axis=1).to_tensor(),
            "segment_ids": tf.concat(
                [tf.zeros_like(left), tf.ones_like(right)], axis=1
            ).to_tensor(),
        }

    def save(self, folder: Path) -> None:
        """Write `vocabulary.txt`, `encoder.json` and `spelling.json`, if it has one."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocabulary.txt").write_text("\n".join(self.vocabulary), encoding="utf-8")
        settings = {
            "kind": self.kind,
            "lower_case": self.lower_case,
            "max_query_tokens": self.max_query_tokens,
            "max_tokens": self.max_tokens,
        }
        save_spelling(self.spelling, folder)
        (folder / "encoder.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
