"""The GBDT, and the teachers' scores of the rows that students learn from."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdmatch.data.ids import PairIds
from kdmatch.data.rows import Rows
from kdmatch.data.splits import query_key
from kdmatch.distillation.training import predict_logits
from kdmatch.errors import UserError
from kdmatch.files import read_json, write_json
from kdmatch.models.matcher import with_logits
from kdmatch.models.registry import load_matcher
from kdmatch.pipeline.config.models import ModelConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import SPLITS, run_language
from kdmatch.pipeline.text_stage import encode_file, load_ids
from kdmatch.pipeline.training_stage import encoder_kind, matmul_precision
from kdmatch.teachers.gbdt import GbdtRanker
from kdmatch.teachers.inputs import GbdtInputs
from kdmatch.teachers.labelled_rows import query_folds
from kdmatch.teachers.neighbours import NeighbourFeatures
from kdmatch.teachers.scores import Standard
from kdmatch.teachers.sentences import Encode


def train_gbdt(
    config: Config, data: Path, folder: Path, console: Console | None = None
) -> dict[str, Any]:
    """Write the ranker, its features, importance, and out-of-fold training scores.

    Folds are cut by the queries' text, as splits are: an id is often a session's.
    """
    documents: set[str] = set()
    for split in SPLITS:
        column = pq.read_table(data / f"{split}.parquet", columns=["document"]).column("document")
        documents.update(column.unique().to_pylist())
    train, valid = (Rows.load(data / f"{split}.parquet") for split in ("train", "valid"))
    settings = config.gbdt
    console = console or Console(quiet=True)
    by_text = pc.dictionary_encode(pa.array(map(query_key, train.query.to_pylist())))
    folds = min(settings.folds, len(by_text.dictionary))
    fold = query_folds(by_text.indices.to_numpy(), folds, config.seed)
    # Where rows count alike LightGBM is told nothing. Weights are 1 in the mean, as in training:
    # LightGBM holds their sums against what a leaf must have and its regularization.
    weight = train.weight / train.weight.mean() if np.ptp(train.weight) else None

    def neighbours(encode: Encode) -> NeighbourFeatures:
        labelled = (*train.pairs(), train.label)
        return NeighbourFeatures.fit(encode, *labelled, fold, settings.neighbours, weight)

    with matmul_precision("bfloat16"):
        inputs = GbdtInputs.fit(
            sorted(documents),
            train.query.unique().to_pylist(),
            run_language(config, data),
            settings.dimension,
            settings.sentences,
            settings.components,
            neighbours if settings.neighbours else None,
            config.seed,
            partial(console.progress, "reading documents"),
        )
        inputs.save(folder)
        x_train, x_valid = pair_features(inputs, train), pair_features(inputs, valid)
        seen = inputs.without_fold(x_train, *train.pairs())
    ranker = GbdtRanker(config.gbdt.objective, config.gbdt.params, config.seed)
    names = [*inputs.names, *train.feature_names]
    held_out = (x_valid, valid.label, valid.group)
    ranker.fit(x_train, train.label, train.group, held_out, names, weight)
    ranker.save(folder / "model")
    write_json(folder / "importance.json", ranker.importance())
    if not ranker.has_learned:
        console.stage(
            "gbdt",
            f"learned nothing of {int((~np.isnan(train.label)).sum())} labelled rows: no tree "
            "splits; lower gbdt.params.min_data_in_leaf",
        )
    scores = ranker.out_of_fold(seen, train.label, train.group, fold, weight)
    np.save(folder / "train_scores.npy", scores.astype(np.float32))
    return {"rounds": ranker.rounds, "features": len(names)}


def pair_features(inputs: GbdtInputs, rows: Rows) -> np.ndarray:
    """Features of each row's texts, and the row's own `f_*` columns after them."""
    return np.concatenate([inputs.transform(*rows.pairs()), rows.features], axis=1)


class Gbdt:
    """The trained GBDT of a run, scoring rows.

    Args:
        folder: Path of the stage.
        sentences: where the config has its sentence encoder now.
    """

    def __init__(self, folder: Path, sentences: str | None = None) -> None:
        self._inputs = GbdtInputs.load(folder, sentences)
        self._ranker = GbdtRanker.load(folder / "model")
        known = self._inputs.names
        if self._ranker.names[: len(known)] != list(known):
            raise UserError(
                f"{folder}: its features are not those of this version of kdmatch; train it again"
            )

    def score(self, rows: Rows) -> np.ndarray:
        """Scores, float32 `(n,)`; a user's feature that `rows` lack counts as missing."""
        wanted = self._ranker.names[len(self._inputs.names) :]
        given = {name: i for i, name in enumerate(rows.feature_names)}
        columns = [
            rows.features[:, given[name]] if name in given else np.full(len(rows), np.nan)
            for name in wanted
        ]
        with matmul_precision("bfloat16"):
            text = self._inputs.transform(*rows.pairs())
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
    """Write all teachers' scores of the training and the transfer rows.

    `train.parquet` and `transfer.parquet` get a column `score_NAME` of each;
    `standard.json` holds their scale on the training rows. The GBDT's training
    scores are out of fold; the matchers' are not.
    """
    pairs = root / "transfer" / "pairs.parquet"
    encode_file(pairs, root / "text", folder / "transfer")
    transfer = Rows.load(pairs)
    scores = {
        "train": {"gbdt": np.load(root / "gbdt" / "train_scores.npy")},
        "transfer": {"gbdt": Gbdt(root / "gbdt", config.gbdt.sentences).score(transfer)},
    }
    ids = {"train": root / "text" / "train", "transfer": folder / "transfer"}
    for name, model in matcher_teachers(config).items():
        for split, place in ids.items():
            scores[split][name] = matcher_logits(
                root / name,
                load_ids(place, encoder_kind(model.preset)),
                console,
                model.training.precision,
            )
    standards = {name: Standard.of(found).as_dict() for name, found in scores["train"].items()}
    write_json(folder / "standard.json", standards)
    for split, columns in scores.items():
        table = pa.table({f"score_{name}": column for name, column in columns.items()})
        pq.write_table(table, folder / f"{split}.parquet")
    return {"transfer_rows": len(transfer)}


