"""The page of a run's searches, for a run that is not evaluated yet."""

from pathlib import Path

from kdmatch.evaluation.report import environment
from kdmatch.evaluation.search_record import read_searches
from kdmatch.evaluation.search_view import search_view
from kdmatch.files import write_text


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
    write_text(out, text)
    return out
