"""Source files to checked tables, one a split."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdmatch.data.language import detect_language
from kdmatch.data.readers import read_batches
from kdmatch.data.schema import BadRows, is_positive
from kdmatch.data.splits import assign_split, query_key
from kdmatch.errors import UserError
from kdmatch.files import file_hash
from kdmatch.pipeline.config.data import DataConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console

SPLITS = ("train", "valid", "test")
SOURCES = (*SPLITS, "unlabelled", "corpus")  # the fields of `data` that name files
_UNREADABLE = (OSError, lzma.LZMAError, EOFError, zlib.error)
_OPENERS: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}


def source_hashes(data: DataConfig) -> dict[str, list[str]]:
    """Content hashes of the files that the data stage reads, by their field in `data`."""
    named = {field: getattr(data, field) for field in SOURCES}
    files = {
        field: [paths] if isinstance(paths, str) else paths
        for field, paths in named.items()
        if paths
    }
    return {
        field: [file_hash(Path(path).expanduser()) for path in paths]
        for field, paths in files.items()
    }


def prepare_tables(config: Config, folder: Path, console: Console | None = None) -> dict[str, Any]:
    """Write `train`, `valid`, `test` and `unlabelled` `.parquet` into `folder`.

    A query of `valid` or `test` that `train` has under another id is counted and told; one that
    `unlabelled` has is left out there, for students learn what their teachers think of it.

    Raises:
        UserError: if a file or row is bad, a query stands in two splits, or
            a split has only one class.
    """
    data = config.data
    rejects = folder / "bad_rows.jsonl"
    rejects.unlink(missing_ok=True)
    bad = BadRows(data.on_bad_row, rejects)
    with ExitStack() as stack:
        tables = _Tables(folder, stack)
        for batch in read_batches(Path(data.train).expanduser(), data.columns, bad):
            for split, part in _assigned(batch, data, config.seed):
                tables.write(split, part)
        for split, name in (("valid", data.valid), ("test", data.test)):
            if name is not None:
                for batch in read_batches(Path(name).expanduser(), data.columns, bad):
                    tables.write(split, batch)
    with ExitStack() as stack:
        held_out = HeldOut(folder)
        pair = ("query_id", "query", "doc_id", "document")
        optional = set(data.columns) - {"query", "document"}
        unlabelled = _Tables(folder, stack)
        for name in data.unlabelled:
            for batch in read_batches(
                *(Path(name).expanduser(), data.columns, bad, optional), ignored=("label", "weight")
            ):
                brought = [one for one in batch.schema.names if one.startswith("f_")]
                kept = held_out.without(batch, "query")
                unlabelled.write("unlabelled", kept.select([*pair, *brought]))
    if held_out.dropped and console is not None:
        console.stage(
            "data",
            f"{held_out.dropped} rows of data.unlabelled left out: their queries stand in valid "
            "or test",
        )
    tables.rows |= unlabelled.rows
    for split, given in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        if split in tables.rows:
            continue
        if given is not None and (split != "train" or (data.valid and data.test)):
            raise UserError(
                f"{given}: no row is left for {split}, all {bad.count} bad ones being skipped; see "
                f"{rejects}"
            )
        raise UserError(
            f"{data.train}: split {data.split} leaves {split} without a query; raise "
            f"data.split or give data.{split}"
        )
    repeated = _check_queries(folder, data)
    for split, queries in repeated.items():
        if queries and console is not None:
            console.stage(
                "data",
                f"{len(queries)} queries of {split} stand in train too, under another id, such "
                f"as {queries[0]!r}: its numbers will flatter",
            )
    for split in SPLITS:
        _check_classes(folder / f"{split}.parquet", data.positive_threshold)
    return {
        "rows": tables.rows,
        "bad_rows": bad.count,
        "sources": source_hashes(data),
        "unlabelled_rows_of_held_out_queries": held_out.dropped,
    } | {f"{split}_queries_in_train": len(queries) for split, queries in repeated.items()}


class HeldOut:
    """The queries of valid and test, by their text, which nothing may be trained on.

    Args:
        folder: Path of the data stage.

    Attributes:
        dropped: int. Rows that `without` has left out.
    """

    def __init__(self, folder: Path) -> None:
        self.queries = [
            query
            for split in ("valid", "test")
            for query in distinct(folder / f"{split}.parquet", "query")
        ]
        self._keys = set(map(query_key, self.queries))
        self.dropped = 0

    def __contains__(self, text: str) -> bool:
        return query_key(text) in self._keys

    def without(self, batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
        """The batch's rows whose `column` is none of the queries."""
        kept = pa.array([text not in self for text in batch.column(column).to_pylist()])
        found = batch.filter(kept)
        self.dropped += batch.num_rows - found.num_rows
        return found


def corpus_texts(config: Config, folder: Path) -> Iterator[str]:
    """Texts to learn words from: all documents, training queries, the extra corpus.

    Queries of valid and test are not among them, nor lines of the corpus that are one.
    """
    for split in (*SPLITS, "unlabelled"):
        yield from distinct(folder / f"{split}.parquet", "document")
    yield from query_texts(folder)
    held_out = HeldOut(folder)
    for name in config.data.corpus:
        path = Path(name).expanduser()
        try:
            with _OPENERS.get(path.suffix, open)(
                path, "rt", encoding="utf-8", errors="replace"
            ) as lines:
                yield from (text for line in lines if (text := line.rstrip("\n")) not in held_out)
        except _UNREADABLE as error:
            raise UserError(
                f"{path}: cannot be read to its end ({error}); copy or compress it again"
            ) from error


