"""The figures of a report, as SVG to put inside a page.

Each function returns an `<svg>` element, or None where there is nothing to
draw. They are drawn on white whatever the page's colours: put them on a card.
"""

import html
import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import matplotlib.lines
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdmatch.data.schema import is_positive
from kdmatch.evaluation.bench_rows import by_model_and_engine
from kdmatch.evaluation.evaluate import PRIMARY
from kdmatch.evaluation.ranks import Floats
from kdmatch.evaluation.run_record import STUDENTS, TEACHERS, control_of, kin_of

# Okabe and Ito's colours, which stay apart for colour-blind readers.
_COLOURS = {
    **dict(zip(TEACHERS, ("#b87a00", "#555555", "#0072b2", "#3a9bd0"), strict=True)),
    **dict(zip(STUDENTS, ("#d55e00", "#009e73", "#b5568f"), strict=True)),
}
_NEGATIVE, _POSITIVE = "#8a93a0", "#d55e00"
_LOSSES = {
    "loss": ("#222222", "-"),
    "soft_loss": ("#0072b2", "-"),
    "hard_loss": ("#d55e00", "-"),
    "relevance_loss": ("#009e73", "-"),
}
# As many as `kdmatch bench` has engines.
_ENGINE_COLOURS = (
    "#0072b2",
    "#56b4e9",
    "#d55e00",
    "#009e73",
    "#b5568f",
    "#b87a00",
    "#4b5563",
    "#7a4a2b",
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "text.parse_math": False,  # a model may be named with a dollar sign
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a93a0",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
}


def quality_latency(models: Mapping[str, Mapping[str, Any]], key: str) -> str | None:
    """AUC with its interval against the median latency, one point a model."""
    points = {
        name: (model["latency_ms"]["p50"], model[PRIMARY])
        for name, model in models.items()
        if (model.get("latency_ms") or {}).get("p50")
        and (model.get(PRIMARY) or {}).get("value") is not None
    }
    if not points:
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.subplots()
        for name, (latency, auc) in points.items():
            low, high = auc.get("low"), auc.get("high")
            if low is not None and high is not None:
                axes.vlines(latency, low, high, color=_colour(name), alpha=0.45)
            face = "white" if control_of(name) else _colour(name)
            axes.plot(latency, auc["value"], "o", ms=7, color=_colour(name), mfc=face)
        axes.set_xscale("log")
        latencies = [latency for latency, _ in points.values()]
        axes.set_xlim(min(latencies) / 2.5, max(latencies) * 2.5)
        _plain_log_ticks(axes.xaxis)
        axes.set(xlabel="median latency of a call, ms (log scale)", ylabel="AUC")
        _name_points(figure, axes, points)
        return _svg(figure, key, "AUC against median latency of " + ", ".join(points))


def _plain_log_ticks(axis: Any) -> None:
    """Ticks at 1, 2 and 5 of each decade as plain numbers; mathtext is off in these figures."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(mpl.ticker.NullLocator())


def latency_by_documents(bench: Mapping[str, Any], key: str) -> str | None:
    """Median latency of a page by its documents: a panel a model, a line an engine."""
    lines: dict[str, dict[str, list[tuple[int, float, float]]]] = {}
    for (model, engine), found in by_model_and_engine(bench).items():
        points = [(size, row["p50_ms"], row["p99_ms"]) for size, row in sorted(found.items())]
        lines.setdefault(model, {})[engine] = points
    if not lines:
        return None
    engines = list(dict.fromkeys(engine for of_model in lines.values() for engine in of_model))
    with mpl.rc_context(_STYLE):
        columns = min(2, len(lines))
        rows = -(-len(lines) // columns)
        figure = Figure(figsize=(3.4 * columns + 0.6, 2.5 * rows + 0.8), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (model, of_model) in zip(grid.flat, lines.items(), strict=False):
            for engine, points in of_model.items():
                documents, p50, p99 = (np.array(one) for one in zip(*points, strict=True))
                colour = _ENGINE_COLOURS[engines.index(engine) % len(_ENGINE_COLOURS)]
                axes.plot(documents, p50, "o-", ms=3.5, color=colour, label=engine)
                axes.fill_between(documents, p50, p99, color=colour, alpha=0.1, lw=0)
            axes.set(xscale="log", yscale="log", title=model)
            axes.set_xticks(sorted({size for one in of_model.values() for size, _, _ in one}))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
            _plain_log_ticks(axes.yaxis)
        for axes in list(grid.flat)[len(lines) :]:
            axes.set_visible(False)
            grid[-2, -1].tick_params(labelbottom=True)  # nothing below it has them
        figure.supxlabel("documents of a page", fontsize=9.5)
        figure.supylabel("ms", fontsize=9.5)
        handles = [
            mpl.lines.Line2D([], [], color=_ENGINE_COLOURS[i % len(_ENGINE_COLOURS)], marker="o")
            for i in range(len(engines))
        ]
        # Two to a panel: in one line the figure's edges cut them off.
        figure.legend(handles, engines, loc="outside upper center", ncols=2 * columns)
        return _svg(figure, key, "Latency by documents of a page of " + ", ".join(lines))


def training_curves(
    label: str, histories: Mapping[str, Mapping[str, Floats]], key: str
) -> str | None:
    """Losses and validation metric over the steps; the seeds of a model share one figure."""
    losses = [name for name in _LOSSES if any(name in found for found in histories.values())]
    columns = [name for found in histories.values() for name in found if name.startswith("valid_")]
    valid = next(iter(columns), None)
    if not losses and valid is None:
        return None
    measured = _metric(valid) if valid is not None else ""
    with mpl.rc_context(_STYLE):
        rows = bool(losses) + (valid is not None)
        figure = Figure(figsize=(4.6, 1.6 + 1.5 * rows), layout="constrained")
        panels = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
        if losses:
            axes = panels[0]
            for name in losses:
                colour, _ = _LOSSES[name]
                for found in histories.values():
                    if name in found:
                        width = 1.6 if name == "loss" else 1.1
                        axes.plot(*_thinned(found, name), color=colour, lw=width, alpha=0.75)
                axes.plot([], [], color=colour, label=name.removesuffix("_loss"))
            if (axes.dataLim.y0 > 0) and axes.dataLim.y1 > 30 * axes.dataLim.y0:
                axes.set_yscale("log")
                _plain_log_ticks(axes.yaxis)
            axes.set_ylabel("loss")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, columnspacing=1.2)
        if valid is not None:
            axes = panels[-1]
            for found in histories.values():
                if valid in found:
                    steps, values = _thinned(found, valid)
                    marker = "o" if len(steps) < 40 else ""
                    axes.plot(steps, values, marker=marker, ms=3, color="#6a3d9a", alpha=0.75)
            axes.set_ylabel(f"validation {measured}")
        panels[-1].set_xlabel("step")
        figure.align_ylabels(panels)
        said = " and ".join(["losses"] * bool(losses) + [f"validation {measured}"] * bool(valid))
        return _svg(figure, key, f"{said[0].upper()}{said[1:]} of {label} over the steps")


def _metric(column: str) -> str:
    """What a history's column of the validation is called on an axis."""
    name = column.removeprefix("valid_")
    return "AUC" if name == "auc" else name


