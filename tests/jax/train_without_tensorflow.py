"""Run by test_without_tensorflow.py: train, measure and save on JAX, TensorFlow forbidden."""

import importlib.abc
import json
import sys
from pathlib import Path
from typing import Any

LENGTHS = {
    "albert": {"token_ids": 9, "segment_ids": 9},
    "textcnn": {"query_ids": 3, "document_ids": 6},
}


class _Forbidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name.partition(".")[0] in ("tensorflow", "tensorflow_text", "tf_keras"):
            raise ImportError(f"{name} is forbidden here")


def main(folder: Path) -> None:
    sys.meta_path.insert(0, _Forbidden())

    import keras
    import numpy as np

    import kdmatch
    from kdmatch.data.batches import ScoredPairs, TrainingBatches
    from kdmatch.data.ids import PairIds
    from kdmatch.evaluation.evaluate import evaluate_scores
    from kdmatch.models.registry import save_matcher

    assert keras.backend.backend() == "jax"
    assert kdmatch.RunData.batches  # of a run that was copied here; its imports need no TensorFlow
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    rows, queries = 96, 12
    truth = np.tile([1.0, -1.0], rows // 2).astype(np.float32)
    group = np.repeat(np.arange(queries, dtype=np.int32), rows // queries)
    students = {
        "albert": kdmatch.AlbertMatcher(
            vocabulary_size=40, num_heads=2, hidden_dim=16, embedding_dim=8, head_dim=8
        ),
        "textcnn": kdmatch.TextCnnMatcher(
            vocabulary_size=40, embedding_dim=8, filters=8, kernels=3, head_dim=8
        ),
    }
    history = {}
    soft = {"albert": "mse", "textcnn": "listwise"}
    for name, student in students.items():
        values = {}
        for key, length in LENGTHS[name].items():
            ids = generator.integers(5, 40, (rows, length), dtype=np.int32)
            # One token gives the relevant documents away, so that there is something to learn.
            ids[:, -1] = np.where(truth > 0, 7, 8)
            if key == "segment_ids":
                ids = np.tile((np.arange(length) >= 4).astype(np.int32), (rows, 1))
            values[key] = ids.ravel()
        lengths = {key: np.full(rows, n, np.int32) for key, n in LENGTHS[name].items()}
        noise = generator.normal(0, 0.1, rows).astype(np.float32)
        pairs = ScoredPairs(
            PairIds(values, lengths),
            truth,
            group,
            np.ones(rows, np.float32),
            {"teacher": truth + noise, "gbdt": truth - noise},
        )
        distiller = kdmatch.Distiller(student, alpha=1.0, beta=0.5, gamma=0.5, soft=soft[name])
        distiller.compile(optimizer=keras.optimizers.Adam(0.01))
        fitted = distiller.fit(TrainingBatches(pairs, batch_size=16, steps=12), epochs=4, verbose=0)
        history[name] = {key: list(map(float, seen)) for key, seen in fitted.history.items()}
        inputs = pairs.ids.pad(np.arange(rows))
        scores = np.asarray(distiller.predict(inputs, verbose=0))
        measured = evaluate_scores(
            truth, group, {name: scores}, positive_threshold=0.5, resamples=50
        )
        history[name]["auc"] = [measured[name]["auc"]["value"]]
        save_matcher(student, folder / name)
        np.savez(folder / f"{name}.npz", scores=scores, **inputs)
    found = [name for name in sys.modules if name.partition(".")[0].startswith("tensorflow")]
    assert not found, f"these were imported: {found}"
    (folder / "history.json").write_text(json.dumps(history), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
