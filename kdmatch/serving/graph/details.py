"""`DetailedMatchChannels` of both sides of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from kdmatch.models.details import DetailedMatchChannels, equal_stems
from kdmatch.serving.graph.segments import TraitTables
from kdmatch.serving.graph.words import PageWords


@dataclass(frozen=True)
class Details:
    """Stems, rarity and roles of a page's words.

    Attributes:
        stems: of query and document, int32 `(batch, words)`.
        rarity: likewise, float32, 0 for padding.
        roles: likewise, int32.
    """

    stems: Sequence[tf.Tensor]
    rarity: Sequence[tf.Tensor]
    roles: Sequence[tf.Tensor]

    @classmethod
    def of(cls, page: PageWords, tables: TraitTables) -> "Details":
        of_words = [
            tf.gather(table, page.words) for table in (tables.stems, tables.rarity, tables.roles)
        ]
        sides = (page.query, page.document)
        return cls(*([tf.gather(one, numbers) for numbers in sides] for one in of_words))

    def channels(self) -> list[tf.Tensor]:
        """Of query and document, float32 `(batch, words, 3)`."""
        same = equal_stems(*self.stems)
        of = DetailedMatchChannels.of_matches
        return [of(same, self.rarity[0]), of(tf.transpose(same, [0, 2, 1]), self.rarity[1])]
