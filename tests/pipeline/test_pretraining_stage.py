"""A teacher that starts from an encoder which the run pre-trained."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from kdmatch.errors import UserError


def test_the_teacher_starts_from_the_pretrained_encoder(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.models.registry import load_matcher
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import run
    from kdmatch.pipeline.training_stage import start_matcher

    config = load_config(
        tiny,
        [
            "pretraining={steps: 6, batch_size: 16, backup_every: 3}",
            "teacher.start=pretraining",
            "teacher.training.steps=2",
        ],
    )
    root = run(config, tmp_path / "run", Console(quiet=True), until="pretraining")
    assert not (root / "teacher").exists()
    done = yaml.safe_load((root / "pretraining" / "done.json").read_text("utf-8"))
    rows = len(np.load(root / "text" / "train.wordpiece.npz")["lengths/token_ids"])
    assert done["texts"] > rows
    assert 0 < done["held_out_loss"] < 20
    source = load_matcher(root / "pretraining")
    segments = source.encoder.get_layer("segment_embedding").embeddings.numpy()
    assert np.abs(segments[2:4] - segments[:2]).max() < 0.1
    teacher = start_matcher(config.teacher, root / "text")
    for own, other in zip(teacher.encoder.weights, source.encoder.weights, strict=True):
        assert (own.numpy() == other.numpy()).all()


def test_mistakes_are_named(tiny: Path) -> None:
    from kdmatch.pipeline.config.loader import load_config

    with pytest.raises(UserError, match="add a `pretraining` section"):
        load_config(tiny, ["teacher.start=pretraining"])
    with pytest.raises(UserError, match=r"pretraining\.steps"):
        load_config(tiny, ["pretraining={steps: 0}"])
