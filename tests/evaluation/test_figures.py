"""The figure of a bench: every engine is named, in a colour of its own, inside the picture."""

import re
from typing import Any

from kdmatch.evaluation.figures import latency_by_documents
from kdmatch.serving.engines import ENGINES


def bench(models: int) -> dict[str, Any]:
    return {
        "rows": [
            {
                "model": f"model_{i}",
                "engine": engine,
                "documents": documents,
                "p50_ms": float(documents + place),
                "p99_ms": 2.0 * (documents + place),
            }
            for i in range(models)
            for place, engine in enumerate(ENGINES)
            for documents in (1, 10)
        ]
    }


def test_every_engine_has_a_colour_and_a_name_inside_the_picture() -> None:
    svg = latency_by_documents(bench(models=3), "k")
    assert svg is not None
    [width] = map(float, re.findall(r'<svg [^>]*viewBox="0 0 ([\d.]+)', svg))
    for engine in ENGINES:
        [place] = re.findall(rf'x="([-\d.]+)"[^>]*>{re.escape(engine)}<', svg)
        assert 0 < float(place) < width - 6 * len(engine)
    lines = re.findall(r"stroke: (#[0-9a-f]{6}); stroke-width: 1.5", svg)
    assert len(set(lines)) == len(ENGINES)


def test_a_bench_of_nothing_has_no_figure() -> None:
    assert latency_by_documents({"rows": []}, "k") is None
