"""What an export publishes beside the graph, and what it refuses to publish."""

from pathlib import Path

import pytest
import tensorflow as tf

from kdmatch.errors import UserError
from kdmatch.models.registry import build_matcher
from kdmatch.models.textcnn import TextCnnMatcher
from kdmatch.serving.export import export
from kdmatch.serving.servable import Servable
from kdmatch.serving.warmup import read_warmup

from .matchers import ENCODERS, PAIRS, by_text, matcher_of, strings


def test_batching_parameters_are_in_the_version_as_it_appears(tmp_path):
    parameters = Path(__file__).parents[2] / "serving" / "batching_params.pbtxt"
    matcher, encoder = matcher_of("textcnn"), ENCODERS["words"]()
    version = export(matcher, encoder, tmp_path / "m", batching=parameters)
    assert (version / "batching_params.pbtxt").read_bytes() == parameters.read_bytes()
    with pytest.raises(OSError, match="absent"):
        export(matcher, encoder, tmp_path / "m", batching=tmp_path / "absent")
    assert [one.name for one in (tmp_path / "m").iterdir()] == ["1"]


def test_the_keras_graph_remains_as_a_control(tmp_path):
    matcher, encoder = matcher_of("albert"), ENCODERS["wordpiece"]()
    loaded = tf.saved_model.load(str(export(matcher, encoder, tmp_path / "m", graph="keras")))
    expected = matcher(encoder(**strings(PAIRS))).numpy()
    assert by_text(loaded, PAIRS) == pytest.approx(expected, abs=1e-6)


class Halved(TextCnnMatcher):
    """A student of one's own: it halves what is compared, and the packed graph does not know."""

    @staticmethod
    def _compare(hidden, masks, filters, dtype):
        return [0.5 * one for one in TextCnnMatcher._compare(hidden, masks, filters, dtype)]


def test_a_graph_that_scores_otherwise_is_not_published(tmp_path):
    matcher, encoder = matcher_of("textcnn"), ENCODERS["words"]()
    own = Halved(**{k: v for k, v in matcher.get_config().items() if k != "name"})
    own.set_weights(matcher.get_weights())
    with pytest.raises(UserError, match=r"differ from the model's by.*nothing is published"):
        export(own, encoder, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []
    assert export(own, encoder, tmp_path / "m", graph="keras").is_dir()


def test_an_encoder_that_makes_more_than_the_model_reads_is_refused(tmp_path):
    encoder = ENCODERS["wordpiece"]()
    size = len(encoder.vocabulary)
    few = build_matcher("albert_1l_64", vocabulary_size=size - 1)
    with pytest.raises(UserError, match=f"knows {size - 1} tokens, the encoder has {size}"):
        export(few, encoder, tmp_path / "m")
    short = build_matcher("albert_1l_64", vocabulary_size=size, max_sequence_length=8)
    with pytest.raises(UserError, match=f"reads 8 tokens.*up to {encoder.max_tokens}"):
        export(short, encoder, tmp_path / "m")


def test_all_that_is_asked_for_is_warmed_up(tmp_path):
    matcher, encoder = matcher_of("albert"), ENCODERS["wordpiece"]()
    version = export(matcher, encoder, tmp_path / "m", warmup=("led", ["led bulb", "shelf", "a"]))
    requests = [one.predict_log.request for one in read_warmup(version)]
    by_text = [one for one in requests if one.model_spec.signature_name == "serving_default"]
    assert [len(one.inputs["document"].string_val) for one in by_text] == [1, 2, 5, 10, 20, 50, 200]
    (by_ids,) = [one for one in requests if one.model_spec.signature_name == "tokens"]
    assert set(by_ids.inputs) == {"token_ids", "segment_ids"}
    Servable("m", 1, version)  # plays them all


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"graph": "fast"}, "graph 'fast' is unknown; choose one of packed, keras"),
        ({"precision": "int3"}, "precision 'int3' is unknown to graph 'packed'"),
        ({"graph": "keras", "precision": "bfloat16"}, "unknown to graph 'keras'.*float32"),
    ],
)
def test_mistakes_are_named(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        export(matcher_of("albert"), ENCODERS["wordpiece"](), tmp_path / "m", **arguments)
    assert not (tmp_path / "m").exists()


def test_a_textcnn_has_float32_alone(tmp_path):
    with pytest.raises(UserError, match="has no graph in bfloat16; export it with precision"):
        export(matcher_of("textcnn"), ENCODERS["words"](), tmp_path / "m", precision="bfloat16")