def check_corpus(data: DataConfig) -> None:
    """Check that every file of the corpus is text, or text compressed in a way that is known.

    Raises:
        UserError: if one is not.
    """
    for name in data.corpus:
        path = Path(name).expanduser()
        try:
            with _OPENERS.get(path.suffix, open)(path, "rb") as file:
                binary = b"\0" in file.read(4096)
        except _UNREADABLE as error:
            raise UserError(f"{path}: cannot be read ({error})") from error
        if binary:
            raise UserError(
                f"{path}: not text; data.corpus takes text, plain or as {', '.join(_OPENERS)}"
            )


def query_texts(folder: Path) -> Iterator[str]:
    """The queries among `corpus_texts`."""
    for split in ("train", "unlabelled"):
        yield from distinct(folder / f"{split}.parquet", "query")


def distinct(table: Path, column: str) -> list[str]:
    """Each text of a table's column once, in their order; none where there is no table."""
    if not table.exists():
        return []
    return pq.read_table(table, columns=[column]).column(column).unique().to_pylist()


class _Tables:
    """One Parquet writer a split, opened when its first rows come."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.rows: dict[str, int] = {}
        self._names: list[str] = []
        self._writers: dict[str, pq.ParquetWriter] = {}

    def write(self, split: str, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        # The order of columns, which is JSON's, means nothing: it is that of the first rows.
        self._names = self._names or batch.schema.names
        if set(batch.schema.names) == set(self._names):
            batch = batch.select(self._names)
        if split not in self._writers:
            path = self.folder / f"{split}.parquet"
            self._writers[split] = self.stack.enter_context(pq.ParquetWriter(path, batch.schema))
            self.rows[split] = 0
        known = self._writers[split].schema
        if batch.schema != known:
            raise UserError(
                f"{split}: its files or blocks differ in columns ({', '.join(known.names)} and "
                f"{', '.join(batch.schema.names)}); give all the same f_* columns"
            )
        self._writers[split].write_batch(batch)
        self.rows[split] += batch.num_rows


def _assigned(
    batch: pa.RecordBatch, data: DataConfig, seed: int
) -> Iterator[tuple[str, pa.RecordBatch]]:
    shares = (0.0 if data.valid else data.split[0], 0.0 if data.test else data.split[1])
    if not any(shares):
        yield "train", batch
        return
    # By text: an id is often a session's or a page view's, and many have one query.
    keys = [query_key(query) for query in batch.column("query").to_pylist()]
    names = np.array(assign_split(keys, shares, seed))
    for split in SPLITS:
        yield split, batch.filter(pa.array(names == split))


def _check_queries(folder: Path, data: DataConfig) -> dict[str, list[str]]:
    """Queries of valid and of test that train has under another id.

    Raises:
        UserError: if an id stands in two splits, or splits differ in features.
    """
    texts: dict[str, set[str]] = {}
    owner: dict[str, str] = {}
    features: dict[str, list[str]] = {}
    for split in SPLITS:
        path = folder / f"{split}.parquet"
        features[split] = [name for name in pq.read_schema(path).names if name.startswith("f_")]
        if features[split] != features["train"]:
            raise UserError(
                f"{split}: feature columns {features[split]} are not those of train "
                f"({features['train']}); give every split the same f_* columns"
            )
        table = pq.read_table(path, columns=["query_id", "query"])
        for query in table.column("query_id").unique().to_pylist():
            if owner.setdefault(query, split) != split:
                mend = "give queries of different text ids of their own"
                if data.valid or data.test:
                    mend = (
                        "split by query, or leave data.valid and data.test out and let "
                        f"data.split do it; {mend}"
                    )
                raise UserError(
                    f"query_id {query!r} stands in {owner[query]} and in {split}; {mend}"
                )
        texts[split] = set(map(query_key, table.column("query").unique().to_pylist()))
    return {split: sorted(texts[split] & texts["train"]) for split in ("valid", "test")}


def _check_classes(path: Path, threshold: float) -> None:
    label = pq.read_table(path, columns=["label"]).column("label").to_numpy()
    known = label[~np.isnan(label)]
    if not len(known):
        raise UserError(f"{path.stem}: no row has a label; give a `label` column")
    positive = is_positive(known, threshold).mean()
    if positive in (0.0, 1.0):
        kind = "positive" if positive else "negative"
        raise UserError(
            f"{path.stem}: only one class: every label is {kind} at data.positive_threshold "
            f"{threshold:g} (labels go from {known.min():g} to {known.max():g}); "
            "change the threshold"
        )


def run_language(config: Config, data: Path) -> str:
    """`"en"` or `"zh"`: what the config says, else that of the training documents."""
    if config.text.language != "auto":
        return config.text.language
    documents = pq.read_table(data / "train.parquet", columns=["document"]).column("document")
    return detect_language(documents.unique().to_pylist())
