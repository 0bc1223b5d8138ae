"""Weights that come from elsewhere."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kdmatch.errors import UserError
from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.models.pretrained import resolve_pretrained, start_from_pretrained
from kdmatch.models.starts import (
    start_from_joined_vectors,
    start_from_teacher,
    start_from_vectors,
    words_of_teacher,
)
from kdmatch.models.textcnn import TextCnnMatcher

WORDS, HIDDEN, INSIDE, HEADS, LAYERS, POSITIONS = 60, 16, 24, 2, 3, 20
SIZES = {
    "vocabulary_size": WORDS,
    "hidden_dim": HIDDEN,
    "intermediate_dim": INSIDE,
    "num_heads": HEADS,
    "max_sequence_length": POSITIONS,
    "head_dim": 8,
}


def numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, write_bert) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("tiny-bert")
    return folder, write_bert(folder, WORDS, HIDDEN, INSIDE, HEADS, LAYERS, POSITIONS)


def query_kernel(matcher, layer: int) -> np.ndarray:
    block = matcher.encoder.get_layer(f"transformer_layer_{layer}")
    return numpy(block._self_attention_layer.query_dense.kernel).reshape(HIDDEN, HIDDEN)


def test_chosen_layers_and_embeddings_are_taken(checkpoint):
    folder, weights = checkpoint
    matcher = BertMatcher(num_layers=2, **SIZES)
    head = numpy(matcher.get_layer("head").kernel)
    start_from_pretrained(matcher, resolve_pretrained(str(folder)), take_layers=[2, 0])
    for own, other in ((0, 2), (1, 0)):
        expected = weights[f"encoder.layer.{other}.attention.self.query.weight"].T
        assert query_kernel(matcher, own) == pytest.approx(expected)
    encoder = matcher.encoder
    for name, key in (("token", "word"), ("position", "position")):
        own = numpy(encoder.get_layer(f"{name}_embedding").weights[0])
        assert own == pytest.approx(weights[f"embeddings.{key}_embeddings.weight"])
    segments = numpy(encoder.get_layer("segment_embedding").embeddings)
    two = weights["embeddings.token_type_embeddings.weight"]
    assert segments[:2] == pytest.approx(two)
    assert 0 < np.abs(segments[2:] - two).max() < 0.1  # matched words begin near the others
    assert numpy(matcher.get_layer("head").kernel) == pytest.approx(head)


def test_the_first_layers_are_the_default(checkpoint):
    folder, weights = checkpoint
    shorter = {**SIZES, "max_sequence_length": 12}
    matcher = BertMatcher(num_layers=1, match_segments=False, **shorter)
    start_from_pretrained(matcher, folder)
    expected = weights["encoder.layer.0.attention.self.query.weight"].T
    assert query_kernel(matcher, 0) == pytest.approx(expected)
    positions = numpy(matcher.encoder.get_layer("position_embedding").weights[0])
    assert positions == pytest.approx(weights["embeddings.position_embeddings.weight"][:12])
    segments = numpy(matcher.encoder.get_layer("segment_embedding").embeddings)
    assert segments == pytest.approx(weights["embeddings.token_type_embeddings.weight"])


@pytest.mark.parametrize(
    ("sizes", "take_layers", "part"),
    [
        ({}, [0, 3], r"take_layers \[0, 3\].* has 3"),
        ({}, [0, -1], r"take_layers \[0, -1\]"),
        ({}, [1], "the matcher has 2 layers"),
        ({"num_layers": 5}, None, "has 3"),
        ({"hidden_dim": 8}, None, "hidden_dim is 16, the matcher's 8"),
        ({"vocabulary_size": 59}, None, "vocabulary_size is 60"),
        ({"intermediate_dim": 32}, None, "intermediate_dim is 24"),
        ({"max_sequence_length": 32}, None, "20 positions"),
    ],
)
def test_sizes_that_do_not_fit(checkpoint, sizes, take_layers, part):
    matcher = BertMatcher(**{"num_layers": 2, **SIZES, **sizes})
    with pytest.raises(UserError, match=part):
        start_from_pretrained(matcher, checkpoint[0], take_layers)


def test_a_start_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"config\.json is missing"):
        resolve_pretrained(str(tmp_path))
    for name in ("no_such_package", "no_such_package.inside"):
        with pytest.raises(UserError, match=r"pip install .*no-such-package"):
            resolve_pretrained(f"package:{name}/model")
    with pytest.raises(UserError, match=r"config\.json is missing"):
        resolve_pretrained("package:kdmatch/models")


def shaken(matcher, seed: int = 1):
    generator = np.random.default_rng(seed)
    matcher.set_weights(
        [w + generator.normal(0, 0.3, w.shape).astype(w.dtype) for w in matcher.get_weights()]
    )
    return matcher


def embedded(matcher, layer: str) -> np.ndarray:
    """What the transformer layers of `matcher` read for a fixed row."""
    encoder = matcher.encoder
    generator = np.random.default_rng(3)
    row = {
        "token_ids": generator.integers(1, WORDS, (4, 15)),
        "segment_ids": generator.integers(0, 2, (4, 15)),
        "padding_mask": np.ones((4, 15), int),
    }
    return numpy(keras.Model(encoder.input, encoder.get_layer(layer).output)(row))


@pytest.mark.parametrize("teacher_matches", [True, False])
def test_a_student_begins_with_its_teachers_words_and_layer(teacher_matches):
    teacher = shaken(BertMatcher(num_layers=3, match_segments=teacher_matches, **SIZES))
    student = shaken(AlbertMatcher(embedding_dim=HIDDEN - 3, **SIZES), seed=2)
    norm = student.encoder.get_layer("embeddings_layer_norm")
    norm.set_weights([np.ones(HIDDEN - 3), np.zeros(HIDDEN - 3)])
    wanted = embedded(teacher, "embeddings_layer_norm")

    def distance() -> float:
        return float(np.mean((embedded(student, "embedding_projection") - wanted) ** 2))

    before = distance()
    start_from_teacher(student, teacher, layer=2)
    assert distance() < 0.15 * before
    shared = [one for one in student.encoder.layers if "inner_layer" in one.name]
    assert len(shared) == 1
    source = teacher.encoder.get_layer("transformer_layer_2")
    for own, other in zip(shared[0].get_weights(), source.get_weights(), strict=True):
        assert (own == other).all()
    for name in ("head", "logit"):
        own, other = (numpy(m.get_layer(name).kernel) for m in (student, teacher))
        assert (own == other).all()


def test_a_narrower_student_begins_with_the_units_that_matter_most():
    teacher = shaken(BertMatcher(num_layers=2, **SIZES))
    source = teacher.encoder.get_layer("transformer_layer_1")
    outer = source._feedforward_output_dense
    quiet = [0, 5, 6, 11, 17, 20]
    kernel = numpy(outer.kernel).copy()
    kernel[quiet] = 0.01 * kernel[quiet]
    outer.kernel.assign(kernel)
    sizes = {**SIZES, "intermediate_dim": SIZES["intermediate_dim"] - len(quiet)}
    student = AlbertMatcher(embedding_dim=HIDDEN - 3, **sizes)
    start_from_teacher(student, teacher, layer=1)
    (shared,) = [one for one in student.encoder.layers if "inner_layer" in one.name]
    kept = np.delete(numpy(source._feedforward_intermediate_dense.kernel), quiet, axis=1)
    assert (numpy(shared._feedforward_intermediate_dense.kernel) == kept).all()
    x = np.random.default_rng(4).normal(size=(3, 7, HIDDEN)).astype(np.float32)
    wanted, found = numpy(source(x)), numpy(shared(x))
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_student_of_a_smaller_hidden_size_begins_with_its_teachers_words():
    keras.utils.set_random_seed(0)
    teacher = shaken(BertMatcher(num_layers=2, **SIZES))
    sizes = {**SIZES, "hidden_dim": HIDDEN // 2, "num_heads": 1, "intermediate_dim": 40}
    student = shaken(AlbertMatcher(embedding_dim=HIDDEN, **sizes), seed=2)
    norm = student.encoder.get_layer("embeddings_layer_norm")
    norm.set_weights([np.ones(HIDDEN), np.zeros(HIDDEN)])

    shared = next(one for one in student.encoder.layers if "inner_layer" in one.name)
    layer = shared.get_weights()

    def explained() -> float:
        """How much of what the teacher reads follows from what the student reads."""
        wanted = embedded(teacher, "embeddings_layer_norm").reshape(60, -1)
        read = embedded(student, "embedding_projection").reshape(60, -1)
        wanted, read = wanted - wanted.mean(axis=0), read - read.mean(axis=0)
        left = wanted - read @ np.linalg.lstsq(read, wanted, rcond=None)[0]
        return float(1 - (left**2).sum() / (wanted**2).sum())

    before = explained()
    start_from_teacher(student, teacher)
    wanted = embedded(teacher, "embeddings_layer_norm").reshape(60, -1)
    strengths = np.linalg.svd(wanted - wanted.mean(axis=0), compute_uv=False) ** 2
    most = strengths[: HIDDEN // 2].sum() / strengths.sum()
    assert before < 0.8 * most
    assert 0.9 * most < explained() <= most + 1e-6
    assert all((a == b).all() for a, b in zip(shared.get_weights(), layer, strict=True))


def test_a_student_that_does_not_fit_its_teacher():
    teacher = BertMatcher(num_layers=1, **SIZES)
    for sizes, part in (
        ({"hidden_dim": 2 * HIDDEN}, "hidden_dim is 16"),
        ({"intermediate_dim": 32}, "intermediate_dim is 24"),
        ({"max_sequence_length": 64}, "20 positions"),
    ):
        student = AlbertMatcher(embedding_dim=8, **{**SIZES, **sizes})
        with pytest.raises(UserError, match=part):
            start_from_teacher(student, teacher)
    with pytest.raises(UserError, match=r"take_layers \[1\].* the start has 1"):
        start_from_teacher(AlbertMatcher(embedding_dim=8, **SIZES), teacher, layer=1)


def test_a_text_cnn_begins_with_word2vec_and_its_teachers_words():
    generator = np.random.default_rng(0)
    teacher = BertMatcher(**SIZES, num_layers=1)
    tokens = generator.normal(size=(WORDS, HIDDEN)).astype(np.float32)
    tokens[11] = tokens[10]  # the teacher takes these two for one
    teacher.encoder.get_layer("token_embedding").embeddings.assign(tokens)
    vectors = generator.normal(size=(30, 12)).astype(np.float32)
    vectors[0] = 0
    pieces = [[], [], *([i + 8] for i in range(2, 29)), [10, 20]]
    student = TextCnnMatcher(vocabulary_size=30, embedding_dim=20, filters=4, widths=(1,))
    read = {"the teacher": words_of_teacher(teacher, pieces)}
    start_from_joined_vectors(student, vectors, read)
    found = numpy(student.word_embedding.embeddings)
    assert found.std() == pytest.approx(vectors.std(), rel=1e-3)
    assert not found[0].any()

    def cosine(rows, a, b):
        return rows[a] @ rows[b] / np.linalg.norm(rows[a]) / np.linalg.norm(rows[b])

    # Words 2 and 3 have the pieces 10 and 11: half of what is told of them is the same.
    assert cosine(found, 2, 3) > cosine(vectors, 2, 3) / 2 + 0.35
    assert cosine(found, 2, 29) > cosine(vectors, 2, 29) / 2 + 0.15  # a piece of two is shared
    # Whole, the two parts keep their cosines: 12 + 16 directions hold all.
    whole = TextCnnMatcher(vocabulary_size=30, embedding_dim=28, filters=4, widths=(1,))
    start_from_joined_vectors(whole, vectors, read)
    rows, centred = numpy(whole.word_embedding.embeddings), vectors - vectors[1:].mean(axis=0)
    pair = tokens[[10, 11]] - tokens[[p for ids in pieces[2:29] for p in ids]].mean(axis=0)
    assert abs(cosine(rows, 2, 3) - (cosine(centred, 2, 3) + cosine(pair, 0, 1)) / 2) < 0.1
    large = TextCnnMatcher(vocabulary_size=30, embedding_dim=29, filters=4, widths=(1,))
    with pytest.raises(UserError, match=r"embedding_dim 29 is more than .*12, the teacher 16"):
        start_from_joined_vectors(large, vectors, read)


def test_word_vectors_are_loaded():
    matcher = TextCnnMatcher(vocabulary_size=10, embedding_dim=4, filters=2)
    vectors = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    start_from_vectors(matcher, vectors)
    assert (numpy(matcher.word_embedding.embeddings) == vectors).all()
    with pytest.raises(UserError, match=r"\(10, 5\).*\(10, 4\)"):
        start_from_vectors(matcher, np.zeros((10, 5), np.float32))
    bert = BertMatcher(num_layers=1, **SIZES)
    vectors = np.random.default_rng(0).normal(size=(WORDS, HIDDEN)).astype(np.float32)
    start_from_vectors(bert, vectors)
    own = numpy(bert.encoder.get_layer("token_embedding").embeddings)
    assert np.corrcoef(own.ravel(), vectors.ravel())[0, 1] == pytest.approx(1)
