"""Metrics of several models under the same resampled queries.

The bootstrap draws queries, not rows: rows of one query are not independent.
Every model sees the same resamples, so the interval of a difference is that of
the difference, not of two unrelated numbers.

Reference:
    Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from kdmatch.data.schema import is_positive
from kdmatch.errors import UserError
from kdmatch.evaluation.metrics import gains
from kdmatch.evaluation.per_query import QueryValues, Ranking
from kdmatch.evaluation.ranks import Floats, MidRanks, auc_of_ranks, spearman_of_ranks

METRICS = ("auc", "gauc", "ndcg@10", "mrr", "map", "pair_accuracy", "spearman_to_teacher")

_PER_QUERY = ("gauc", "ndcg@10", "mrr", "map", "pair_accuracy")
_CELLS_IN_MEMORY = 500_000  # rows × resamples of one chunk: 4 MB a matrix, which caches hold


def bootstrap(
    label: ArrayLike,
    query: ArrayLike,
    scores: Mapping[str, ArrayLike],
    positive_threshold: float,
    metrics: Sequence[str],
    teacher: str | None,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Floats]]:
    """Each metric of each model on the rows as they are and on resampled queries.

    The arguments are those of `evaluate_scores`, with `metrics` names from `METRICS`.

    Returns:
        `{model: {metric: float array (seeds, 1 + resamples)}}`: entry 0 of a seed is the value
        on the rows as they are; NaN where a metric is undefined, and in all resamples of a single
        query, which tell nothing of others. One seed for scores `(rows,)`.

    Raises:
        UserError: if no row is labelled, only one class is there, or a score is missing.
    """
    if unknown := sorted(set(metrics) - set(METRICS)):
        raise ValueError(f"no metric named {unknown[0]!r}; there are {', '.join(METRICS)}")
    if "spearman_to_teacher" in metrics and teacher is None:
        raise ValueError("spearman_to_teacher needs the name of a teacher")
    if teacher is not None and teacher not in scores:
        raise ValueError(f"no scores of the teacher {teacher!r}; there are {', '.join(scores)}")
    labels = np.asarray(label, float)
    if np.shape(query) != labels.shape:
        raise ValueError(f"query has shape {np.shape(query)}, the labels are {labels.shape}")
    kept = ~np.isnan(labels)
    kept_scores = _kept_scores(scores, kept)
    labels = labels[kept]
    positive = _positives(labels, positive_threshold)
    ids, code = np.unique(np.asarray(query)[kept], return_inverse=True)
    values = {}
    for one, score in kept_scores.items():
        ranking = Ranking(score, code, len(ids))
        values[one] = {
            metric: _of_queries(metric, ranking, labels, positive)
            for metric in metrics
            if metric in _PER_QUERY
        }
    mid_ranks = {one: MidRanks(score) for one, score in kept_scores.items()}
    found: dict[tuple[str, int], dict[str, list[Floats]]] = {
        one: {metric: [] for metric in metrics} for one in kept_scores
    }
    for multiplicity in _multiplicities(len(ids), resamples, seed, len(labels)):
        weight = multiplicity[code]
        teacher_rank = None
        if "spearman_to_teacher" in metrics and teacher is not None:
            teacher_rank = mid_ranks[teacher, 0](weight)
        for one, columns in found.items():
            for metric, of_queries in values[one].items():
                columns[metric].append(of_queries.mean(multiplicity))
            rank = mid_ranks[one](weight)
            if "auc" in metrics:
                columns["auc"].append(auc_of_ranks(positive, rank, weight))
            if teacher_rank is not None:
                columns["spearman_to_teacher"].append(spearman_of_ranks(rank, teacher_rank, weight))
    drawn = {
        model: {
            metric: np.stack(
                [np.concatenate(found[one][metric]) for one in found if one[0] == model]
            )
            for metric in metrics
        }
        for model in scores
    }
    if len(ids) == 1:
        for values_of in drawn.values():
            for of_metric in values_of.values():
                of_metric[:, 1:] = np.nan
    return drawn


def _of_queries(metric: str, ranking: Ranking, label: Floats, positive: np.ndarray) -> QueryValues:
    match metric:
        case "gauc":
            return ranking.auc(positive)
        case "ndcg@10":
            return ranking.ndcg(gains(label), 10)
        case "mrr":
            return ranking.reciprocal_rank(positive)
        case "map":
            return ranking.average_precision(positive)
    return ranking.pair_accuracy(label)


def _kept_scores(
    scores: Mapping[str, ArrayLike], kept: np.ndarray
) -> dict[tuple[str, int], Floats]:
    """Scores of the rows kept, by model and seed."""
    found = {}
    for model, given in scores.items():
        seeds = np.asarray(given, float)
        if seeds.shape[-1:] != kept.shape or seeds.ndim > 2 or not seeds.size:
            raise ValueError(f"{model!r} has scores {seeds.shape}, the labels are {kept.shape}")
        for k, score in enumerate(np.atleast_2d(seeds)[:, kept]):
            if bad := int((~np.isfinite(score)).sum()):
                raise UserError(
                    f"model {model!r} has no finite score for {bad} of {len(score)} labelled "
                    "rows; score the table again, or drop those rows"
                )
            found[model, k] = score
    return found


def _positives(label: Floats, threshold: float) -> np.ndarray:
    if not len(label):
        raise UserError("no row to evaluate has a label")
    positive = is_positive(label, threshold)
    if positive.all() or not positive.any():
        raise UserError(
            f"only {'positive' if positive.all() else 'negative'} rows at "
            f"positive_threshold {threshold:g}: labels go from {label.min():g} to "
            f"{label.max():g}; set data.positive_threshold above the lowest label and at most "
            "the highest"
        )
    return positive


def _multiplicities(queries: int, resamples: int, seed: int, rows: int) -> Iterator[Floats]:
    """How often each query is drawn, `(queries, chunk)`; the first column is all ones."""
    chunk = max(1, _CELLS_IN_MEMORY // rows)
    for start in range(0, resamples + 1, chunk):
        columns = []
        for resample in range(start, min(start + chunk, resamples + 1)):
            if resample == 0:
                columns.append(np.ones(queries))
                continue
            drawn = np.random.default_rng([seed, resample]).integers(queries, size=queries)
            columns.append(np.bincount(drawn, minlength=queries).astype(float))
        yield np.ascontiguousarray(np.stack(columns, axis=1))
