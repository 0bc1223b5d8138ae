"""The BERT cross-encoder: teacher with four layers, original with more."""

from typing import Any, ClassVar

import keras

from kdmatch.models.encoder import EncoderMatcher


@keras.saving.register_keras_serializable("kdmatch")
class BertMatcher(EncoderMatcher):
    """BERT over `[CLS] query [SEP] document [SEP]` and the pooled head.

    Args:
        vocabulary_size: int. Number of WordPiece tokens.
        num_layers: int. Transformer layers.
        num_heads: int. Attention heads of a layer.
        hidden_dim: int. Width of the hidden vectors.
        intermediate_dim: int. Width inside the feed-forward blocks.
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
    """

    kind = "bert"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "bert_4l_384": {"num_layers": 4, "num_heads": 12, "hidden_dim": 384},
        "bert_6l_384": {"num_layers": 6, "num_heads": 12, "hidden_dim": 384},
        "bert_12l_384": {"num_layers": 12, "num_heads": 12, "hidden_dim": 384},
        "bert_4l_256": {"num_layers": 4, "num_heads": 4, "hidden_dim": 256},
        "bert_4l_312": {"num_layers": 4, "num_heads": 12, "hidden_dim": 312},
        "bert_2l_64": {"num_layers": 2, "num_heads": 2, "hidden_dim": 64},
    }

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int = 4,
        num_heads: int = 12,
        hidden_dim: int = 384,
        intermediate_dim: int | None = None,
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
            keras_hub.models.BertBackbone,
            {
                "vocabulary_size": vocabulary_size,
                "num_layers": num_layers,
                "num_heads": num_heads,
                "hidden_dim": hidden_dim,
                "intermediate_dim": intermediate_dim,
                "head_dim": head_dim,
                "dropout": dropout,
                "max_sequence_length": max_sequence_length,
                "match_segments": match_segments,
                "match_details": match_details,
                "match_coverage": match_coverage,
            },
            dtype=dtype,
            **kwargs,
        )
