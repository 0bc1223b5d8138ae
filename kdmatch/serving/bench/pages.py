"""Pages as users see them: a query and its candidates, taken from rows."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from kdmatch.errors import UserError

Page = tuple[str, list[str]]


def make_pages(rows: pa.Table, documents: int, count: int, seed: int = 0) -> list[Page]:
    """Pages of one size.

    A page holds a query's own documents in their order, cut at `documents`;
    where the query has too few it is filled up with documents of other rows,
    as a first stage of retrieval that found little would.

    Args:
        rows: table with `query` and `document`.
        documents: int. Documents of each page.
        count: int. Pages; queries come again where there are fewer.
        seed: int. Of the choice of queries and of the documents filled in.

    Raises:
        UserError: if there are no rows.
    """
    if rows.num_rows == 0:
        raise UserError("no rows to make pages of; give a file with at least one")
    texts: Sequence[str] = rows.column("document").to_pylist()
    by_query: dict[str, list[str]] = {}
    for query, document in zip(rows.column("query").to_pylist(), texts, strict=True):
        by_query.setdefault(query, []).append(document)
    generator = np.random.default_rng(seed)
    queries = list(by_query)
    order = np.resize(generator.permutation(len(queries)), count)
    pages: list[Page] = []
    for index in order.tolist():
        query = queries[index]
        page = by_query[query][:documents]
        others = generator.integers(0, len(texts), documents - len(page))
        pages.append((query, page + [texts[other] for other in others.tolist()]))
    return pages
