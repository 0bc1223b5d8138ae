"""TextCNN matchers: convolutions over words, interaction of the two sides."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import layers, ops

from kdmatch.models.characters import CharacterCoverage
from kdmatch.models.coverage import Coverage
from kdmatch.models.details import DetailedMatchChannels
from kdmatch.models.head import compared_pools, masked_max_pool, masked_mean_pool, score_head
from kdmatch.models.match import MatchChannels, SimilarityKernels
from kdmatch.models.matcher import Matcher, dtype_argument
from kdmatch.models.tables import TokenTraits, WordCharacters, WordSpelling
from kdmatch.searchable import Searchable


@keras.saving.register_keras_serializable("kdmatch")
class TextCnnMatcher(Matcher):
    """Convolutions over the words of each side, pooled and compared.

    Both sides share the embedding and the convolutions. Their max and mean
    pools `q`, `d` go to the head as `q, d, |q − d|, q · d`, beside the
    similarity kernels of the two word sequences.

    Args:
        vocabulary_size: int. Number of words, padding and unknown included.
        embedding_dim: int. Length of a word vector.
        filters: int. Filters of each width.
        widths: sequence of int. Widths of the convolutions, in words.
        kernels: int. Gaussians of `SimilarityKernels`; 0 leaves them out.
        match_channels: bool. Append `MatchChannels` to every word vector.
        match_details: bool. Append `DetailedMatchChannels` too, and let the
            kernels' mean weigh words by rarity beside the plain mean.
        match_coverage: bool. Tell the head how much of each side the other
            covers; see `Coverage`.
        match_characters: bool. Tell it how many of each side's characters too, for
            Chinese; see `CharacterCoverage`.
        head_dim: int. Width of the head's first dense layer.
        dropout: float. Rate on word vectors and in the head.
        dtype: str or keras.DTypePolicy of the word vectors and what is learned of them, such as
            "mixed_bfloat16"; what both sides share, and the score, are float32 in any.

    Call args:
        inputs: `{"query_ids", "document_ids"}`, int32 `(batch, words)`.

    Returns:
        score, float32 `(batch,)` in (-1, 1).

    Reference:
        Kim, "Convolutional neural networks for sentence classification", 2014.
    """

    kind = "textcnn"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "textcnn_128": {},
        "textcnn_64": {"embedding_dim": 64, "filters": 64, "head_dim": 64},
    }
    searched: ClassVar[dict[str, Searchable]] = {
        **Matcher.searched,
        "filters": Searchable(choices=(64, 96, 128, 192)),
        "widths": Searchable(choices=((1, 2), (1, 2, 3), (1, 2, 3, 4), (2, 3, 4), (1, 3, 5))),
    }

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 128,
        filters: int = 128,
        widths: Sequence[int] = (1, 2, 3),
        kernels: int = 11,
        match_channels: bool = True,
        match_details: bool = False,
        match_coverage: bool = False,
        match_characters: bool = False,
        head_dim: int = 128,
        dropout: float = 0.1,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        embedding = layers.Embedding(
            vocabulary_size, embedding_dim, dtype=dtype, name="word_embedding"
        )
        convolutions = [
            layers.Conv1D(
                filters, width, padding="same", activation="relu", dtype=dtype, name=f"conv_{width}"
            )
            for width in widths
        ]
        is_told = match_details or match_coverage
        traits = TokenTraits(vocabulary_size, name="traits") if is_told else None
        spelling = WordSpelling(vocabulary_size, name="spelling") if match_coverage else None
        characters = (
            WordCharacters(vocabulary_size, name="characters") if match_characters else None
        )

        # === Functional model ===
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in ("query_ids", "document_ids")
        }
        sides = list(inputs.values())
        masks = [ops.not_equal(ids, 0) for ids in sides]
        pairs = ((0, 1), (1, 0))
        vectors = [embedding(ids) * _column(mask) for ids, mask in zip(sides, masks, strict=True)]
        # Dropout falls on what the convolutions read, not on what is compared: two copies of a
        # word must stay equal while training.
        words = [layers.Dropout(dropout)(own) for own in vectors]
        if match_channels:
            matched = MatchChannels(name="match_channels", dtype="float32")
            words = [
                ops.concatenate(
                    [words[a], matched(sides[a], sides[b], vectors[a], vectors[b])], axis=-1
                )
                for a, b in pairs
            ]
        if traits is not None:
            stems, rarity, roles = map(list, zip(*map(traits, sides), strict=True))
            rarity = [
                own * ops.cast(mask, own.dtype) for own, mask in zip(rarity, masks, strict=True)
            ]
        if match_details:
            detailed = DetailedMatchChannels(name="match_details", dtype="float32")
            words = [
                ops.concatenate([words[a], detailed(stems[a], stems[b], rarity[a])], axis=-1)
                for a, b in pairs
            ]
        hidden = [
            ops.concatenate([conv(side) for conv in convolutions], axis=-1) * _column(mask)
            for side, mask in zip(words, masks, strict=True)
        ]
        pooled = self._compare(hidden, masks, filters, dtype)
        if kernels:
            soft_counts = SimilarityKernels(kernels, name="kernels", dtype="float32")
            weights = [masks, rarity] if match_details else [masks]
            pooled.append(soft_counts(*vectors, weights))
        if spelling is not None:
            told = [
                {
                    "ids": sides[a],
                    "stems": stems[a],
                    "rarity": rarity[a],
                    "roles": roles[a],
                    "spelling": spelling(sides[a]),
                    "vectors": vectors[a],
                    "mask": ops.not_equal(stems[a], 0),
                }
                for a in (0, 1)
            ]
            pooled.append(Coverage(name="coverage", dtype="float32")(*told))
        if characters is not None:
            shared = CharacterCoverage(name="character_coverage", dtype="float32")
            pooled.append(shared(*map(characters, sides)))
        score = score_head(layers.Concatenate(name="pooled")(pooled), head_dim, dropout)
        super().__init__(inputs=inputs, outputs=score, **kwargs)

        # === Config ===
        self.word_embedding = embedding
        self.traits, self.spelling, self.characters = traits, spelling, characters
        self._arguments = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "filters": filters,
            "widths": list(widths),
            "kernels": kernels,
            "match_channels": match_channels,
            "match_details": match_details,
            "match_coverage": match_coverage,
            "match_characters": match_characters,
            "head_dim": head_dim,
            "dropout": dropout,
        } | dtype_argument(dtype)

    @staticmethod
    def _compare(hidden: list[Any], masks: list[Any], filters: int, dtype: Any) -> list[Any]:
        return compared_pools(hidden, masks)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._arguments}


@keras.saving.register_keras_serializable("kdmatch")
class CnnAttentionMatcher(TextCnnMatcher):
    """`TextCnnMatcher` with attention between query and document words.

    Each word attends over the other side's convolved words; its vector `h`
    and what it found `a` are compared as `h, a, |h − a|, h · a` through one
    dense layer before the pools.

    Args:
        as `TextCnnMatcher`.

    Reference:
        Parikh et al., "A decomposable attention model for natural language
        inference", 2016.
    """

    kind = "cnn_attention"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cnn_attention_128": {},
        "cnn_attention_64": {"embedding_dim": 64, "filters": 64, "head_dim": 64},
    }

    @staticmethod
    def _compare(hidden: list[Any], masks: list[Any], filters: int, dtype: Any) -> list[Any]:
        compare = layers.Dense(filters, activation="relu", dtype=dtype, name="compare")
        project = layers.Dense(filters, dtype=dtype, name="attend")
        keys = [project(h) for h in hidden]
        pooled: list[Any] = []
        for own, other in ((0, 1), (1, 0)):
            weights = ops.einsum("bqf,bdf->bqd", keys[own], keys[other]) / filters**0.5
            absent = 1.0 - ops.cast(masks[other], weights.dtype)
            weights = ops.softmax(weights - 1e4 * absent[:, None, :], axis=-1)
            found = ops.einsum("bqd,bdf->bqf", weights, hidden[other])
            h = hidden[own]
            seen = compare(ops.concatenate([h, found, ops.abs(h - found), h * found], axis=-1))
            pooled += [masked_max_pool(seen, masks[own]), masked_mean_pool(seen, masks[own])]
        return [*pooled, *compared_pools(hidden, masks)[2:]]


def _column(mask: Any) -> Any:
    return ops.expand_dims(ops.cast(mask, "float32"), -1)
