"""The figures of a search, as SVG to put inside a page; see `figures`."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdmatch.evaluation.figures import _STYLE, _svg
from kdmatch.evaluation.ranks import Floats
from kdmatch.evaluation.search_record import SearchRecord, share_of_range

_LINE, _BEST, _COLOURS = "#0072b2", "#d55e00", "viridis"


def best_so_far(search: SearchRecord, key: str) -> str | None:
    """Each trial's value, and the best up to it."""
    ended = search.ended
    if not ended:
        return None
    values = np.array([trial[search.objective] for trial in ended])
    numbers = np.array([search.trials.index(trial) + 1 for trial in ended])
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.plot(numbers, values, "o", ms=4, color="#8a93a0", label="trial")
        if search.own is not None:
            i = ended.index(search.own)
            label = "the config's own values"
            axes.plot(numbers[i], values[i], "s", ms=6, color=_BEST, label=label)
        best = np.maximum.accumulate(values)
        axes.step(numbers, best, where="post", color=_LINE, label="best so far")
        low = np.quantile(values, 0.1)  # a collapsed trial must not flatten all others
        axes.set_ylim(low - 0.15 * (values.max() - low) - 1e-4, None)
        axes.set(xlabel="trial", ylabel=f"validation {search.objective}")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, columnspacing=1.2)
        return _svg(figure, key, f"Best {search.objective} so far over the trials")


def parallel_coordinates(search: SearchRecord, key: str) -> str | None:
    """A line for each trial through its values, coloured by the rank of its objective."""
    names, ended = list(search.parameters), search.ended
    if len(ended) < 2:
        return None
    heights = np.array([positions(search, name, ended) for name in names]).T
    values = np.array([trial[search.objective] for trial in ended])
    rank = np.argsort(np.argsort(values)) / (len(values) - 1)
    with mpl.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(max(6.4, 1.05 * len(names)), 3.8), layout="constrained")
        axes = figure.subplots()
        colours = mpl.colormaps[_COLOURS]
        for i in np.argsort(values):
            best = i == values.argmax()
            colour, width = (_BEST, 2.2) if best else (colours(rank[i]), 0.9)
            axes.plot(heights[i], color=colour, lw=width, alpha=1 if best else 0.55, marker=".")
        for column, name in enumerate(names):
            axes.axvline(column, color="#8a93a0", lw=0.8, zorder=0)
            for place, text in _ticks(search, name):
                axes.annotate(text, (column, place), (3, 0), textcoords="offset points", fontsize=7)
        axes.set_xticks(
            range(len(names)), [_short(name) for name in names], rotation=25, ha="right"
        )
        axes.set_yticks([])
        axes.set_ylim(-0.05, 1.08)
        axes.spines["left"].set_visible(False)
        mapped = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), colours)
        bar = figure.colorbar(mapped, ax=axes, ticks=[0, 1], shrink=0.7)
        bar.ax.set_yticklabels(["worst", "best"])
        return _svg(figure, key, "Parallel coordinates of the trials")


def effects(search: SearchRecord, key: str) -> str | None:
    """The objective against each parameter, one panel each."""
    names, ended = list(search.parameters), search.ended
    if len(ended) < 2:
        return None
    rows = -(-len(names) // 4)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 0.4 + 2.2 * rows), layout="constrained")
        panels = figure.subplots(rows, 4, sharey=True, squeeze=False)
        for axes, name in zip(panels.flat, names, strict=False):
            _effect(axes, search, name, ended)
        for axes in panels.flat[len(names) :]:
            axes.set_visible(False)
        values = np.array([trial[search.objective] for trial in ended])
        low = np.quantile(values, 0.1)
        panels[0, 0].set_ylim(low - 0.15 * (values.max() - low) - 1e-4, None)
        figure.supylabel(f"validation {search.objective}", fontsize=9.5)
        return _svg(figure, key, "The objective against each parameter")


def positions(search: SearchRecord, name: str, trials: Sequence[dict[str, Any]]) -> Floats:
    """Where a parameter's values lie between the ends of its range, NaN where it did not count."""
    parameter = search.parameters[name]
    if parameter["choices"] is not None:
        labels = [str(label) for label in parameter["choices"]]
        top = max(1, len(labels) - 1)
        return np.array(
            [np.nan if t[name] is None else labels.index(t[name]) / top for t in trials]
        )
    values = np.array([np.nan if t[name] is None else t[name] for t in trials], float)
    return np.asarray(share_of_range(parameter, values))


def _effect(axes: Axes, search: SearchRecord, name: str, ended: list[dict[str, Any]]) -> None:
    parameter = search.parameters[name]
    shown = [trial for trial in ended if trial[name] is not None]
    # Of no trial at all they would have no type to go by.
    objective = np.array([trial[search.objective] for trial in shown], float)
    full = np.array([trial["status"] != "stopped" for trial in shown], bool)
    if parameter["choices"] is not None:
        labels = [str(label) for label in parameter["choices"]]
        places = np.array([labels.index(trial[name]) for trial in shown], int)
        for place in set(places[full]):
            middle = np.median(objective[full & (places == place)])
            axes.plot(place, middle, "_", ms=18, mew=2, color=_BEST)
        axes.set_xticks(range(len(labels)), labels, rotation=20, ha="right", fontsize=7)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    else:
        places = np.array([trial[name] for trial in shown], float)
        axes.axvline(parameter["start"], color=_BEST, lw=0.9, ls="--")
        if parameter["sampling"] == "log":
            axes.set_xscale("log")
            ends = [parameter["low"], parameter["high"]]
            axes.set_xticks(ends, [f"{end:g}" for end in ends])
            axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        margin = (1.3, 1 / 1.3) if parameter["sampling"] == "log" else (1, 1)
        axes.set_xlim(parameter["low"] / margin[0], parameter["high"] / margin[1])
        axes.tick_params(axis="x", labelsize=7)
    for of, face in ((full, _LINE), (~full, "none")):
        axes.plot(places[of], objective[of], "o", ms=3, color=_LINE, mfc=face, mew=0.7, alpha=0.6)
    axes.set_title(_short(name), fontsize=9)


def _ticks(search: SearchRecord, name: str) -> list[tuple[float, str]]:
    parameter = search.parameters[name]
    if parameter["choices"] is not None:
        top = max(1, len(parameter["choices"]) - 1)
        return [(i / top, str(label)) for i, label in enumerate(parameter["choices"])]
    return [(0.0, f"{parameter['low']:g}"), (1.0, f"{parameter['high']:g}")]


def _short(name: str) -> str:
    return name.rpartition(".")[2]
