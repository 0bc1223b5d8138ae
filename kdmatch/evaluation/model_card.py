"""A model card filled from the files of a run, and from nothing else.

Reference:
    Mitchell et al., "Model cards for model reporting", FAT* 2019, and the
    model card template of the Hugging Face Hub.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from kdmatch.evaluation.report import METRIC_NAMES, environment, summary
from kdmatch.evaluation.run_record import RunRecord, is_student, read_run
from kdmatch.files import write_text


def write_model_card(run: Path, out: Path) -> Path:
    """Write the model card of a run as Markdown with the Hub's metadata on top.

    Sections that no file of the run speaks about say so, for a person to
    fill in: a card must not claim what was not recorded.

    Args:
        run: run directory with a `metrics.json`.
        out: the Markdown file to write; its folder is made.

    Returns:
        `out`.

    Raises:
        UserError: if the run has no readable `metrics.json`.
    """
    record = read_run(Path(run))
    made = environment()
    made.filters["cell"] = cell
    config = _config(record)
    text = made.get_template("model_card.md.jinja").render(
        run=record,
        front_matter=_front_matter(record),
        summary=cell(summary(record)),
        config=config,
        data=next((stage for stage in record.stages if stage["stage"] == "data"), {}),
        metric_names={
            metric: name
            for metric, name in METRIC_NAMES.items()
            if any(model.get(metric) for model in record.models.values())
        },
        students=[name for name in record.models if is_student(name)],
        comparisons=record.metrics.get("comparisons") or [],
    )
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return out


def cell(value: object) -> str:
    """Text that Markdown, in a table too, shows as it is.

    >>> cell("a|b<script>"), cell("cnn_attention")
    ('a\\\\|b&lt;script>', 'cnn\\\\_attention')
    """
    text = re.sub(r"([\\`*_{}\[\]|#])", r"\\\1", " ".join(str(value).split()))
    return text.replace("<", "&lt;")


def _front_matter(run: RunRecord) -> str:
    """Metadata in the form that the Hub reads: results of the students under `model-index`."""
    dataset = str(run.metrics.get("dataset") or "not recorded")
    split = str(run.metrics.get("split") or "not recorded")
    index = []
    for name, model in run.models.items():
        values = [
            {"type": metric, "name": METRIC_NAMES[metric], "value": round(found["value"], 4)}
            for metric in METRIC_NAMES
            if (found := model.get(metric)) and found.get("value") is not None
        ]
        if is_student(name) and values:
            result = {
                "task": {"type": "text-ranking", "name": "Query-document matching"},
                "dataset": {"name": dataset, "type": dataset, "split": split},
                "metrics": values,
            }
            index.append({"name": name, "results": [result]})
    metadata: dict[str, Any] = {"library_name": "keras", "tags": ["kdmatch", "text-ranking"]}
    if index:
        metadata["model-index"] = index
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).strip()


def _config(run: RunRecord) -> dict[str, Any]:
    found = yaml.safe_load(run.config) if run.config else None
    return found if isinstance(found, dict) else {}
