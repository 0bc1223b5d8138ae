"""The GBDT teacher: LightGBM on text features and whatever `f_*` columns a user brings."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from scipy.optimize import nnls

from kdmatch.errors import UserError
from kdmatch.teachers.gbdt_params import DEFAULTS, checked_params
from kdmatch.teachers.labelled_rows import (
    MOST_LEVELS,
    LabelledRows,
    cut_groups,
    label_levels,
)
from kdmatch.teachers.scores import Standard

OBJECTIVES = ("regression", "lambdarank", "both")
_FORMAT = 1


class GbdtRanker:
    """Gradient-boosted trees that score how well a document answers a query.

    Args:
        objective: str. `"regression"` on the labels, `"lambdarank"` within each query, or
            `"both"`: a weighted mean of the two, each standardised on the training rows, with
            the weights (0 or more, summing to 1) that fit the validation labels best; equal
            ones where there is no validation.
        params: dict. LightGBM parameters over `DEFAULTS`, by any of their names, with
            `num_rounds` (the most trees) and `early_stopping_rounds`, and `hidden_share`: this
            part of the queries is trained on once more without its `f_*` columns, so that rows
            without clicks (transfer rows) get sensible scores.
        seed: int. Two fits with one seed and one thread count agree.

    Attributes:
        rounds: dict of objective to the number of trees in use.
        weights: dict of objective to its share in the score.
        has_learned: whether any tree splits, so that scores differ.
    """

    def __init__(
        self, objective: str = "both", params: dict[str, Any] | None = None, seed: int = 0
    ) -> None:
        if objective not in OBJECTIVES:
            raise UserError(f"GBDT objective {objective!r} is not one of {', '.join(OBJECTIVES)}")
        self.objective = objective
        self.params = checked_params(params or {})
        self.seed = seed
        self.names: list[str] = []
        self.rounds: dict[str, int] = {}
        self._boosters: dict[str, lightgbm.Booster] = {}
        self.weights: dict[str, float] = {}
        self._scale: dict[str, tuple[float, float]] = {}
        self._fixed_rounds: dict[str, int] = {}

    def fit(
        self,
        features: np.ndarray,
        label: np.ndarray,
        query: np.ndarray | Sequence[Any],
        valid: tuple[np.ndarray, np.ndarray, np.ndarray | Sequence[Any]] | None = None,
        names: Sequence[str] | None = None,
        weight: np.ndarray | None = None,
    ) -> "GbdtRanker":
        """Trains on the rows that have a label.

        Args:
            features: float array `(rows, columns)`, NaN where a value is missing.
            label: float array `(rows,)`, NaN where there is none.
            query: array `(rows,)`. Query id of each row, in any order.
            valid: the same three, for early stopping. Without it all `num_rounds` are used.
            names: column names, for importance.
            weight: float array `(rows,)`, or None. What each row counts.

        Raises:
            UserError: if no row has a label, all labels are equal, or lambdarank finds no query
                with two of them, here or in `valid`, by which it stops.
        """
        rows = LabelledRows.of(features, label, query, weight)
        held_out = LabelledRows.of(*valid) if valid is not None else None
        if not len(rows.label) or (held_out is not None and not len(held_out.label)):
            raise UserError("the GBDT has no labelled rows to train on or to stop early on")
        if rows.label.min() == rows.label.max():
            raise UserError(f"every training label is {rows.label[0]:g}; the GBDT needs two values")
        self.names = list(names or (f"column_{i}" for i in range(rows.features.shape[1])))
        if len(self.names) != rows.features.shape[1]:
            raise ValueError(f"{len(self.names)} names for {rows.features.shape[1]} columns")
        share = float(self.params.get("hidden_share", DEFAULTS["hidden_share"]))
        brought = [i for i, name in enumerate(self.names) if name.startswith("f_")]
        rows = rows.with_hidden(brought, share, self.seed)
        for objective in ("regression", "lambdarank"):
            if self.objective not in (objective, "both"):
                continue
            if objective == "lambdarank":
                lacking = [
                    where
                    for where, part in (("training", rows), ("validation", held_out))
                    if part is not None and not part.has_pairs()
                ]
                if lacking and self.objective == "both":
                    continue
                if lacking:
                    raise UserError(
                        "lambdarank needs a query with two different labels; no "
                        f"{lacking[0]} query has; set gbdt.objective: regression"
                    )
            booster = self._train(objective, rows, held_out)
            scale = Standard.of(np.asarray(booster.predict(rows.features)))
            self._boosters[objective] = booster
            self.rounds[objective] = booster.num_trees()
            self._scale[objective] = (scale.mean, scale.deviation)
        self.weights = self._weigh(held_out)
        return self

    @property
    def has_learned(self) -> bool:
        return any(one.feature_importance("split").any() for one in self._boosters.values())

    def _weigh(self, held_out: LabelledRows | None) -> dict[str, float]:
        share = np.ones(len(self._boosters))
        if held_out is not None and len(share) > 1:
            scores = np.stack(list(self._standardised(held_out.features).values()), 1)
            centred = held_out.label - held_out.label.mean()
            fitted, _ = nnls(scores - scores.mean(0), centred)
            share = fitted if fitted.sum() > 0 else share
        return dict(zip(self._boosters, (share / share.sum()).tolist(), strict=True))

    def _train(
        self, objective: str, rows: LabelledRows, held_out: LabelledRows | None
    ) -> lightgbm.Booster:
        params = {**DEFAULTS, **self.params}
        most, patience = params.pop("num_rounds"), params.pop("early_stopping_rounds")
        params.pop("hidden_share")
        most = self._fixed_rounds.get(objective, most)
        params.update(objective=objective, seed=self.seed, deterministic=True, verbosity=-1)
        params.setdefault("force_row_wise", True)
        ranking = objective == "lambdarank"
        everything = [rows] if held_out is None else [rows, held_out]
        labels = [part.label for part in everything]
        if ranking:
            levels = label_levels(np.concatenate(labels))
            labels = np.split(levels, [len(rows.label)])[: len(everything)]
            params.update(metric="ndcg", eval_at=[10], label_gain=list(range(MOST_LEVELS + 1)))
        data = [
            lightgbm.Dataset(
                part.features,
                label,
                weight=part.weight,
                group=cut_groups(part.group) if ranking else None,
            )
            for part, label in zip(everything, labels, strict=True)
        ]
        more: dict[str, Any] = {}
        if held_out is not None:
            data[1].set_reference(data[0])
            stop = lightgbm.early_stopping(patience, verbose=False)
            more = {"valid_sets": [data[1]], "callbacks": [stop]}
        try:
            booster = lightgbm.train(params, data[0], most, **more)
        except (lightgbm.basic.LightGBMError, TypeError, ValueError) as error:
            raise UserError(f"gbdt.params: LightGBM cannot train with them: {error}") from error
        if held_out is None:
            return booster
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        return lightgbm.Booster(model_str=text)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Scores, float64 `(rows,)`; higher is more relevant. Standardised on training rows.

        Raises:
            UserError: if it is not trained.
        """
        if not self._boosters:
            raise UserError("the GBDT is not trained yet; call fit first")
        if not len(features):
            return np.zeros(0)
        scores = self._standardised(features)
        return np.sum([self.weights[o] * score for o, score in scores.items()], axis=0)

    def _standardised(self, features: np.ndarray) -> dict[str, np.ndarray]:
        return {
            o: (np.asarray(booster.predict(features)) - self._scale[o][0]) / self._scale[o][1]
            for o, booster in self._boosters.items()
        }

    def out_of_fold(
        self,
        features: np.ndarray | Callable[[int], np.ndarray],
        label: np.ndarray,
        query: np.ndarray | Sequence[Any],
        fold: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> np.ndarray:
        """Scores of training rows by models that never saw their query.

        Rows without a label are scored too. The models use as many trees as `fit` found best; on
        a ranker that is not fitted, each stops early on one of its own training folds.

        Args:
            features, label, query, weight: as in `fit`. Features that are made of labels are a
                callable of the fold whose labels they must not know, for all rows.
            fold: int `(rows,)`. Each row's fold, counted from 0; see `query_folds`. Each model is
                trained on the others.

        Raises:
            UserError: if a fold cannot be trained on.

        Returns: float64 array `(rows,)`, each fold standardised as `predict` does.
        """
        label, query, folds = np.asarray(label), np.asarray(query), int(fold.max()) + 1
        scores = np.empty(len(label))
        for k in range(folds):
            known = features(k) if callable(features) else np.asarray(features)
            rest, valid = fold != k, None
            if not self.rounds and folds > 2:
                inner = fold == (k + 1) % folds
                rest = rest & ~inner
                valid = (known[inner], label[inner], query[inner])
            model = GbdtRanker(self.objective, self.params, self.seed)
            model._fixed_rounds = dict(self.rounds)
            part = None if weight is None else weight[rest]
            model.fit(known[rest], label[rest], query[rest], valid, self.names or None, part)
            if self.weights.keys() == model.weights.keys():
                model.weights = self.weights
            scores[fold == k] = model.predict(known[fold == k])
        return scores

    def importance(self) -> dict[str, float]:
        """Share of each column in the gain of all splits, highest first, summing to 1."""
        total = np.zeros(len(self.names))
        for objective, booster in self._boosters.items():
            gain = booster.feature_importance("gain")
            total += self.weights[objective] * gain / max(gain.sum(), 1e-12)
        share = total / max(total.sum(), 1e-12)
        order = np.argsort(-share, kind="stable")
        return {self.names[i]: float(share[i]) for i in order}

    def save(self, folder: Path) -> None:
        """Writes `gbdt.json` and one LightGBM text model for each objective."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for objective, booster in self._boosters.items():
            booster.save_model(folder / f"{objective}.txt")
        header = {
            "format": _FORMAT,
            "objective": self.objective,
            "params": self.params,
            "seed": self.seed,
            "names": self.names,
            "rounds": self.rounds,
            "weights": self.weights,
            "scale": self._scale,
        }
        (folder / "gbdt.json").write_text(json.dumps(header, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "GbdtRanker":
        """Reads what `save` wrote.

        Raises:
            UserError: if there is nothing, or another version wrote it.
        """
        path = Path(folder) / "gbdt.json"
        if not path.is_file():
            raise UserError(f"{folder}: no gbdt.json here, so no saved GBDT")
        header = json.loads(path.read_text(encoding="utf-8"))
        if header.get("format") != _FORMAT:
            raise UserError(f"{path}: written by another version of kdmatch; train the GBDT again")
        self = cls(header["objective"], header["params"], header["seed"])
        self.names, self.rounds = header["names"], header["rounds"]
        self.weights = header["weights"]
        self._scale = {o: (mean, std) for o, (mean, std) in header["scale"].items()}
        for objective in self.rounds:
            model = Path(folder) / f"{objective}.txt"
            self._boosters[objective] = lightgbm.Booster(model_file=str(model))
        return self
