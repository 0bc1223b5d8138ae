"""The encoders' ids outside TensorFlow, for engines that take ids.

A `tokenizer.json` of Hugging Face's `tokenizers` cuts strings into ids; rows
are laid out here as `WordPieceEncoder` and `WordEncoder` do it in their
graphs. Letters whose case folds in an unusual way (other than ß and final
sigma) and words of more than 100 letters may be cut differently.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdmatch.errors import UserError
from kdmatch.text.spelling import Spelling

TOKENIZER_FILE = "tokenizer.json"
_BYTES_PER_TOKEN = 32


def write_tokenizer(encoder: Any, folder: Path) -> None:
    """Write `tokenizer.json` beside what `encoder.save` writes.

    Args:
        encoder: WordPieceEncoder or WordEncoder.
        folder: Path. It exists.
    """
    encoder.save(folder)
    make = {"wordpiece": _wordpiece, "words": _words}[encoder.kind]
    make(encoder).save(str(folder / TOKENIZER_FILE))


def _wordpiece(encoder: Any) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    ids = {token: i for i, token in enumerate(encoder.vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    # TensorFlow Text folds case by NFKC and makes controls spaces; BERT's own code does neither.
    tokenizer.normalizer = normalizers.Sequence(
        [
            *(_fold() if encoder.lower_case else []),
            _replace(r"[\p{Cc}\p{Cf}]", " "),
            normalizers.BertNormalizer(
                clean_text=False, lowercase=encoder.lower_case, strip_accents=encoder.lower_case
            ),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _words(encoder: Any) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    unknown = encoder.vocabulary[1]
    ids = {word: i for i, word in enumerate(encoder.vocabulary)}
    known = "".join(re.escape(word) for word in sorted(ids) if len(word) == 1)
    tokenizer = Tokenizer(
        models.WordPiece(
            ids,
            unk_token=unknown,
            max_input_chars_per_word=1 << 20,
            continuing_subword_prefix="",
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            *_fold(),
            _replace(rf"[^{known}\s\p{{Z}}\p{{C}}]", unknown),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\s\p{Z}\p{C}]+"), "removed"),
            pre_tokenizers.Split(Regex(r"[\p{P}\p{S}]"), "isolated"),
            pre_tokenizers.Split(Regex("[0-9]+"), "isolated"),
        ]
    )
    return tokenizer


def _fold() -> list[Any]:
    """NFKC_Casefold, as TensorFlow Text folds: it takes away what has no width, too."""
    from tokenizers import normalizers

    return [
        normalizers.NFKC(),
        normalizers.Lowercase(),
        normalizers.Replace("ß", "ss"),
        normalizers.Replace("ς", "σ"),
        _replace(r"\p{Default_Ignorable_Code_Point}", ""),
    ]


def _replace(pattern: str, by: str) -> Any:
    from tokenizers import Regex, normalizers

    return normalizers.Replace(Regex(pattern), by)


class PairTokenizer:
    """Pairs of strings to the padded ids of a matcher, without TensorFlow.

    Each distinct query is tokenized once.

    Args:
        folder: Path. Where `write_tokenizer` wrote.

    Call args:
        queries, documents: sequences of str, equally long.

    Returns:
        what the encoder returns, as int32 arrays.

    Raises:
        UserError: if the folder holds no tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        try:
            settings = json.loads((folder / "encoder.json").read_text("utf-8"))
            self._tokenizer = Tokenizer.from_str((folder / TOKENIZER_FILE).read_text("utf-8"))
        except FileNotFoundError as error:
            raise UserError(
                f"{folder}: no tokenizer here ({Path(error.filename).name} is missing); "
                "export the model again"
            ) from error
        self._settings = settings
        self._spelling = Spelling.load(folder)
        vocabulary = self._tokenizer.get_vocab()
        self._cls, self._sep = vocabulary.get("[CLS]", 0), vocabulary.get("[SEP]", 0)
        self._lay_out = {"wordpiece": self._packed, "words": self._sides}[settings["kind"]]

    def __call__(self, queries: Sequence[str], documents: Sequence[str]) -> dict[str, np.ndarray]:
        return self._lay_out(queries, documents)

    def _packed(self, queries: Sequence[str], documents: Sequence[str]) -> dict[str, np.ndarray]:
        most, longest = self._settings["max_query_tokens"], self._settings["max_tokens"]
        rows, sides = [], []
        for query, document in zip(
            self._tokenize(queries, longest, self._spelling),
            self._tokenize(documents, longest),
            strict=True,
        ):
            left = [self._cls, *query[:most], self._sep]
            right = [*document[: longest - 1 - len(left)], self._sep]
            rows.append(left + right)
            sides.append([0] * len(left) + [1] * len(right))
        return {"token_ids": _pad(rows), "segment_ids": _pad(sides)}

    def _sides(self, queries: Sequence[str], documents: Sequence[str]) -> dict[str, np.ndarray]:
        return {
            f"{side}_ids": _pad([ids[:most] for ids in self._tokenize(texts, most, spelling)])
            for side, texts, most, spelling in (
                ("query", queries, self._settings["max_query_words"], self._spelling),
                ("document", documents, self._settings["max_document_words"], None),
            )
        }

    def _tokenize(
        self, texts: Sequence[str], most: int, spelling: Spelling | None = None
    ) -> list[list[int]]:
        distinct = list(dict.fromkeys(texts))
        size = most * _BYTES_PER_TOKEN
        cut = [
            text.encode("utf-8", "replace")[:size].decode("utf-8", "replace") for text in distinct
        ]
        if spelling is not None:
            cut = [spelling.correct(text) for text in cut]
        encoded = self._tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        ids = {text: one.ids for text, one in zip(distinct, encoded, strict=True)}
        return [ids[text] for text in texts]


def _pad(rows: list[list[int]]) -> np.ndarray:
    """int32 `(rows, longest)`, at least one wide."""
    padded = np.zeros((len(rows), max([1, *map(len, rows)])), np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
