"""A search as the report's template shows it, and the page of a run's searches alone."""

from typing import Any

from markupsafe import Markup

from kdmatch.evaluation import search_figures
from kdmatch.evaluation.search_record import SearchRecord


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
        "first": search.trials[0] if search.trials else None,
        "failed": sum(trial["status"] == "failed" for trial in search.trials),
        "stopped": sum(trial["status"] == "stopped" for trial in search.trials),
        **{name: None if svg is None else Markup(svg) for name, svg in figures.items()},
    }
