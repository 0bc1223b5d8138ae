"""The page of a run's searches, for a run that is not evaluated yet."""

from pathlib import Path

from kdmatch.evaluation.report import environment
from kdmatch.evaluation.search_record import read_searches
from kdmatch.evaluation.search_view import search_view


def write_search_report(run: Path, out: Path) -> Path:
    """Write one HTML file about all searches of a run; it needs nothing else."""
    views = [
        search_view(search, f"search{index}") for index, search in enumerate(read_searches(run))
    ]
    text = (
        environment()
        .get_template("searches.html.jinja")
        .render(searches=views, name=run.resolve().name)
    )
    partial = out.with_name(f".{out.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(out)
    return out
