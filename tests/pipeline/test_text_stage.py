"""What the text stage leaves for a matcher to begin with."""

from pathlib import Path
from typing import Any

import numpy as np


def test_a_text_cnn_begins_with_what_an_encoder_reads_for_each_word(
    tiny: Path, tmp_path: Path, write_bert: Any
) -> None:
    from kdmatch.models.sentence_encoder import SentenceEncoder
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.run import run
    from kdmatch.pipeline.training_stage import start_matcher

    bert = tmp_path / "bert"
    bert.mkdir()
    write_bert(bert, words=40, hidden=16, inside=24, heads=2, layers=1, positions=20)
    config = load_config(
        tiny,
        [
            f"text.words.encoder={bert}",
            "students.textcnn.start=vectors",
            "students.textcnn.arguments.embedding_dim=32",
        ],
    )
    words = run(config, tmp_path / "run", Console(quiet=True), until="text") / "text" / "words"
    vocabulary = (words / "vocabulary.txt").read_text("utf-8").split("\n")
    read = np.load(words / "encoded.npy")
    assert read.shape == (len(vocabulary), 16)
    alone = SentenceEncoder(str(bert)).encode(vocabulary[5:6])[0]
    np.testing.assert_allclose(read[5], alone, atol=2e-3)
    plain = np.load(words / "vectors.npy")
    student = start_matcher(config.student("textcnn"), words.parent)
    table = student.word_embedding.embeddings.numpy()
    used = plain.any(axis=1)
    assert not table[~used].any()

    def cosines(rows: np.ndarray, centre: bool) -> np.ndarray:
        rows = rows[used].astype(np.float64)
        rows = rows - rows.mean(axis=0) * centre
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows @ rows.T)

    # The embedding has room for all directions: words are as alike as both say in the mean.
    expected = (cosines(plain, True) + cosines(read, True)) / 2
    np.testing.assert_allclose(cosines(table, False), expected, atol=2e-3)
