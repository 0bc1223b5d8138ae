"""The matchers in PyTorch score as the Keras ones do."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorflow_text")

from kdmatch.data.roles import Role
from kdmatch.models.registry import build_matcher
from kdmatch.serving import engines
from kdmatch.serving.engines.torch_weights import export_torch
from kdmatch.text.traits import spellings
from kdmatch.text.wordpiece import WordPieceEncoder
from kdmatch.text.words import WordEncoder

LETTERS = list("abcdefghij")
PAGES = [("ab b c", ["c d", "", "a b c d e f g h i j"]), ("j", ["j j j"]), ("", ["a", "b"])]


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("bert_2l_64", {}),
        ("albert_1l_64", {"num_layers": 2}),
        ("albert_1l_64", {"match_segments": False}),
        ("textcnn_64", {"widths": [1, 2, 3, 4]}),
        ("textcnn_64", {"kernels": 0, "match_channels": False}),
        ("cnn_attention_64", {}),
        ("albert_1l_64", {"match_details": True}),
        ("textcnn_64", {"match_details": True}),
        ("albert_1l_64", {"match_coverage": True}),
        ("textcnn_64", {"match_coverage": True, "match_details": True}),
        ("textcnn_64", {"match_characters": True}),
    ],
)
def test_scores_are_those_of_keras(preset, options, tmp_path):
    if preset.startswith(("bert", "albert")):
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, "##b"]
        encoder = WordPieceEncoder(vocabulary)
    else:
        encoder = WordEncoder(["[PAD]", "\ufffd", *LETTERS])
    matcher = build_matcher(preset, vocabulary_size=len(encoder.vocabulary), **options)
    generator = np.random.default_rng(0)
    for variable in matcher.trainable_variables:
        variable.assign(variable.value + generator.normal(0, 0.1, variable.shape))
    if matcher.traits is not None:
        stems = np.arange(len(encoder.vocabulary))
        stems[-1] = stems[-2]
        roles = generator.integers(0, len(Role), len(stems))
        matcher.traits.set_tables(stems, generator.random(len(stems)), roles)
    if matcher.spelling is not None:
        matcher.spelling.set_tables(*spellings(encoder.vocabulary, matcher.spelling.dimension))
    if matcher.characters is not None:
        table = generator.integers(0, len(LETTERS), (len(encoder.vocabulary), 4))
        matcher.characters.set_tables(table, generator.random(len(table)))
    scorer = engines.load("pytorch", export_torch(matcher, encoder, tmp_path))
    for query, documents in PAGES:
        ids = encoder([query] * len(documents), documents)
        want = np.asarray(matcher(ids, training=False))
        np.testing.assert_allclose(scorer.score(query, documents), want, atol=2e-6)
