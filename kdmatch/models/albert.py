"""The 1-layer ALBERT student: factorised embedding, shared parameters."""

from typing import Any, ClassVar

import keras

from kdmatch.models.encoder import EncoderMatcher
from kdmatch.models.matcher import Matcher
from kdmatch.searchable import Searchable


@keras.saving.register_keras_serializable("kdmatch")
class AlbertMatcher(EncoderMatcher):
    """ALBERT over `[CLS] query [SEP] document [SEP]` and the pooled head.

    Args:
        vocabulary_size: int. Number of WordPiece tokens.
        num_layers: int. Passes through the one shared layer.
        num_heads: int. Attention heads.
        hidden_dim: int. Width of the hidden vectors.
        intermediate_dim: int. Width inside the feed-forward block.
        embedding_dim: int. Width of the factorised embedding.
        head_dim: int. Width of the head's first dense layer.
        dropout: float. Rate in the encoder and the head.
        dtype: str or keras.DTypePolicy of the encoder, such as "mixed_bfloat16"; what the head is
            told of both sides, and the score, are float32 in any.
        max_sequence_length: int. Longest input, in tokens.
        match_segments: bool. Tell the encoder which tokens both sides share.
        match_details: bool. Tell it also of stems, runs and rarity; see
            `DetailedMatchSegments`.
        match_coverage: bool. Tell the head how much of each side the other
            covers; see `Coverage`.

    Call args:
        inputs: `{"token_ids", "segment_ids"}`, int32 `(batch, length)`.

    Returns:
        score, float32 `(batch,)` in (-1, 1).

    Reference:
        Lan et al., "ALBERT: a lite BERT for self-supervised learning of
        language representations", 2019.
    """

    kind = "albert"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "albert_1l_384": {"num_heads": 12, "hidden_dim": 384},
        "albert_1l_312": {"num_heads": 12, "hidden_dim": 312},
        "albert_1l_256": {"num_heads": 4, "hidden_dim": 256},
        "albert_1l_128": {"num_heads": 2, "hidden_dim": 128, "embedding_dim": 64},
        "albert_1l_64": {"num_heads": 2, "hidden_dim": 64, "embedding_dim": 64},
    }
    searched: ClassVar[dict[str, Searchable]] = {
        **Matcher.searched,
        "embedding_dim": Searchable(choices=(64, 128)),
    }

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int = 1,
        num_heads: int = 12,
        hidden_dim: int = 384,
        intermediate_dim: int | None = None,
        embedding_dim: int = 128,
        head_dim: int = 256,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        match_segments: bool = True,
        match_details: bool = False,
        match_coverage: bool = False,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        import keras_hub

        super().__init__(
            keras_hub.models.AlbertBackbone,
            {
                "vocabulary_size": vocabulary_size,
                "num_layers": num_layers,
                "num_heads": num_heads,
                "hidden_dim": hidden_dim,
                "intermediate_dim": intermediate_dim,
                "embedding_dim": embedding_dim,
                "head_dim": head_dim,
                "dropout": dropout,
                "max_sequence_length": max_sequence_length,
                "match_segments": match_segments,
                "match_details": match_details,
                "match_coverage": match_coverage,
            },
            {"num_groups": 1, "num_inner_repetitions": 1},
            dtype=dtype,
            **kwargs,
        )
