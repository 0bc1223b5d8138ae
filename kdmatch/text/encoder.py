"""An encoder read back from its folder."""

import json
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from kdmatch.errors import UserError
from kdmatch.text.spelling import Spelling
from kdmatch.text.wordpiece import WordPieceEncoder
from kdmatch.text.words import WordEncoder


class PairEncoder(Protocol):
    """What a matcher and an export need of text: strings in, padded ids out."""

    kind: str
    input_names: tuple[str, ...]
    vocabulary: list[str]

    def __call__(self, query: tf.Tensor, document: tf.Tensor) -> dict[str, tf.Tensor]: ...

    def save(self, folder: Path) -> None: ...


def load_encoder(folder: Path) -> PairEncoder:
    """The encoder that `save` wrote to `folder`.

    Raises:
        UserError: if the folder holds none.
    """
    try:
        settings: dict[str, Any] = json.loads((folder / "encoder.json").read_text("utf-8"))
        vocabulary = (folder / "vocabulary.txt").read_text("utf-8").split("\n")
    except FileNotFoundError as error:
        raise UserError(f"{folder}: no encoder here ({error.filename} is missing)") from error
    kinds: dict[str, Any] = {"wordpiece": WordPieceEncoder, "words": WordEncoder}
    spelling = Spelling.load(folder)
    return kinds[settings.pop("kind")](vocabulary, **settings, spelling=spelling)
