"""Ids of pairs outside TensorFlow, with Hugging Face tokenizers: for other engines.

The same rows as `kdmatch.text` makes in the graph, for text that is valid
UTF-8 and within its byte limit.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Ids = dict[str, np.ndarray]


class PairTokenizer(Protocol):
    """A query and its documents to the inputs of a matcher."""

    def __call__(self, query: str, documents: Sequence[str]) -> Ids:
        """int32 `(documents, length)` by input name, padded with 0."""
        ...


class WordPieceTokenizer:
    """`[CLS] query [SEP] document [SEP]`, as `WordPieceEncoder` packs them."""

    def __init__(self, tokenizer: Any, max_query_tokens: int, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_query, self._max = max_query_tokens, max_tokens
        self._cls, self._sep = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))

    def __call__(self, query: str, documents: Sequence[str]) -> Ids:
        head = self._tokenizer.encode(query, add_special_tokens=False).ids[: self._max_query]
        left = [self._cls, *head, self._sep]
        room = self._max - 1 - len(left)
        rows = [ids[:room] for ids in _batch(self._tokenizer, documents)]
        length = len(left) + 1 + max(map(len, rows), default=0)
        token_ids = np.zeros((len(rows), length), np.int32)
        segment_ids = np.zeros((len(rows), length), np.int32)
        token_ids[:, : len(left)] = left
        for index, row in enumerate(rows):
            end = len(left) + len(row)
            token_ids[index, len(left) : end] = row
            token_ids[index, end] = self._sep
            segment_ids[index, len(left) : end + 1] = 1
        return {"token_ids": token_ids, "segment_ids": segment_ids}


class WordTokenizer:
    """Query and document words apart, as `WordEncoder` gives them."""

    def __init__(self, tokenizer: Any, max_query_words: int, max_document_words: int) -> None:
        self._tokenizer = tokenizer
        self._max_query, self._max_document = max_query_words, max_document_words

    def __call__(self, query: str, documents: Sequence[str]) -> Ids:
        words = self._tokenizer.encode(query, add_special_tokens=False).ids[: self._max_query]
        rows = [ids[: self._max_document] for ids in _batch(self._tokenizer, documents)]
        document_ids = np.zeros((len(rows), max(1, max(map(len, rows), default=0))), np.int32)
        for index, row in enumerate(rows):
            document_ids[index, : len(row)] = row
        query_ids = np.zeros((len(rows), max(1, len(words))), np.int32)
        query_ids[:, : len(words)] = words
        return {"query_ids": query_ids, "document_ids": document_ids}


def save_pair_tokenizer(encoder: Any, folder: Path) -> None:
    """Write `tokenizer.json` for Hugging Face tokenizers, and `pair.json`, the limits."""
    folder.mkdir(parents=True, exist_ok=True)
    if encoder.kind == "wordpiece":
        tokenizer = _wordpiece(encoder.vocabulary, encoder.lower_case)
        limits = {"max_query_tokens": encoder.max_query_tokens, "max_tokens": encoder.max_tokens}
    else:
        tokenizer = _words(encoder.vocabulary)
        limits = {
            "max_query_words": encoder.max_query_words,
            "max_document_words": encoder.max_document_words,
        }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "pair.json").write_text(json.dumps({"kind": encoder.kind, **limits}), "utf-8")


def load_pair_tokenizer(folder: Path) -> PairTokenizer:
    """Read what `save_pair_tokenizer` wrote."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    limits = json.loads((folder / "pair.json").read_text("utf-8"))
    kind = limits.pop("kind")
    made: PairTokenizer = (WordPieceTokenizer if kind == "wordpiece" else WordTokenizer)(
        tokenizer, **limits
    )
    return made


def _batch(tokenizer: Any, documents: Sequence[str]) -> list[list[int]]:
    encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
    return [one.ids for one in encode(list(documents), add_special_tokens=False)]


def _wordpiece(vocabulary: Sequence[str], lower_case: bool) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    bert = normalizers.BertNormalizer(lowercase=lower_case, strip_accents=lower_case)
    # TensorFlow Text lower-cases by NFKC case folding, which narrows full-width letters too.
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), bert]) if lower_case else bert
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _words(vocabulary: Sequence[str]) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    from kdmatch.text.words import UNKNOWN

    ids = {token: index for index, token in enumerate(vocabulary)}
    # WordPiece with an empty prefix is forward maximum matching.
    tokenizer = Tokenizer(
        models.WordPiece(
            ids, unk_token=UNKNOWN, continuing_subword_prefix="", max_input_chars_per_word=1 << 20
        )
    )
    known = "".join(re.escape(word) for word in sorted(vocabulary[1:]) if len(word) == 1)
    unknown = Regex(rf"[^{known}\s\p{{Z}}\p{{C}}]")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(unknown, UNKNOWN)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\s\p{Z}\p{C}]+"), "removed"),
            pre_tokenizers.Split(Regex(r"[\p{P}\p{S}]"), "isolated"),
            pre_tokenizers.Split(Regex(r"[0-9]+"), "isolated"),
        ]
    )
    return tokenizer
