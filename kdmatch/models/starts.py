"""Where a matcher's weights begin: a teacher, word vectors, an encoder like its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kdmatch.errors import UserError
from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.models.pretrained import (
    check_built_alike,
    check_teacher_sizes,
    embedding_weights,
    sizes_of,
)
from kdmatch.models.textcnn import TextCnnMatcher


def start_from_teacher(
    student: AlbertMatcher,
    teacher: BertMatcher,
    layer: int = 0,
    counts: np.ndarray | None = None,
    seed: int = 0,
) -> None:
    """Give a 1-layer ALBERT its teacher's words and one of its layers.

    The token embedding is the teacher's truncated to `embedding_dim` by SVD,
    tokens weighed by the root of how often they occur; positions and segments
    are projected onto the same directions; the projection back is the ridge
    regression from the student's normalised embeddings to the teacher's, over
    random tokens at random places. The
    shared layer and, where widths agree, the head are copied; of a feed-forward
    block wider than the student's, the units that matter most. A student with a
    smaller hidden size takes the words alone: the regression is then to the
    leading directions of what the teacher's first layer reads.

    Args:
        student: AlbertMatcher with the teacher's vocabulary and at most its hidden size.
        teacher: BertMatcher.
        layer: int. Which of the teacher's layers to copy.
        counts: int `(vocabulary,)`. Occurrences of each token in the training
            text; None weighs all alike.
        seed: int. For the random tokens.

    Raises:
        UserError: if the student's hidden size or embedding is wider than the teacher, or the
            vocabularies differ.
    """
    source, target = teacher.encoder, student.encoder
    own = sizes_of(target) | {"embedding_dim": target.embedding_dim}
    check_teacher_sizes(sizes_of(source), own, layer)
    tokens = embedding_weights(source, "token_embedding")
    positions = embedding_weights(source, "position_embedding")
    segments = embedding_weights(source, "segment_embedding")
    share = np.sqrt(np.ones(len(tokens)) if counts is None else counts + 0.01)
    share /= share.sum()
    mean = share @ tokens
    basis = _leading(np.sqrt(share)[:, None] * (tokens - mean), target.embedding_dim)
    # A teacher without match segments has two, repeated for a student that has four.
    kept_segments = segments[np.arange(target.num_segments) % len(segments)]
    small_tokens = (tokens - mean) @ basis
    small_positions = positions[: target.max_sequence_length] @ basis
    small_segments = kept_segments @ basis
    target.get_layer("token_embedding").embeddings.assign(small_tokens)
    target.get_layer("position_embedding").position_embeddings.assign(small_positions)
    target.get_layer("segment_embedding").embeddings.assign(small_segments)

    generator = np.random.default_rng(seed)
    picked = generator.choice(len(tokens), 20_000, p=share)
    place = generator.integers(0, min(64, len(small_positions)), 20_000)
    side = generator.integers(0, len(kept_segments), 20_000)
    x = _normalise(small_tokens[picked] + small_positions[place] + small_segments[side])
    scale, shift = source.get_layer("embeddings_layer_norm").get_weights()
    y = _normalise(tokens[picked] + positions[place] + kept_segments[side]) * scale + shift
    is_narrower = target.hidden_dim < source.hidden_dim
    read = y @ _leading(y - y.mean(axis=0), target.hidden_dim) if is_narrower else y
    with_bias = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    # Normalised rows sum to zero, so plain least squares has no unique, and no small, answer.
    solution = _ridge(with_bias, read)
    target.get_layer("embedding_projection").set_weights([solution[:-1], solution[-1]])
    if is_narrower:
        return
    shared = [one for one in target.layers if "inner_layer" in one.name]
    _copy_layer(shared[0], source.get_layer(f"transformer_layer_{layer}"), y)
    _copy_head(student, teacher)


def _copy_layer(target: Any, source: Any, x: np.ndarray) -> None:
    """Copy a transformer layer; of a wider feed-forward block, the units that matter most.

    Units are ranked by the deviation of what they add to the block's output, and the kept ones'
    outgoing weights are the ridge regression to the output of all.

    Args:
        target, source: KerasHub's `TransformerEncoder`; alike but for the block's width.
        x: float `(samples, hidden)`. The layer's inputs, to rank the units on.
    """
    own, values = _by_name(target), {n: v.numpy() for n, v in _by_name(source).items()}
    inner, outer = "feedforward_intermediate_dense", "feedforward_output_dense"
    width = own[f"{inner}/bias"].shape[0]
    if width < len(values[f"{inner}/bias"]):
        norm = "self_attention_layer_norm"
        z = _normalise(x) * values[f"{norm}/gamma"] + values[f"{norm}/beta"]
        z = z @ values[f"{inner}/kernel"] + values[f"{inner}/bias"]
        active = keras.ops.convert_to_numpy(keras.ops.gelu(z.astype(np.float32)))
        onward = values[f"{outer}/kernel"]
        adds = active.std(axis=0) * np.linalg.norm(onward, axis=1)
        kept = np.sort(np.argsort(-adds)[:width])
        values[f"{inner}/kernel"] = values[f"{inner}/kernel"][:, kept]
        values[f"{inner}/bias"] = values[f"{inner}/bias"][kept]
        # Around the means, so that the bias is not shrunk.
        means, total = active.mean(axis=0), active @ onward
        fitted = _ridge(active[:, kept] - means[kept], total - total.mean(axis=0))
        values[f"{outer}/kernel"] = fitted
        values[f"{outer}/bias"] = (
            values[f"{outer}/bias"] + total.mean(axis=0) - means[kept] @ fitted
        )
    for name, variable in own.items():
        variable.assign(values[name])


def _by_name(layer: keras.Layer) -> dict[str, keras.Variable]:
    return {variable.path.partition(f"{layer.name}/")[2]: variable for variable in layer.weights}


def _leading(rows: np.ndarray, number: int) -> np.ndarray:
    """Directions in which centred rows differ most, `(width, number)`."""
    return np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :number]


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The matrix that takes rows of `x` to those of `y`, kept small where there are many."""
    gram = x.T @ x + 1e-3 * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(gram, x.T @ y)


