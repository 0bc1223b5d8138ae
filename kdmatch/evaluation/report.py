"""One HTML file that shows what a run found, or several runs side by side."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from kdmatch.errors import UserError
from kdmatch.evaluation import figures, formatting
from kdmatch.evaluation.bootstrap import METRICS
from kdmatch.evaluation.evaluate import PRIMARY
from kdmatch.evaluation.run_record import (
    REFERENCES,
    RunRecord,
    control_of,
    in_order,
    read_run,
    when,
)
from kdmatch.evaluation.search_record import read_searches
from kdmatch.evaluation.search_view import search_view

METRIC_NAMES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "ndcg@10": "NDCG@10",
    "mrr": "MRR",
    "map": "MAP",
    "pair_accuracy": "Pair accuracy",
    "spearman_to_teacher": "Spearman to teacher",
}


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the report of one or several runs.

    The file needs nothing else: styles and figures are inside it, there is no
    script, and what a run lacks is said instead of shown.

    Args:
        runs: run directories, each with a `metrics.json`.
        out: the HTML file to write; its folder is made.

    Returns:
        `out`.

    Raises:
        UserError: if no run is given, or one has no readable `metrics.json`.
    """
    if not runs:
        raise UserError("a report needs at least one run directory")
    records = [read_run(Path(run)) for run in runs]
    page = environment().get_template("report.html.jinja")
    text = page.render(
        runs=[_view(record, f"run{index}") for index, record in enumerate(records, 1)],
        all_models=in_order({name for record in records for name in record.models}),
        metric_names=METRIC_NAMES,
    )
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(out)
    return out


def environment() -> jinja2.Environment:
    """Templates of this package; HTML ones escape what they are given."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("kdmatch.evaluation", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    for name in (
        "number",
        "signed",
        "interval",
        "signed_interval",
        "excludes_zero",
        "seeds",
        "count",
        "milliseconds",
        "duration",
    ):
        made.filters[name] = getattr(formatting, name)
    made.filters["when"] = when
    made.tests["control"] = lambda name: control_of(name) is not None
    return made


def summary(run: RunRecord) -> str:
    """One sentence: the best student, its distance to the teacher and its price.

    Made from the numbers of the run alone; what they do not say is left out.
    """
    student = run.best_student
    best = student or max(run.models, key=run.primary, default=None)
    if best is None or run.primary(best) == float("-inf"):
        return "No model of this run has an AUC."
    found = run.models[best][PRIMARY]
    role = "the best student" if student else "the best model"
    sentence = f"{best}, {role}, reaches AUC {formatting.number(found['value'])}"
    if known := formatting.interval(found):
        sentence += f" {known}"
    if student is None:
        return sentence + "."
    teachers = [name for name in REFERENCES if name in run.models]
    compared = [name for name in teachers if run.comparison(best, name)][:1]
    for other in (*compared, f"{best}_control"):
        if difference := run.comparison(best, other):
            words = " (the same model on labels alone)" if control_of(other) else ""
            sentence += f"; the difference to {other}{words} is "
            sentence += formatting.signed(difference["difference"])
            sentence += f" {formatting.signed_interval(difference)}".rstrip()
    timed = [name for name in (best, *teachers) if _median(run, name)]
    if len(timed) > 1 and timed[0] == best:
        ours, theirs = _median(run, best), _median(run, timed[1])
        ratio = max(ours, theirs) / min(ours, theirs)
        sentence += (
            f"; a call takes {formatting.milliseconds(ours)} ms against {timed[1]}'s "
            f"{formatting.milliseconds(theirs)} ms, "
            f"{ratio:.1f} times {'faster' if ours <= theirs else 'slower'}"
        )
    return sentence + "."


def _median(run: RunRecord, model: str) -> float:
    return (run.models[model].get("latency_ms") or {}).get("p50") or 0.0


def _view(run: RunRecord, key: str) -> dict[str, Any]:
    """What the template shows of one run."""
    threshold = run.metrics.get("positive_threshold")
    present = [
        metric for metric in METRICS if any(model.get(metric) for model in run.models.values())
    ]
    best = {metric: _best(run, metric) for metric in present}
    return {
        "key": key,
        "record": run,
        "summary": summary(run),
        "threshold": threshold,
        "metrics": present,
        "best": best,
        "has_seeds": any(model.get("seeds") for model in run.models.values()),
        "comparisons": _comparisons(run),
        "bench": _markup(figures.latency_by_documents(run.bench, f"{key}-bench")),
        "scatter": _markup(figures.quality_latency(run.models, f"{key}-scatter")),
        "curves": _curves(run, key),
        "histograms": [] if threshold is None else _histograms(run, threshold, key),
        "searches": [
            search_view(found, f"{key}-search{index}")
            for index, found in enumerate(read_searches(run.path))
        ],
        "importance": _markup(figures.importance_bars(run.importance, f"{key}-importance")),
    }


def _best(run: RunRecord, metric: str) -> float | None:
    """The value to print bold; none where the teacher wins by being the teacher."""
    if metric == "spearman_to_teacher":
        return None
    found = [(model.get(metric) or {}).get("value") for model in run.models.values()]
    return max((value for value in found if value is not None), default=None)


def _comparisons(run: RunRecord) -> dict[str, Any]:
    """Comparisons as a table: a row for each pair of models, a column for each metric."""
    found = run.metrics.get("comparisons") or []
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for comparison in found:
        rows.setdefault((comparison["a"], comparison["b"]), {})[comparison["metric"]] = comparison
    return {"metrics": list(dict.fromkeys(one["metric"] for one in found)), "rows": rows}


def _curves(run: RunRecord, key: str) -> list[tuple[str, Markup]]:
    """A figure for each trained model; folders `seed-…` of one model share it."""
    groups: dict[str, dict[str, Any]] = {}
    for folder, history in run.histories.items():
        parent, _, last = folder.rpartition("/")
        groups.setdefault(parent if last.startswith("seed-") else folder, {})[folder] = history
    drawn = []
    for index, (label, histories) in enumerate(groups.items()):
        svg = _markup(figures.training_curves(label, histories, f"{key}-curve{index}"))
        if svg is not None:
            drawn.append(
                (label + (f" · {len(histories)} seeds" if len(histories) > 1 else ""), svg)
            )
    return drawn


def _histograms(run: RunRecord, threshold: float, key: str) -> list[tuple[str, Markup]]:
    drawn = []
    for index, (model, score) in enumerate(run.scores.items()):
        made = figures.score_histogram(model, score, run.label, threshold, f"{key}-scores{index}")
        if (svg := _markup(made)) is not None:
            drawn.append((model, svg))
    return drawn


def _markup(svg: str | None) -> Markup | None:
    return None if svg is None else Markup(svg)  # matplotlib escapes the names in it
