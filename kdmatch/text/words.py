"""TextCNN's input: words, segmented inside the graph by forward maximum matching."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.python.ops.regex_split_ops import gen_regex_split_ops

from kdmatch.text.clean import clean_utf8
from kdmatch.text.speller import Speller
from kdmatch.text.spelling import Spelling, save_spelling

PADDING, UNKNOWN = "[PAD]", "\ufffd"
_BYTES_PER_WORD = 32  # read at most, on average, of a text that is cut to so many words
_BREAKS = r"[\s\p{Z}\p{C}]+"
_ALONE = r"[\p{P}\p{S}]"


class WordEncoder:
    """Pairs of strings to word ids, query and document apart.

    Text is folded (NFKC, case), split at spaces and punctuation, and each
    chunk is cut into the longest vocabulary words from the left. That is
    dictionary segmentation for Chinese, whole words for English, and pieces
    for a word never seen. A character outside the vocabulary becomes U+FFFD,
    id 1, and spoils nothing beside it.

    Args:
        vocabulary: sequence of str in id order; `[PAD]` is 0, U+FFFD is 1.
        max_query_words, max_document_words: int. Words kept of each side.
        spelling: Spelling that queries are corrected by, or None.

    Call args:
        query, document: string tensors `(batch,)`.

    Returns:
        `{"query_ids", "document_ids"}`, int32 `(batch, longest in the batch)`,
        padded with 0, each at least one wide.
    """

    kind = "words"
    input_names = ("query_ids", "document_ids")

    def __init__(
        self,
        vocabulary: Sequence[str],
        max_query_words: int = 24,
        max_document_words: int = 64,
        spelling: Spelling | None = None,
    ) -> None:
        self.vocabulary = list(vocabulary)
        if self.vocabulary[:2] != [PADDING, UNKNOWN]:
            raise ValueError(f"vocabulary must begin with {PADDING!r} and U+FFFD")
        self.max_query_words = max_query_words
        self.max_document_words = max_document_words
        self.spelling = spelling
        self._speller = Speller(spelling) if spelling is not None else None
        known = sorted({word for word in self.vocabulary[1:] if len(word) == 1})
        self._unknown = "[^" + "".join(re.escape(c) for c in known) + r"\s]"
        self._tokenizer = tf_text.FastWordpieceTokenizer(
            vocab=self.vocabulary,
            suffix_indicator="",
            max_bytes_per_word=1 << 20,  # a longer chunk would become one unknown word
            token_out_type=tf.int32,
            unknown_token=UNKNOWN,
            no_pretokenization=True,
        )

    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Ids `(batch, (words))` of documents, strings `(batch,)`."""
        return self.cut(self.clean_documents(text))[:, : self.max_document_words]

    def clean_queries(self, text: tf.Tensor) -> tf.Tensor:
        """Queries as `cut` takes them: valid, of bounded length, corrected."""
        clean = clean_utf8(text, _BYTES_PER_WORD * self.max_query_words)
        return clean if self._speller is None else self._speller(clean)

    def clean_documents(self, text: tf.Tensor) -> tf.Tensor:
        """Documents as `cut` takes them: valid, of bounded length."""
        return clean_utf8(text, _BYTES_PER_WORD * self.max_document_words)

    def cut(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Ids `(batch, (words))` of valid UTF-8 `(batch,)`, however many."""
        chunks = split_chunks(text)
        pieces = self._tokenizer.tokenize(
            tf.strings.regex_replace(chunks.values, self._unknown, UNKNOWN)
        )
        splits = tf.gather(pieces.row_splits, chunks.row_splits)
        return tf.RaggedTensor.from_row_splits(pieces.values, splits, validate=False)

    def __call__(self, query: tf.Tensor, document: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "query_ids": _at_least_one(
                self.cut(self.clean_queries(query))[:, : self.max_query_words]
            ),
            "document_ids": _at_least_one(self.tokenize(document)),
        }

    def save(self, folder: Path) -> None:
        """Write `vocabulary.txt`, `encoder.json` and `spelling.json`, if it has one."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocabulary.txt").write_text("\n".join(self.vocabulary), encoding="utf-8")
        settings = {
            "kind": self.kind,
            "max_query_words": self.max_query_words,
            "max_document_words": self.max_document_words,
        }
        save_spelling(self.spelling, folder)
        (folder / "encoder.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")


def split_chunks(text: tf.Tensor) -> tf.RaggedTensor:
    """Folded text cut at spaces; digits, letters and marks stand apart.

    >>> split_chunks(tf.constant(["LED-Light 60W"])).to_list()
    [[b'led', b'-', b'light', b'60', b'w']]
    """
    folded = tf_text.case_fold_utf8(tf_text.normalize_utf8(text, "NFKC"))
    spaced = tf.strings.regex_replace(folded, r"(\d+)", r" \1 ")
    # The op behind `tf_text.regex_split`, which would add 80 nodes to the graph to check that
    # what comes out of it is ragged: about a fifth of the time that one served pair takes.
    tokens, _, _, splits = gen_regex_split_ops.regex_split_with_offsets(
        spaced, f"({_BREAKS}|{_ALONE})", f"({_ALONE})"
    )
    return tf.RaggedTensor.from_row_splits(tokens, splits, validate=False)


def _at_least_one(ids: tf.RaggedTensor) -> tf.Tensor:
    dense = ids.to_tensor()
    return tf.pad(dense, [[0, 0], [0, tf.maximum(0, 1 - tf.shape(dense)[1])]])
