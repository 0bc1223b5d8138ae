"""Small matchers of every kind, their encoders, and pairs that tell them apart."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kdmatch.data.roles import Role
from kdmatch.models.registry import build_matcher
from kdmatch.text.spelling import Spelling
from kdmatch.text.traits import characters as characters_of
from kdmatch.text.traits import spellings, stem_ids
from kdmatch.text.wordpiece import SPECIAL_TOKENS, WordPieceEncoder
from kdmatch.text.words import PADDING, UNKNOWN, WordEncoder

WORDS = ["led", "bulb", "light", "steel", "shelf", "北", "京", "大", "学"]
LETTERS = list("abdeghilstu")
SPELLING = Spelling(["bulb", "light", "steel", "shelf"], offered=4)
ENCODERS: dict[str, Any] = {
    "wordpiece": lambda: WordPieceEncoder(
        [*SPECIAL_TOKENS, *WORDS, *LETTERS, *(f"##{c}" for c in LETTERS)],
        max_query_tokens=6,
        max_tokens=20,
        spelling=SPELLING,
    ),
    "words": lambda: WordEncoder(
        [PADDING, UNKNOWN, *LETTERS, *WORDS, "北京", "大学"],
        max_query_words=5,
        max_document_words=9,
        spelling=SPELLING,
    ),
}
ENCODER_SIZE = {"hidden_dim": 24, "num_heads": 3, "head_dim": 8, "max_sequence_length": 32}
CNN_SIZE = {"embedding_dim": 8, "filters": 6, "head_dim": 8}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("bert_2l_64", "wordpiece", ENCODER_SIZE),
    "bert_plain": ("bert_2l_64", "wordpiece", {**ENCODER_SIZE, "match_segments": False}),
    "albert": ("albert_1l_64", "wordpiece", {**ENCODER_SIZE, "embedding_dim": 8}),
    "albert_twice": (
        "albert_1l_64",
        "wordpiece",
        {**ENCODER_SIZE, "embedding_dim": 8, "num_layers": 2, "match_segments": False},
    ),
    "bert_detailed": ("bert_2l_64", "wordpiece", {**ENCODER_SIZE, "match_details": True}),
    "albert_detailed": (
        "albert_1l_64",
        "wordpiece",
        {**ENCODER_SIZE, "embedding_dim": 8, "match_details": True},
    ),
    "albert_covered": (
        "albert_1l_64",
        "wordpiece",
        {**ENCODER_SIZE, "embedding_dim": 8, "match_coverage": True},
    ),
    "bert_covered": (
        "bert_2l_64",
        "wordpiece",
        {**ENCODER_SIZE, "match_coverage": True, "match_details": True},
    ),
    "textcnn_covered": (
        "textcnn_64",
        "words",
        {
            **CNN_SIZE,
            **dict.fromkeys(("match_coverage", "match_details", "match_characters"), True),
        },
    ),
    "cnn_attention_covered": (
        "cnn_attention_64",
        "words",
        {**CNN_SIZE, "match_coverage": True, "match_channels": False, "kernels": 0},
    ),
    "textcnn_detailed": ("textcnn_64", "words", {**CNN_SIZE, "match_details": True}),
    "attention_detailed": (
        "cnn_attention_64",
        "words",
        {**CNN_SIZE, "match_details": True, "match_channels": False},
    ),
    "textcnn": ("textcnn_64", "words", CNN_SIZE),
    "textcnn_plain": (
        "textcnn_64",
        "words",
        {**CNN_SIZE, "widths": [3, 4, 1], "match_channels": False, "kernels": 0},
    ),
    "textcnn_kernels": ("textcnn_64", "words", {**CNN_SIZE, "match_channels": False}),
    "cnn_attention": ("cnn_attention_64", "words", CNN_SIZE),
    "cnn_attention_plain": (
        "cnn_attention_64",
        "words",
        {**CNN_SIZE, "widths": [2], "match_channels": False, "kernels": 0},
    ),
}
PAIRS = [
    ("led bulb", "LED light bulb, led"),
    ("led bulb", "steel shelf"),
    ("led bulb", "LED light bulb, led"),
    ("北京大学", "北京大学 light 学"),
    ("", "bulb"),
    ("light", ""),
    ("", ""),
    ("a", "a"),
    ("zebra ☂", "ж zebra led"),
    ("light " * 40, "bulb shelf " * 2000),
    ("x" * 900 + " led", "lightbulb" * 300),
    ("steel", "\ufffd\U0001f600 s t e e l"),
    ("ligth bulbb", "light bulb"),
    ("LIGTH\0steel", "shelf"),
]


def matcher_of(case: str) -> keras.Model:
    """A matcher with weights that are large enough to tell pairs apart."""
    preset, kind, arguments = CASES[case]
    keras.utils.set_random_seed(1)
    size = len(ENCODERS[kind]().vocabulary)
    matcher = build_matcher(preset, vocabulary_size=size, **arguments)
    generator = np.random.default_rng(1)
    matcher.set_weights(
        [w + generator.normal(0, 0.3, w.shape).astype(w.dtype) for w in matcher.get_weights()]
    )
    if matcher.traits is not None:
        # "lights" is not in these vocabularies, so two tokens are given one stem by hand.
        vocabulary = ENCODERS[kind]().vocabulary
        stems = stem_ids(vocabulary)
        stems[vocabulary.index("bulb")] = stems[vocabulary.index("light")]
        matcher.traits.set_tables(
            stems, generator.random(size), generator.integers(0, len(Role), size)
        )
    if matcher.spelling is not None:
        matcher.spelling.set_tables(*spellings(vocabulary, matcher.spelling.dimension))
    if matcher.characters is not None:
        table = characters_of(vocabulary, matcher.characters.most)
        matcher.characters.set_tables(table, generator.random(size))
    return matcher


def strings(pairs: list[tuple[str, str]]) -> dict[str, tf.Tensor]:
    return {
        side: tf.constant([pair[i] for pair in pairs], tf.string)
        for i, side in enumerate(("query", "document"))
    }


def by_text(loaded: Any, pairs: list[tuple[str, str]]) -> np.ndarray:
    return loaded.signatures["serving_default"](**strings(pairs))["score"].numpy()
