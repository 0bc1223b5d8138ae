"""What BERT and ALBERT matchers share: a token encoder under the pooled head."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from kdmatch.models.coverage import Coverage
from kdmatch.models.details import DetailedMatchSegments
from kdmatch.models.head import masked_max_pool, masked_mean_pool, score_head
from kdmatch.models.match import MatchSegments
from kdmatch.models.matcher import Matcher, dtype_argument
from kdmatch.models.tables import TokenTraits, WordSpelling

_NOT_THE_BACKBONES = ("head_dim", "match_segments", "match_details", "match_coverage")


class EncoderMatcher(Matcher):
    """A transformer over `[CLS] query [SEP] document [SEP]` and the pooled head.

    Args:
        backbone: KerasHub backbone class.
        arguments: constructor arguments of the matcher, `dtype` apart.
        fixed: arguments of the backbone that no matcher varies.
        dtype: of the encoder.
    """

    def __init__(
        self,
        backbone: Callable[..., keras.Model],
        arguments: dict[str, Any],
        fixed: dict[str, Any] | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        # === Layers ===
        arguments["intermediate_dim"] = arguments["intermediate_dim"] or 4 * arguments["hidden_dim"]
        size = arguments["vocabulary_size"]
        traits, spelling, num_segments = None, None, 2
        segments: MatchSegments | DetailedMatchSegments | None = None
        if arguments["match_details"] or arguments["match_coverage"]:
            traits = TokenTraits(size, name="traits")
        if arguments["match_coverage"]:
            spelling = WordSpelling(size, name="spelling")
        if arguments["match_details"]:
            segments = DetailedMatchSegments(name="match_segments")
            num_segments = segments.num_segments
        elif arguments["match_segments"]:
            segments = MatchSegments(name="match_segments")
            num_segments = 4
        encoder = backbone(
            **{k: v for k, v in arguments.items() if k not in _NOT_THE_BACKBONES},
            **(fixed or {}),
            num_segments=num_segments,
            dtype=dtype,
            name="encoder",
        )
        # KerasHub's own pooler is not part of the head, so it must not be trained or decayed.
        encoder.get_layer("pooled_dense").trainable = False

        # === Functional model ===
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in ("token_ids", "segment_ids")
        }
        mask = ops.not_equal(inputs["token_ids"], 0)
        own = inputs["segment_ids"]
        stems, rarity, roles = (
            traits(inputs["token_ids"]) if traits is not None else (None, None, None)
        )
        if isinstance(segments, DetailedMatchSegments):
            own = segments(*inputs.values(), stems, rarity)
        elif segments is not None:
            own = segments(*inputs.values())
        encoded = encoder(
            {
                "token_ids": inputs["token_ids"],
                "segment_ids": own,
                "padding_mask": ops.cast(mask, "int32"),
            }
        )
        hidden = encoded["sequence_output"] if isinstance(encoded, dict) else encoded
        pools = [hidden[:, 0], masked_max_pool(hidden, mask), masked_mean_pool(hidden, mask)]
        if spelling is not None:
            tokens = {
                "ids": inputs["token_ids"],
                "stems": stems,
                "rarity": rarity,
                "roles": roles,
                "spelling": spelling(*inputs.values()),
                "vectors": encoder.get_layer("token_embedding")(inputs["token_ids"]),
            }
            words = ops.not_equal(stems, 0)
            sides = [
                {**tokens, "mask": ops.logical_and(words, ops.equal(inputs["segment_ids"], side))}
                for side in (0, 1)
            ]
            pools.append(Coverage(name="coverage", dtype="float32")(*sides))
        pooled = layers.Concatenate(name="pooled")(pools)
        score = score_head(pooled, arguments["head_dim"], arguments["dropout"])
        super().__init__(inputs=inputs, outputs=score, **kwargs)

        # === Config ===
        self.encoder = encoder
        self.traits, self.spelling = traits, spelling
        self._arguments = arguments | dtype_argument(dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self._arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "EncoderMatcher":
        """Of this version's config, or of 0.3's, where an option `match_sides` is off."""
        kept = {name: on for name, on in config.items() if name != "match_sides" or on}
        made: EncoderMatcher = super().from_config(kept, custom_objects)
        return made