def _copy_head(student: AlbertMatcher, teacher: BertMatcher) -> None:
    """The teacher's head where widths agree; what only the student's reads starts at 0."""
    (kernel, _), (other, other_bias) = (
        matcher.get_layer("head").get_weights() for matcher in (student, teacher)
    )
    common = 3 * student.encoder.hidden_dim
    if kernel.shape[1] != other.shape[1]:
        return
    kernel = np.zeros_like(kernel)
    rows = len(kernel) if len(kernel) == len(other) else common
    kernel[:rows] = other[:rows]
    student.get_layer("head").set_weights([kernel, other_bias])
    student.get_layer("logit").set_weights(teacher.get_layer("logit").get_weights())


def start_from_vectors(matcher: TextCnnMatcher | BertMatcher, vectors: np.ndarray) -> None:
    """Load Word2Vec vectors `(vocabulary, dimension)` into the token embedding.

    A BERT's are scaled to the deviation that its positions and segments start
    with (0.02), so that none of the three drowns the others.

    Raises:
        UserError: if the shapes differ.
    """
    if isinstance(matcher, TextCnnMatcher):
        table = matcher.word_embedding.embeddings
    else:
        table = matcher.encoder.get_layer("token_embedding").embeddings
    if tuple(table.shape) != vectors.shape:
        raise UserError(
            f"word vectors are {vectors.shape}, the embedding of {matcher.name} is "
            f"{tuple(table.shape)}: set embedding_dim to the vectors' length"
        )
    if isinstance(matcher, BertMatcher):
        vectors = vectors * (0.02 / vectors.std())
    table.assign(vectors)


def start_from_joined_vectors(
    matcher: TextCnnMatcher, vectors: np.ndarray, read: Mapping[str, np.ndarray]
) -> None:
    """Embed each word by its Word2Vec vector and by what pre-trained models read for it.

    Word2Vec knows which words stand together in this text, a pre-trained model which mean alike.
    All parts are centred and given unit length, joined, and projected onto their leading
    directions; a word that a model knows nothing of, a row of zeros, has nothing there. The
    deviation is Word2Vec's.

    Args:
        matcher: TextCnnMatcher.
        vectors: float `(vocabulary, dimension)`. Word2Vec's.
        read: whose they are, for messages, to float `(vocabulary, any dimension)`.

    Raises:
        UserError: if the embedding is longer than all parts together.
    """
    used = np.asarray(vectors.any(axis=1))  # padding has none
    joined = np.concatenate(
        [
            _unit_rows(part, used & np.asarray(part.any(axis=1)))
            for part in (vectors, *read.values())
        ],
        axis=1,
    )
    table = matcher.word_embedding.embeddings
    size = int(table.shape[1])
    if size > joined.shape[1]:
        lengths = ", ".join(f"{name} {part.shape[1]}" for name, part in read.items())
        raise UserError(
            f"embedding_dim {size} is more than all vectors of a word together (Word2Vec "
            f"{vectors.shape[1]}, {lengths}); make it smaller"
        )
    start = joined @ _leading(joined, size)
    table.assign(start * (vectors.std() / start.std()))


def words_of_teacher(teacher: BertMatcher, pieces: Sequence[Sequence[int]]) -> np.ndarray:
    """What a teacher reads for each word: the mean of its pieces' embeddings.

    Args:
        teacher: BertMatcher.
        pieces: for each word, its ids in the teacher's vocabulary; may be empty.

    Returns:
        float32 `(len(pieces), hidden)`; zeros where there are no pieces.
    """
    tokens = embedding_weights(teacher.encoder, "token_embedding")
    read = np.zeros((len(pieces), tokens.shape[1]), np.float32)
    known = np.array([len(ids) > 0 for ids in pieces])
    read[known] = [tokens[list(ids)].mean(axis=0) for ids in pieces if ids]
    return read


def _unit_rows(rows: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The used rows less their mean, each of unit length; the others 0."""
    rows = rows.astype(np.float32)
    centred = np.where(used[:, None], rows - rows[used].mean(axis=0), 0.0)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)


def start_from_encoder(matcher: BertMatcher, source: BertMatcher) -> None:
    """Copy the encoder of a matcher that was built alike.

    Raises:
        UserError: if the two were not.
    """
    own, other = matcher.encoder.get_config(), source.encoder.get_config()
    check_built_alike(own, other, own.keys() - {"dropout"})
    matcher.encoder.set_weights(source.encoder.get_weights())


def _normalise(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-12)
