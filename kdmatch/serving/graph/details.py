"""`DetailedMatchChannels` of both sides of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from kdmatch.models.traits import DetailedMatchChannels, equal_stems
from kdmatch.serving.graph.segments import TraitTables
from kdmatch.serving.graph.words import PageWords


@dataclass(frozen=True)
class Details:
    """Stems and rarity of a page's words.

    Attributes:
        stems: of query and document, int32 `(batch, words)`.
        rarity: likewise, float32, 0 for padding.
    """

    stems: Sequence[tf.Tensor]
    rarity: Sequence[tf.Tensor]

    @classmethod
    def of(cls, page: PageWords, tables: TraitTables) -> "Details":
        stems, rarity = (tf.gather(table, page.words) for table in (tables.stems, tables.rarity))
        sides = (page.query, page.document)
        return cls(
            [tf.gather(stems, numbers) for numbers in sides],
            [tf.gather(rarity, numbers) for numbers in sides],
        )

    def channels(self) -> list[tf.Tensor]:
        """Of query and document, float32 `(batch, words, 3)`."""
        same = equal_stems(*self.stems)
        of = DetailedMatchChannels.of_matches
        return [of(same, self.rarity[0]), of(tf.transpose(same, [0, 2, 1]), self.rarity[1])]
