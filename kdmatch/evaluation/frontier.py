"""Quality against the time of a page: which models no other makes needless."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kdmatch.errors import UserError
from kdmatch.evaluation import formatting
from kdmatch.evaluation.bench_rows import by_model_and_engine
from kdmatch.evaluation.evaluate import PRIMARY
from kdmatch.evaluation.run_record import RunRecord

# SavedModels, the ways to serve one model; other engines compute the same scores.
SERVED = ("savedmodel", "bfloat16")


@dataclass(frozen=True)
class Point:
    """A model as one SavedModel serves it.

    Attributes:
        model: its name in the run.
        engine: one of `SERVED`.
        auc: float. Of the model in float32.
        p50_ms: medians of a page, by documents.
        is_best: whether every model that is as fast or faster on the largest page ranks worse.
    """

    model: str
    engine: str
    auc: float
    p50_ms: Mapping[int, float]
    is_best: bool = False


def frontier(run: RunRecord) -> list[Point]:
    """The benched models of a run, the fastest on the largest page first.

    Raises:
        UserError: if the run was not benched, or no benched model has an AUC.
    """
    points = [
        Point(model, engine, run.primary(model), {size: row["p50_ms"] for size, row in of.items()})
        for (model, engine), of in by_model_and_engine(run.bench).items()
        if engine in SERVED and run.models.get(model, {}).get(PRIMARY)
    ]
    if not points:
        raise UserError(
            f"{run.path}: no bench of its models; make one with "
            f"`kdmatch bench {run.path} --data FILE --engines {','.join(SERVED)}`"
        )
    largest = max(max(point.p50_ms) for point in points)
    return list(_marked(sorted(points, key=lambda one: (one.p50_ms[largest], -one.auc))))


def frontier_markdown(run: RunRecord) -> str:
    """The same as a Markdown table; `*` marks the models that no other makes needless."""
    points = frontier(run)
    sizes = sorted(points[0].p50_ms)
    headings = ["model", "graph", "parameters", "AUC"]
    headings += [f"{formatting.documents(size)}, ms" for size in sizes] + ["best"]
    rule = ["---", "---", *["---:"] * (2 + len(sizes)), "---"]
    lines = [formatting.markdown_row(headings), formatting.markdown_row(rule)]
    for point in points:
        found: dict[str, Any] = run.models[point.model]
        times = [formatting.milliseconds(point.p50_ms[size]) for size in sizes]
        cells = [point.model, "float32" if point.engine == "savedmodel" else point.engine]
        cells += [formatting.count(found.get("parameters")), formatting.number(point.auc), *times]
        lines.append(formatting.markdown_row([*cells, "*" if point.is_best else ""]))
    return "\n".join(lines)


def _marked(points: list[Point]) -> Iterator[Point]:
    """Points from fast to slow, those marked that rank better than all before them."""
    best = float("-inf")
    for point in points:
        yield replace(point, is_best=point.auc > best)
        best = max(best, point.auc)
