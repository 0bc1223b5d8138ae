"""The GBDT, and both teachers' scores of the rows that students learn from."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.ids import PairIds
from kdmatch.data.rows import Rows
from kdmatch.distillation.training import predict_logits
from kdmatch.models.matcher import with_logits
from kdmatch.models.registry import load_matcher
from kdmatch.pipeline.config import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import SPLITS
from kdmatch.pipeline.run_directory import write_json
from kdmatch.pipeline.text_stage import encode_file, load_ids
from kdmatch.pipeline.training_stage import matmul_precision
from kdmatch.teachers.features import TextFeatures
from kdmatch.teachers.gbdt import GbdtRanker
from kdmatch.teachers.scores import Standard
from kdmatch.text.word2vec import skip_gram

TEACHERS = ("teacher", "gbdt")


def train_gbdt(config: Config, data: Path, folder: Path) -> dict[str, Any]:
    """Write the ranker, its features, importance, and out-of-fold training scores."""
    documents: set[str] = set()
    for split in SPLITS:
        column = pq.read_table(data / f"{split}.parquet", columns=["document"]).column("document")
        documents.update(column.unique().to_pylist())
    train, valid = (Rows.load(data / f"{split}.parquet") for split in ("train", "valid"))
    texts = sorted(documents)
    features = TextFeatures.fit(texts, language=config.text.language)
    if config.gbdt.dimension:
        # Vectors of the features' own words, so that what they look up is there.
        sentences = [
            list(features.words(text)) for text in [*texts, *train.query.unique().to_pylist()]
        ]
        vectors = skip_gram(
            sentences, config.gbdt.dimension, epochs=10, seed=config.seed, min_count=2
        )
        features = TextFeatures.fit(texts, language=config.text.language, vectors=vectors)
    features.save(folder / "features")
    x_train, x_valid = pair_features(features, train), pair_features(features, valid)
    ranker = GbdtRanker(config.gbdt.objective, config.gbdt.params, config.seed)
    names = [*features.names, *train.feature_names]
    ranker.fit(x_train, train.label, train.group, (x_valid, valid.label, valid.group), names)
    ranker.save(folder / "model")
    write_json(folder / "importance.json", ranker.importance())
    folds = min(config.gbdt.folds, len(np.unique(train.group)))
    scores = ranker.out_of_fold(x_train, train.label, train.group, folds=folds, seed=config.seed)
    np.save(folder / "train_scores.npy", scores.astype(np.float32))
    return {"rounds": ranker.rounds, "features": len(names)}


def pair_features(features: TextFeatures, rows: Rows) -> np.ndarray:
    """Text features of each row, and the row's own `f_*` columns after them."""
    return np.concatenate([features.transform(*rows.pairs()), rows.features], axis=1)


class Gbdt:
    """The trained GBDT of a run, scoring rows."""

    def __init__(self, folder: Path) -> None:
        self._features = TextFeatures.load(folder / "features")
        self._ranker = GbdtRanker.load(folder / "model")

    def score(self, rows: Rows) -> np.ndarray:
        """Scores, float32 `(n,)`; a user's feature that `rows` lack counts as missing."""
        wanted = self._ranker.names[len(self._features.names) :]
        given = {name: i for i, name in enumerate(rows.feature_names)}
        columns = [
            rows.features[:, given[name]] if name in given else np.full(len(rows), np.nan)
            for name in wanted
        ]
        text = self._features.transform(*rows.pairs())
        full = np.concatenate([text, *(column[:, None] for column in columns)], axis=1)
        return self._ranker.predict(full).astype(np.float32)


def matcher_logits(
    model: Path, ids: PairIds, console: Console, precision: str = "float32"
) -> np.ndarray:
    """Logits of the matcher in folder `model`, float32 `(n,)`, under a progress bar."""
    keras.utils.clear_session(free_memory=True)
    scorer = with_logits(load_matcher(model))
    with (
        matmul_precision(precision),
        console.progress(f"scoring with {model.name}", len(ids)) as advance,
    ):
        return predict_logits(scorer, ids, advance=advance)


def score_rows(config: Config, root: Path, folder: Path, console: Console) -> dict[str, Any]:
    """Write both teachers' scores of the training and the transfer rows.

    `train.parquet` and `transfer.parquet` get the columns `score_teacher` and
    `score_gbdt`; `standard.json` holds their scale on the training rows.
    The GBDT's training scores are out of fold; the BERT's are not.
    """
    pairs = root / "transfer" / "pairs.parquet"
    encode_file(pairs, root / "text", folder / "transfer")
    gbdt = Gbdt(root / "gbdt")
    transfer = Rows.load(pairs)
    precision = config.teacher.training.precision
    teacher = root / "teacher"
    scores = {
        "train": {
            "teacher": matcher_logits(
                teacher, load_ids(root / "text" / "train", "wordpiece"), console, precision
            ),
            "gbdt": np.load(root / "gbdt" / "train_scores.npy"),
        },
        "transfer": {
            "teacher": matcher_logits(
                teacher, load_ids(folder / "transfer", "wordpiece"), console, precision
            ),
            "gbdt": gbdt.score(transfer),
        },
    }
    standards = {name: Standard.of(scores["train"][name]).as_dict() for name in TEACHERS}
    write_json(folder / "standard.json", standards)
    for split, columns in scores.items():
        table = pa.table({f"score_{name}": column for name, column in columns.items()})
        pq.write_table(table, folder / f"{split}.parquet")
    return {"transfer_rows": len(transfer)}


def load_standards(folder: Path) -> dict[str, Standard]:
    """The scale of each teacher's scores."""
    raw = json.loads((folder / "standard.json").read_text("utf-8"))
    return {name: Standard(**values) for name, values in raw.items()}


def load_scores(folder: Path, split: str) -> dict[str, np.ndarray]:
    """Standardised scores of each teacher for `train` or `transfer`."""
    table = pq.read_table(folder / f"{split}.parquet")
    return {
        name: standard.apply(table.column(f"score_{name}").to_numpy())
        for name, standard in load_standards(folder).items()
    }


def combine_teachers(config: Config, scores: Sequence[np.ndarray]) -> np.ndarray:
    """Standardised scores (teacher, gbdt) weighed as the student's target weighs them."""
    alpha, gamma = config.distillation.alpha, config.distillation.gamma
    total = (alpha + gamma) or 1.0
    return (alpha * scores[0] + gamma * scores[1]) / total
