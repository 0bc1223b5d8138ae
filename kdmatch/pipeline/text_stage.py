"""Encoders, word vectors, and the ids of every table."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from kdmatch.data.ids import PairIds
from kdmatch.errors import UserError
from kdmatch.models.pretrained import resolve_pretrained
from kdmatch.models.sentence_encoder import SentenceEncoder
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.data_stage import corpus_texts, query_texts
from kdmatch.pipeline.model_checks import wordpiece_dimension

ENCODED = "encoded.npy"
_ENCODE_ROWS = 4096


def prepare_text(config: Config, data: Path, folder: Path) -> dict[str, int]:
    """Write `wordpiece/`, `words/` with their vectors, and ids of the splits."""
    from kdmatch.text.vocabulary import (
        build_vocabulary,
        build_wordpiece_vocabulary,
        count_words,
        learn_spelling,
        train_word2vec,
    )
    from kdmatch.text.wordpiece import WordPieceEncoder
    from kdmatch.text.words import WordEncoder

    settings = config.text.wordpiece
    counts = count_words(corpus_texts(config, data))
    pieces = _read_vocabulary(settings.vocabulary) if settings.vocabulary else []
    spelling = None
    if config.text.correct:
        spelling = learn_spelling(counts, count_words(query_texts(data)), pieces)
    wordpiece = WordPieceEncoder(
        pieces or build_wordpiece_vocabulary(counts),
        settings.lower_case,
        settings.max_query_tokens,
        settings.max_tokens,
        spelling if settings.lower_case else None,
    )
    wordpiece.save(folder / "wordpiece")
    chosen = config.text.words
    vocabulary = build_vocabulary(counts, chosen.vocabulary_size, chosen.min_count)
    words = WordEncoder(vocabulary, chosen.max_query_words, chosen.max_document_words, spelling)
    words.save(folder / "words")
    if chosen.encoder is not None:
        read = SentenceEncoder(chosen.encoder).encode(vocabulary)
        np.save(folder / "words" / ENCODED, read.astype(np.float16))

    def train_vectors(encoder: WordPieceEncoder | WordEncoder, length: int) -> None:
        vectors = train_word2vec(
            encoder,
            corpus_texts(config, data) if chosen.epochs else (),
            length,
            max(1, chosen.epochs),
            chosen.window,
            config.seed,
        )
        np.save(folder / encoder.kind / "vectors.npy", vectors)

    wanted: list[tuple[WordPieceEncoder | WordEncoder, int]] = [(words, chosen.dimension)]
    if dimension := wordpiece_dimension(config):
        wanted.append((wordpiece, dimension))
    # gensim repeats itself with one thread only, and holds no lock while it trains: so one each.
    with ThreadPoolExecutor() as pool:
        for trained in [pool.submit(train_vectors, *one) for one in wanted]:
            trained.result()
    for split in ("train", "valid"):
        encode_file(data / f"{split}.parquet", folder, folder / split)
    return {"wordpiece": len(wordpiece.vocabulary), "words": len(vocabulary)}


def encode_file(table: Path, text: Path, target: Path) -> None:
    """Write `<target>.wordpiece.npz` and `<target>.words.npz` for a Parquet table."""
    from kdmatch.text.cache import encode_pairs
    from kdmatch.text.encoder import load_encoder

    for kind in ("wordpiece", "words"):
        ids = encode_pairs(load_encoder(text / kind), _text_batches(table))
        ids.save(target.with_name(f"{target.name}.{kind}.npz"))


def load_ids(target: Path, kind: str) -> PairIds:
    """Ids that `encode_file` wrote."""
    return PairIds.load(target.with_name(f"{target.name}.{kind}.npz"))


def _text_batches(table: Path) -> Iterator[tuple[list[str], list[str]]]:
    for batch in pq.ParquetFile(table).iter_batches(_ENCODE_ROWS, columns=["query", "document"]):
        yield batch.column("query").to_pylist(), batch.column("document").to_pylist()


def _read_vocabulary(named: str) -> list[str]:
    if named.startswith("package:") or Path(named).expanduser().is_dir():
        path = resolve_pretrained(named) / "vocab.txt"
    else:
        path = Path(named).expanduser()
    if not path.is_file():
        raise UserError(f"text.wordpiece.vocabulary: {path}: no such file; give a BERT vocab.txt")
    try:
        tokens = path.read_text("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"text.wordpiece.vocabulary: {path}: not UTF-8; save it as UTF-8"
        ) from error
    places: dict[str, int] = {}
    for line, token in enumerate(tokens, start=1):
        if places.setdefault(token, line) != line:
            raise UserError(
                f"text.wordpiece.vocabulary: {path}, line {line}: {token!r} stands in line "
                f"{places[token]} too; each token is one line"
            )
    return tokens
