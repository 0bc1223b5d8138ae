"""Metrics of several models on the same rows, with paired bootstrap intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kdmatch.evaluation.bootstrap import METRICS, bootstrap
from kdmatch.evaluation.ranks import Floats

PRIMARY = "auc"


def evaluate_scores(
    label: ArrayLike,
    query: ArrayLike,
    scores: Mapping[str, ArrayLike],
    *,
    positive_threshold: float,
    teacher: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every metric of every model, with its 95 % interval over queries.

    The number of a model that was trained from several seeds is the mean of the seeds', and the
    interval is that of this mean: it tells how far other queries would move it, and nothing of how
    far other seeds would, which the seeds' own numbers show.

    Args:
        label: float array `(rows,)`. NaN where unlabelled: such rows are left out.
        query: array `(rows,)`. Query ids.
        scores: model name to float array `(rows,)`, or `(seeds, rows)`.
        positive_threshold: float. Rows with `label >=` this are positives.
        teacher: str or None. The model in `scores` that
            `spearman_to_teacher` compares with; None leaves that metric out.
        resamples: int. Bootstrap resamples.
        seed: int. Seed of the resamples; the same seed draws the same queries.

    Returns:
        `{model: {metric: {"value", "low", "high"}}}`; None stands for a
        metric that these rows do not define, and for the interval of a single query. A model of
        several seeds has, as `"seeds"`, `{metric: value of each}` too.

    Raises:
        UserError: if no row is labelled, only one class is there, or a score is missing.
        ValueError: if lengths differ, or a model that is named has no scores.

    >>> found = evaluate_scores([1, 0, 1, 0], ["a", "a", "b", "b"], {"m": [4, 3, 2, 1]},
    ...                         positive_threshold=1, resamples=100)
    >>> found["m"]["auc"]["value"], found["m"]["gauc"]
    (0.75, {'value': 1.0, 'low': 1.0, 'high': 1.0})
    """
    table, _ = evaluate_and_compare(
        label,
        query,
        scores,
        (),
        positive_threshold=positive_threshold,
        teacher=teacher,
        resamples=resamples,
        seed=seed,
    )
    return table


def evaluate_and_compare(
    label: ArrayLike,
    query: ArrayLike,
    scores: Mapping[str, ArrayLike],
    pairs: Sequence[tuple[str, str]],
    compared: Sequence[str] = ("auc",),
    *,
    metrics: Sequence[str] | None = None,
    positive_threshold: float,
    teacher: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, dict[str, dict[str, Any]]], list[dict[str, str | float | None]]]:
    """What `evaluate_scores` and `compare_scores` return, from the same resamples.

    Args:
        pairs: pairs `(a, b)` of names in `scores`; the difference is a − b.
        compared: names of the metrics whose differences are wanted, among `metrics`.
        metrics: names from `METRICS`; None for all that there are with, or without, a teacher.

    The other arguments are those of `evaluate_scores`.
    """
    _check_names(scores, pairs)
    if metrics is None:
        metrics = METRICS if teacher is not None else METRICS[:-1]
    draws = bootstrap(label, query, scores, positive_threshold, metrics, teacher, resamples, seed)
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for model, found in draws.items():
        table[model] = {
            metric: dict(zip(("value", "low", "high"), _with_interval(values), strict=True))
            for metric, values in found.items()
        }
        if np.ndim(scores[model]) == 2:
            table[model]["seeds"] = {
                metric: [None if np.isnan(value) else float(value) for value in values[:, 0]]
                for metric, values in found.items()
            }
    return table, _differences(draws, pairs, compared)


def compare_scores(
    label: ArrayLike,
    query: ArrayLike,
    scores: Mapping[str, ArrayLike],
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[str] = ("auc", "gauc", "ndcg@10"),
    *,
    positive_threshold: float,
    teacher: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, str | float | None]]:
    """Differences between models on the same queries, with 95 % intervals.

    Between models of several seeds they are differences of the means over the seeds.

    Args:
        pairs: pairs `(a, b)` of names in `scores`; the difference is a − b.
        metrics: names from `METRICS`.

    The other arguments are those of `evaluate_scores`.

    Returns:
        One `{"a", "b", "metric", "difference", "low", "high"}` for each pair and metric.
    """
    _check_names(scores, pairs)
    needed = {name: scores[name] for pair in pairs for name in pair}
    if teacher is not None:
        needed[teacher] = scores[teacher]
    draws = bootstrap(label, query, needed, positive_threshold, metrics, teacher, resamples, seed)
    return _differences(draws, pairs, metrics)


def _check_names(scores: Mapping[str, ArrayLike], pairs: Sequence[tuple[str, str]]) -> None:
    for name in (name for pair in pairs for name in pair):
        if name not in scores:
            raise ValueError(f"no scores of {name!r} to compare; there are {', '.join(scores)}")


def _differences(
    draws: Mapping[str, Mapping[str, Floats]],
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[str],
) -> list[dict[str, str | float | None]]:
    compared: list[dict[str, str | float | None]] = []
    for a, b in pairs:
        for metric in metrics:
            of_a, of_b = (draws[one][metric].mean(axis=0) for one in (a, b))
            difference, low, high = _with_interval((of_a - of_b)[None])
            compared.append(
                {
                    "a": a,
                    "b": b,
                    "metric": metric,
                    "difference": difference,
                    "low": low,
                    "high": high,
                }
            )
    return compared


def _with_interval(seeds: Floats) -> tuple[float | None, float | None, float | None]:
    values = seeds.mean(axis=0)
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]):
        return None, None, None
    if not len(defined):
        return float(values[0]), None, None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(values[0]), float(low), float(high)
