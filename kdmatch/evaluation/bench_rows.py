"""The rows of a bench, as its table, its figure and the frontier read them."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def by_model_and_engine(bench: Mapping[str, Any]) -> dict[tuple[str, str], dict[int, Row]]:
    """Rows of a `bench.json` by (model, engine), then by documents of a page, in their order.

    >>> row = {"model": "albert", "engine": "grpc", "documents": 10, "p50_ms": 3.1}
    >>> by_model_and_engine({"rows": [row]})[("albert", "grpc")][10]["p50_ms"]
    3.1
    """
    found: dict[tuple[str, str], dict[int, Row]] = {}
    for row in bench.get("rows") or ():
        found.setdefault((row["model"], row["engine"]), {})[row["documents"]] = row
    return found
