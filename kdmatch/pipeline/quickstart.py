"""`kdmatch quickstart`: synthetic data, a small run, one served request."""

from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from kdmatch.data.quickstart import generate
from kdmatch.evaluation.table import metric_table
from kdmatch.files import read_json
from kdmatch.pipeline.config.loader import apply_override, parse_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import SPLITS
from kdmatch.pipeline.run import run


def quickstart_config(files: dict[str, Path], overrides: list[str]) -> Config:
    """The packaged config on generated files."""
    text = resources.files("kdmatch.pipeline").joinpath("quickstart.yaml").read_text("utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    raw["data"] |= {split: str(files[split]) for split in SPLITS}
    raw["data"]["unlabelled"] = [str(files["unlabelled"])]
    for override in overrides:
        apply_override(raw, override)
    return parse_config(raw, "quickstart", recipes=True)


def run_quickstart(
    out: Path, overrides: list[str], console: Console, jobs: int = 1
) -> dict[str, Any]:
    """Generate data, run every stage, print the table, ask a server one question.

    Args:
        out: Path. Gets `data/` and `run/`.
        overrides: config keys to override, `a.b=value`.
        console: Console.
        jobs: int. Students trained at a time.

    Returns:
        the contents of `metrics.json`.
    """
    from kdmatch.serving.client import Client
    from kdmatch.serving.server import LocalServer

    console.stage("quickstart", "synthetic data, for trying things out: its numbers mean nothing")
    files = generate(out / "data")
    config = quickstart_config(files, overrides)
    root = run(config, out / "run", console, jobs=jobs)
    served = next(iter(config.students))
    metrics = read_json(root / "metrics.json")
    console.rich.print(metric_table(metrics))
    page = pq.read_table(files["test"], columns=["query", "document"]).to_pylist()
    query = page[0]["query"]
    documents = [row["document"] for row in page if row["query"] == query]
    with (
        LocalServer(root / "export", port=0) as server,
        Client(f"localhost:{server.port}", model=served) as client,
    ):
        ranking = client.rank(query, documents)
    console.stage("served", f"{served}, over gRPC, query {query!r}:")
    for index, score in ranking[:5]:
        console.rich.print(f"  {score:7.4f}  {documents[index]}", highlight=False, markup=False)
    console.stage("report", f"open {root / 'report.html'} in a browser")
    return metrics
