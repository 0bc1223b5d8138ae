"""What an export computes: strings or ids in, scores out."""

from typing import Any, Protocol

import keras
import tensorflow as tf

from kdmatch.models.albert import AlbertMatcher
from kdmatch.models.bert import BertMatcher
from kdmatch.models.textcnn import TextCnnMatcher
from kdmatch.serving.graph.cnn import score_words
from kdmatch.serving.graph.cnn_weights import cnn_weights
from kdmatch.serving.graph.coverage import cover_tokens
from kdmatch.serving.graph.encoder import score_packed
from kdmatch.serving.graph.pack import Packed, pack_padded, pack_text
from kdmatch.serving.graph.segments import (
    TraitTables,
    detailed_match_segments,
    match_segments,
)
from kdmatch.serving.graph.similarity import Units
from kdmatch.serving.graph.weights import encoder_weights, token_embeddings
from kdmatch.serving.graph.words import PageWords, number_ids, number_text

Ids = dict[str, tf.Tensor]


class Scorer(Protocol):
    """The two ways into a served model; both give float32 `(batch,)`.

    Attributes:
        variables: what the graphs read and the export must save.
    """

    variables: list[tf.Variable]

    def from_text(self, query: tf.Tensor, document: tf.Tensor) -> tf.Tensor: ...

    def from_tokens(self, ids: Ids) -> tf.Tensor: ...


def make_scorer(matcher: keras.Model, encoder: Any, graph: str, precision: str) -> Scorer:
    """The scorer of a matcher.

    Args:
        matcher: Functional matcher.
        encoder: PairEncoder.
        graph: str. "packed", for matchers that have such a graph, or "keras".
        precision: str. "float32" or "bfloat16", of the packed graph's products.
    """
    if graph == "packed" and isinstance(matcher, BertMatcher | AlbertMatcher):
        return PackedScorer(matcher, encoder, tf.dtypes.as_dtype(precision))
    if graph == "packed" and isinstance(matcher, TextCnnMatcher):
        return CnnScorer(matcher, encoder)
    return KerasScorer(matcher, encoder)


class KerasScorer:
    """The Keras model as it was trained, its weights variables."""

    def __init__(self, matcher: keras.Model, encoder: Any) -> None:
        self.variables = [variable.value for variable in matcher.variables]
        self._call = lambda ids: matcher(ids, training=False)
        self._encoder = encoder

    def from_text(self, query: tf.Tensor, document: tf.Tensor) -> tf.Tensor:
        return self._call(self._encoder(query, document))

    def from_tokens(self, ids: Ids) -> tf.Tensor:
        return self._call(ids)


class PackedScorer:
    """The packed graph of a BERT or ALBERT matcher."""

    def __init__(
        self, matcher: BertMatcher | AlbertMatcher, encoder: Any, precision: tf.DType
    ) -> None:
        weights = encoder_weights(matcher)
        config = matcher.get_config()
        tables = TraitTables.of(matcher)

        # The packed graph's own embeddings are centred, and cosines are not of those.
        embeddings = None
        if tables is not None and tables.spelling is not None:
            embeddings = Units.of(token_embeddings(matcher)).as_constants()

        # One function, so that both signatures share one copy of the constants.
        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)] * 6)
        def score(*tensors: tf.Tensor) -> tf.Tensor:
            page = Packed(*tensors)
            segments = page.sides
            held = tables.in_graph() if tables is not None else None
            if held is not None and config["match_details"]:
                rarities = matcher.get_layer("match_segments").rarities
                segments = detailed_match_segments(page, held, rarities)
            elif config["match_segments"]:
                segments = match_segments(page, len(weights.tokens))
            told = None
            if held is not None and held.spelling is not None and embeddings is not None:
                told = cover_tokens(page, held, held.spelling, embeddings)
            return score_packed(weights, page, segments, told, precision)

        self.variables: list[tf.Variable] = []
        self._score = score
        self._encoder = encoder

    def from_text(self, query: tf.Tensor, document: tf.Tensor) -> tf.Tensor:
        return self._score(*pack_text(self._encoder, query, document).tensors())

    def from_tokens(self, ids: Ids) -> tf.Tensor:
        return self._score(*pack_padded(ids["token_ids"], ids["segment_ids"]).tensors())


class CnnScorer:
    """The graph of a TextCNN, each distinct word of a page convolved once."""

    def __init__(self, matcher: TextCnnMatcher, encoder: Any) -> None:
        weights = cnn_weights(matcher)
        numbers = tf.TensorSpec([None, None], tf.int32)

        @tf.function(
            autograph=False, input_signature=[tf.TensorSpec([None], tf.int32), numbers, numbers]
        )
        def score(*tensors: tf.Tensor) -> tf.Tensor:
            return score_words(weights, PageWords(*tensors))

        self.variables: list[tf.Variable] = []
        self._score = score
        self._encoder = encoder

    def from_text(self, query: tf.Tensor, document: tf.Tensor) -> tf.Tensor:
        return self._score(*number_text(self._encoder, query, document).tensors())

    def from_tokens(self, ids: Ids) -> tf.Tensor:
        return self._score(*number_ids(ids["query_ids"], ids["document_ids"]).tensors())
