"""The pairs that students learn from without labels: neighbours of queries, and the log."""

from collections.abc import Iterable, Iterator, Set
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.made_queries import made_queries
from kdmatch.data.rows import Rows
from kdmatch.data.schema import text_id
from kdmatch.data.splits import query_key
from kdmatch.data.transfer import neighbours
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import SPLITS, HeldOut, distinct, run_language

_TEXTS = ("query_id", "query", "document")


def make_transfer(
    config: Config, data: Path, folder: Path, console: Console | None = None
) -> dict[str, Any]:
    """Write `pairs.parquet`: unlabelled neighbours of the training queries and of made-up ones.

    Documents of every split serve as the catalogue; queries are train's, and made up. Rows of
    `data.unlabelled` come after them, each pair once, and none that train has: what the GBDT
    would say of a pair that it was trained on is not what it says of others.
    """
    train = Rows.load(data / "train.parquet")
    texts = (text for split in SPLITS for text in distinct(data / f"{split}.parquet", "document"))
    documents = list(dict.fromkeys(texts))
    number = {text: i for i, text in enumerate(documents)}
    queries = train.query.unique().to_pylist()
    labelled = set(_keyed(zip(*train.pairs(), strict=True)))
    spellings: dict[str, list[int]] = {}
    for i, query in enumerate(queries):
        spellings.setdefault(query_key(query), []).append(i)
    seen = {(i, number[d]) for key, d in labelled for i in spellings[key]}
    settings = config.transfer
    near = partial(neighbours, language=run_language(config, data), deep_share=settings.deep_share)
    pairs: list[tuple[str, str]] = []
    if settings.per_query:
        which, found = near(
            *(queries, documents), per_query=settings.per_query, exclude=seen, seed=config.seed
        )
        pairs += [(queries[q], documents[d]) for q, d in zip(which, found, strict=True)]
    if settings.made:
        count = round(settings.made * len(queries))
        avoid = HeldOut(data).queries
        made = made_queries(queries, documents, count, avoid=avoid, seed=config.seed)
        which, found = near(made, documents, per_query=settings.per_made, seed=config.seed + 1)
        pairs += [(made[q], documents[d]) for q, d in zip(which, found, strict=True)]
    log = _read_log(data, labelled, console)
    if log is not None:
        # The log's row knows the clicks of a pair.
        logged = set(_keyed_rows(log))
        keys = _keyed(pairs)
        pairs = [pair for pair, key in zip(pairs, keys, strict=True) if key not in logged]
    table = pa.table(
        {
            "query_id": [text_id(q) for q, _ in pairs],
            "query": [q for q, _ in pairs],
            "document": [d for _, d in pairs],
        },
        schema=pa.schema([(name, pa.string()) for name in _TEXTS]),
    )
    if log is not None:
        # Neighbours were never shown to anybody: their f_* are missing.
        table = pa.concat_tables([table, log], promote_options="permissive")
    table = table.append_column("label", pa.nulls(len(table), pa.float32()))
    table = table.append_column("weight", pa.array(np.ones(len(table), np.float32)))
    pq.write_table(table, folder / "pairs.parquet")
    return {"rows": len(table)}


def _read_log(
    data: Path, labelled: Set[tuple[str, str]], console: Console | None
) -> pa.Table | None:
    """The rows of `data.unlabelled` that are new, with their `f_*`; None without such a file."""
    file = data / "unlabelled.parquet"
    if not file.exists():
        return None
    brought = [name for name in pq.read_schema(file).names if name.startswith("f_")]
    log = pq.read_table(file, columns=[*_TEXTS, *brought])
    kept = _new_pairs(log, labelled)
    if console is not None and (left := len(log) - len(kept)):
        console.stage(
            "transfer",
            f"{left} rows of data.unlabelled left out: train has them, or they repeat",
        )
    return log.take(pa.array(kept, pa.int64()))


def _new_pairs(table: pa.Table, known: Set[tuple[str, str]]) -> list[int]:
    """Rows of the first of each (query, document) that is not among the known ones."""
    found, rows = set(known), []
    for row, pair in enumerate(_keyed_rows(table)):
        if pair not in found:
            found.add(pair)
            rows.append(row)
    return rows


def _keyed(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Pairs as they count as one: a query is the same however it is spelt."""
    return ((query_key(query), document) for query, document in pairs)


def _keyed_rows(table: pa.Table) -> Iterator[tuple[str, str]]:
    sides = (table.column(side).to_pylist() for side in ("query", "document"))
    return _keyed(zip(*sides, strict=True))