def matcher_teachers(config: Config) -> dict[str, ModelConfig]:
    """The teachers that are matchers, by name: the BERT, then those beside it."""
    return {"teacher": config.teacher} | config.further_teachers


def load_scores(folder: Path, split: str) -> dict[str, np.ndarray]:
    """What students learn from, of `train` or `transfer`: `teacher` and `gbdt`, `(n,)` each."""
    table = pq.read_table(folder / f"{split}.parquet")
    names = [name.removeprefix("score_") for name in table.column_names]
    return student_targets(
        folder, {name: table.column(f"score_{name}").to_numpy() for name in names}
    )


def student_targets(folder: Path, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores that losses read, of the teachers' raw ones.

    Args:
        folder: Path of the scores stage.
        scores: teacher's name to its scores `(n,)`.

    Returns:
        `gbdt`, standardised; `teacher`, the mean of the standardised scores of
        all other teachers.
    """
    raw = read_json(folder / "standard.json")
    scaled = {name: Standard(**scale).apply(scores[name]) for name, scale in raw.items()}
    gbdt = scaled.pop("gbdt")
    return {"teacher": np.mean(list(scaled.values()), axis=0), "gbdt": gbdt}


def combine_targets(config: Config, targets: Mapping[str, np.ndarray]) -> np.ndarray:
    """One score `(n,)` of what `student_targets` gives, weighed as the losses weigh them."""
    alpha, gamma = config.distillation.alpha, config.distillation.gamma
    total = (alpha + gamma) or 1.0
    return (alpha * targets["teacher"] + gamma * targets["gbdt"]) / total