def score_histogram(
    model: str, score: Floats, label: Floats, threshold: float, key: str
) -> str | None:
    """Distribution of a model's scores for positive and for negative rows."""
    kept = np.isfinite(score) & ~np.isnan(label)
    score, positive = score[kept], is_positive(label[kept], threshold)
    if not len(score):
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.8, 2.4), layout="constrained")
        axes = figure.subplots()
        edges = np.histogram_bin_edges(score, bins=30)
        for rows, name, colour in (
            (~positive, f"below {threshold:g}", _NEGATIVE),
            (positive, f"{threshold:g} and above", _POSITIVE),
        ):
            heights = np.histogram(score[rows], edges)[0] / max(1, rows.sum())
            axes.stairs(heights, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(heights, edges, color=colour, lw=1.4, label=name)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.set(xlabel="score", ylabel="rows of the class")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, columnspacing=1.2)
        return _svg(figure, key, f"Scores of {model} for positive and negative rows")


def importance_bars(importance: Mapping[str, float], key: str, top: int = 20) -> str | None:
    """Gain of the most important GBDT features, as a share of the whole gain."""
    total = sum(importance.values())
    if total <= 0:
        return None
    largest = sorted(importance.items(), key=lambda item: -item[1])[:top][::-1]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 0.8 + 0.24 * len(largest)), layout="constrained")
        axes = figure.subplots()
        shares = [gain / total for _, gain in largest]
        axes.barh(range(len(largest)), shares, color=_COLOURS["teacher"], height=0.7)
        axes.set_yticks(range(len(largest)), [name for name, _ in largest])
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.grid(axis="y", visible=False)
        axes.set_ylim(-0.6, len(largest) - 0.4)
        axes.set_xlabel("share of the gain")
        return _svg(figure, key, "Most important features of the GBDT")


def _colour(model: str) -> str:
    return _COLOURS.get(kin_of(model) or "", "#4b5563")


def _thinned(history: Mapping[str, Floats], name: str, points: int = 200) -> tuple[Floats, Floats]:
    """Means over equal stretches of steps: a figure cannot show more points than this."""
    values = history[name]
    steps = history.get("step", np.arange(1.0, len(values) + 1))
    kept = np.isfinite(values) & np.isfinite(steps)
    stretches = max(1, min(points, int(kept.sum())))
    return (
        np.array([part.mean() for part in np.array_split(steps[kept], stretches)]),
        np.array([part.mean() for part in np.array_split(values[kept], stretches)]),
    )


def _name_points(
    figure: Figure, axes: Axes, points: Mapping[str, tuple[float, Mapping[str, Any]]]
) -> None:
    """Write each name beside its point, at the first place where nothing stands yet."""
    figure.draw_without_rendering()
    taken = []
    for x, auc in points.values():
        for low, high in ((auc["value"], auc["value"]), (auc.get("low"), auc.get("high"))):
            if low is not None and high is not None:
                corners = axes.transData.transform([(x, low), (x, high)])
                taken.append(mpl.transforms.Bbox([corners[0] - 3, corners[1] + 3]))
    rises = (0, 11, -11, 22, -22, 33, -33, 44, -44)
    places = [(right, rise) for rise in rises for right in (9, -9)]
    for name, (x, auc) in points.items():
        for right, rise in places:
            text = axes.annotate(
                name,
                (x, auc["value"]),
                (right, rise),
                textcoords="offset points",
                ha="left" if right > 0 else "right",
                va="center",
                color=_colour(name),
                fontsize=9,
            )
            box = text.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if (inside and not box.count_overlaps(taken)) or (right, rise) == places[-1]:
                taken.append(box)
                break
            text.remove()


def _svg(figure: Figure, key: str, description: str) -> str:
    """The element alone, its ids prefixed so that several figures fit into one page."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": key}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sid="([^"]+)"', rf' id="{key}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", svg)
    described = f'<svg role="img" aria-label="{html.escape(description)}"'
    return svg.replace("<svg", described, 1)
