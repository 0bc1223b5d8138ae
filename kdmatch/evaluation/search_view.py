"""A search as the report's template shows it, and the page of a run's searches alone."""

from typing import Any

from markupsafe import Markup

from kdmatch.evaluation import search_figures
from kdmatch.evaluation.search_record import SearchRecord, at_ends


def search_view(search: SearchRecord, key: str) -> dict[str, Any]:
    """What the template shows of one search."""
    figures = {
        name: getattr(search_figures, name)(search, f"{key}-{name}")
        for name in ("best_so_far", "parallel_coordinates", "effects")
    }
    ended = sorted(search.ended, key=lambda trial: -trial[search.objective])
    others = [trial for trial in search.trials if trial[search.objective] is None]
    return {
        "record": search,
        "trials": ended + others,
        "own_is_shorter": _is_shorter(search.own, search.best),
        "at_ends": at_ends(search.parameters, search.best or {}),
        "failed": sum(trial["status"] == "failed" for trial in search.trials),
        "stopped": sum(trial["status"] == "stopped" for trial in search.trials),
        **{name: None if svg is None else Markup(svg) for name, svg in figures.items()},
    }


def _is_shorter(trial: dict[str, Any] | None, best: dict[str, Any] | None) -> bool:
    if trial is None or best is None:
        return False
    return (trial["epochs"] or 0) < (best["epochs"] or 0)
