"""A TextCNN's weights, arranged so that each distinct word is convolved once."""

from dataclasses import dataclass

import numpy as np

from kdmatch.models.match import SimilarityKernels
from kdmatch.models.textcnn import CnnAttentionMatcher, TextCnnMatcher
from kdmatch.serving.graph.segments import TraitTables
from kdmatch.serving.graph.weights import Array, by_path, dense, pair


@dataclass(frozen=True)
class AttentionWeights:
    """Kernel and bias of the two dense layers of a `CnnAttentionMatcher`.

    Attributes:
        keys: `(f, filters)`. Their products are the attention, scaled.
        compare: `(4 · f, filters)`. Of a word and what it found.
    """

    keys: tuple[Array, Array]
    compare: tuple[Array, Array]


@dataclass(frozen=True)
class CnnWeights:
    """All that the graph of a `TextCnnMatcher` reads; `f` is filters times widths.

    A convolution is a sum over taps, the places `offsets` around a word, and
    each tap a product. Narrow widths have zeros at the taps they lack.

    Attributes:
        words: `(vocabulary, dimension)`. Word vectors, padding 0.
        offsets: int32 `(taps,)`.
        taps: `(dimension, taps · f)`.
        channels: `(taps · channels, f)`, or None without match channels.
        match_channels: bool. Whether `MatchChannels` are the first of them.
        traits: TraitTables, or None without match details and coverage.
        match_details: bool. Whether `DetailedMatchChannels` are the last of the channels.
        characters: table and rarity of `WordCharacters`, or None without them.
        bias: `(f,)`.
        kernels: SimilarityKernels, or None without them.
        attention: AttentionWeights, or None for a plain TextCNN.
        head, logit: kernel and bias of the head's dense layers.
    """

    words: Array
    offsets: Array
    taps: Array
    channels: Array | None
    match_channels: bool
    traits: TraitTables | None
    match_details: bool
    characters: tuple[np.ndarray, np.ndarray] | None
    bias: Array
    kernels: SimilarityKernels | None
    attention: AttentionWeights | None
    head: tuple[Array, Array]
    logit: tuple[Array, Array]


def cnn_weights(matcher: TextCnnMatcher) -> CnnWeights:
    """Read and arrange the weights of a matcher."""
    values = by_path(matcher)
    config = matcher.get_config()
    words = values["word_embedding/embeddings"].copy()
    words[0] = 0.0
    widest = max(config["widths"])
    offsets = np.arange(widest, dtype=np.int32) - (widest - 1) // 2
    channels = 2 * config["match_channels"] + 3 * config["match_details"]
    inputs = words.shape[1] + channels
    columns = []
    for width in config["widths"]:
        kernel = np.zeros((widest, inputs, config["filters"]))
        # As TensorFlow pads: of an even width the spare place lies behind.
        first = (widest - 1) // 2 - (width - 1) // 2
        kernel[first : first + width] = values[f"conv_{width}/kernel"]
        columns.append(kernel)
    kernel = np.concatenate(columns, axis=-1)
    of_words, of_channels = np.split(kernel, [words.shape[1]], axis=1)
    attention = None
    if isinstance(matcher, CnnAttentionMatcher):
        # Both sides of the product carry half of the scale.
        shrink = config["filters"] ** -0.25
        attention = AttentionWeights(
            keys=pair(*(one * shrink for one in dense(values, "attend"))),
            compare=pair(*dense(values, "compare")),
        )
    return CnnWeights(
        words=words.astype(np.float32),
        offsets=offsets,
        taps=np.concatenate(list(of_words), axis=-1).astype(np.float32),
        channels=(
            of_channels.reshape(-1, kernel.shape[-1]).astype(np.float32) if channels else None
        ),
        match_channels=config["match_channels"],
        traits=TraitTables.of(matcher),
        match_details=config["match_details"],
        characters=matcher.characters.tables() if matcher.characters is not None else None,
        bias=np.concatenate([values[f"conv_{w}/bias"] for w in config["widths"]]).astype("float32"),
        kernels=SimilarityKernels(config["kernels"]) if config["kernels"] else None,
        attention=attention,
        head=pair(*dense(values, "head")),
        logit=pair(*dense(values, "logit")),
    )
