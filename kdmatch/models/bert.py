"""The BERT cross-encoder: teacher with four layers, original with more."""

from typing import Any, ClassVar

import keras
from keras import layers, ops

from kdmatch.models.head import masked_max_pool, masked_mean_pool, score_head
from kdmatch.models.match import MatchSegments
from kdmatch.models.matcher import Matcher


@keras.saving.register_keras_serializable("kdmatch")
class BertMatcher(Matcher):
    """BERT over `[CLS] query [SEP] document [SEP]` and the pooled head.

    Args:
        vocabulary_size: int. Number of WordPiece tokens.
        num_layers: int. Transformer layers.
        num_heads: int. Attention heads of a layer.
        hidden_dim: int. Width of the hidden vectors.
        intermediate_dim: int. Width inside the feed-forward blocks.
        head_dim: int. Width of the head's first dense layer.
        dropout: float. Rate in the encoder and the head.
        max_sequence_length: int. Longest input, in tokens.
        match_segments: bool. Tell the encoder which tokens both sides share.

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
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        import keras_hub

        # === Layers ===
        intermediate_dim = intermediate_dim or 4 * hidden_dim
        encoder = keras_hub.models.BertBackbone(
            vocabulary_size=vocabulary_size,
            num_layers=num_layers,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            intermediate_dim=intermediate_dim,
            dropout=dropout,
            max_sequence_length=max_sequence_length,
            num_segments=4 if match_segments else 2,
            dtype=dtype,
            name="encoder",
        )

        # === Functional model ===
        inputs, score = encode_and_score(encoder, match_segments, head_dim, dropout)
        super().__init__(inputs=inputs, outputs=score, **kwargs)

        # === Config ===
        self.encoder = encoder
        self._arguments = {
            "vocabulary_size": vocabulary_size,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "intermediate_dim": intermediate_dim,
            "head_dim": head_dim,
            "dropout": dropout,
            "max_sequence_length": max_sequence_length,
            "match_segments": match_segments,
        }

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._arguments}


def encode_and_score(
    encoder: keras.Model, match_segments: bool, head_dim: int, dropout: float
) -> tuple[dict[str, Any], Any]:
    """Inputs and score of a token encoder under the pooled head.

    Args:
        encoder: KerasHub backbone called on `token_ids`, `segment_ids` and
            `padding_mask`; returns `sequence_output` or that tensor alone.
        match_segments: bool. Replace the segments by `MatchSegments`.
        head_dim: int. Width of the head's first dense layer.
        dropout: float. Rate in the head.
    """
    # KerasHub's own pooler is not part of the head, so it must not be trained or decayed.
    encoder.get_layer("pooled_dense").trainable = False
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "segment_ids")
    }
    segments = inputs["segment_ids"]
    if match_segments:
        segments = MatchSegments(name="match_segments")(inputs["token_ids"], segments)
    mask = ops.not_equal(inputs["token_ids"], 0)
    encoded = encoder(
        {
            "token_ids": inputs["token_ids"],
            "segment_ids": segments,
            "padding_mask": ops.cast(mask, "int32"),
        }
    )
    hidden = encoded["sequence_output"] if isinstance(encoded, dict) else encoded
    pooled = layers.Concatenate(name="pooled")(
        [hidden[:, 0], masked_max_pool(hidden, mask), masked_mean_pool(hidden, mask)]
    )
    return inputs, score_head(pooled, head_dim, dropout)
