"""One score, whoever computes it: Keras, a bare SavedModel, the server."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kdmatch.errors import UserError

PAIRS = [
    ("hidden lantern", "Hidden Lantern S1 EP 2"),
    ("hidden lantern", "a"),
    ("led bulb 60w", "LED light bulb, 60 W " * 12),
    ("北京大学", "北京大学生前来应聘"),
    ("x", "\ufffd broken \U0001f600"),
]

BARE = """
import json, sys
import tensorflow as tf
import tensorflow_text
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
pairs = json.loads(sys.argv[2])
query, document = (tf.constant([pair[side] for pair in pairs]) for side in (0, 1))
answer = signature(query=query, document=document)
assert not [name for name in sys.modules if name.startswith("kdmatch")]
print("SCORES", json.dumps(answer["score"].numpy().tolist()))
"""


def keras_scores(run: Path, name: str) -> np.ndarray:
    """Scores of the exported seed, straight from Keras, one pair at a time."""
    import tensorflow as tf

    from kdmatch.models.registry import load_matcher
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.scoring import best_seed
    from kdmatch.pipeline.training_stage import encoder_kind
    from kdmatch.text.encoder import load_encoder

    config = load_config(run / "config.yaml")
    model = config.teacher if name == "teacher" else config.students[name]
    folder = run / "teacher" if name == "teacher" else best_seed(config, run / "students" / name)
    matcher = load_matcher(folder)
    encoder = load_encoder(run / "text" / encoder_kind(model.preset))
    return np.array(
        [float(matcher(encoder(tf.constant([q]), tf.constant([d])))[0]) for q, d in PAIRS]
    )


@pytest.mark.parametrize("name", ["albert", "textcnn", "cnn_attention", "teacher"])
def test_keras_a_bare_process_and_grpc_agree(finished_run: Path, name: str) -> None:
    from kdmatch.serving.client import Client
    from kdmatch.serving.server import LocalServer

    expected = keras_scores(finished_run, name)
    assert expected.std() > 0
    version = finished_run / "export" / name / "1"
    bare = subprocess.run(
        [sys.executable, "-c", BARE, str(version), json.dumps(PAIRS)],
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(one for one in bare.stdout.splitlines() if one.startswith("SCORES "))
    assert np.abs(np.array(json.loads(line[7:])) - expected).max() <= 1e-5
    with (
        LocalServer(finished_run / "export", port=0) as server,
        Client(f"localhost:{server.port}", model=name) as client,
    ):
        served = client.score_pairs([q for q, _ in PAIRS], [d for _, d in PAIRS])
        alone = client.score(PAIRS[0][0], [PAIRS[0][1]])
        ranking = client.rank("hidden lantern", [d for _, d in PAIRS])
    assert np.abs(served - expected).max() <= 1e-5
    assert abs(alone[0] - expected[0]) <= 1e-5
    assert [score for _, score in ranking] == sorted((s for _, s in ranking), reverse=True)


def test_tokens_signature_scores_what_the_text_signature_does(finished_run: Path) -> None:
    import tensorflow as tf

    from kdmatch.text.encoder import load_encoder

    loaded = tf.saved_model.load(str(finished_run / "export" / "albert" / "1"))
    query, document = tf.constant(["led bulb"]), tf.constant(["led light bulb"])
    ids = load_encoder(finished_run / "text" / "wordpiece")(query, document)
    by_tokens = loaded.signatures["tokens"](**ids)["score"].numpy()
    by_text = loaded.signatures["serving_default"](query=query, document=document)["score"].numpy()
    assert by_tokens == pytest.approx(by_text, abs=1e-6)


def test_a_second_export_is_the_next_version(finished_run: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.finish_stage import export_model

    config = load_config(finished_run / "config.yaml")
    base = tmp_path / "textcnn"
    assert [export_model(config, finished_run, "textcnn", base).name for _ in "12"] == ["1", "2"]
    assert (base / "2" / "assets.extra" / "tf_serving_warmup_requests").is_file()
    with pytest.raises(UserError, match="no model 'nosuch'; this run has teacher, albert"):
        export_model(config, finished_run, "nosuch", base)


def test_export_refuses_the_wrong_encoder(finished_run: Path, tmp_path: Path) -> None:
    import kdmatch
    from kdmatch.models.registry import load_matcher
    from kdmatch.text.encoder import load_encoder

    matcher = load_matcher(finished_run / "students" / "textcnn" / "seed-0")
    encoder = load_encoder(finished_run / "text" / "wordpiece")
    with pytest.raises(UserError, match="export it with the encoder it was trained on"):
        kdmatch.export(matcher, encoder, tmp_path / "m")
    assert not list((tmp_path / "m").glob("*"))
