"""What a run makes of rows: what it refuses, how it splits, what it learns from."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kdmatch.errors import UserError


def test_one_class_and_shared_queries_are_refused(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.run import Console, run

    quiet = Console(quiet=True)
    with pytest.raises(
        UserError, match=r"only one class.*positive_threshold.*change the threshold"
    ):
        run(load_config(tiny, ["data.positive_threshold=9"]), tmp_path / "a", quiet, until="data")
    config = load_config(tiny)
    with pytest.raises(UserError, match=r"query_id .* stands in train and in test"):
        run(
            load_config(tiny, [f"data.test={config.data.train}"]),
            tmp_path / "b",
            quiet,
            until="data",
        )
    assert not (tmp_path / "b" / "data" / "done.json").exists()
    bare = tmp_path / "bare.parquet"
    pq.write_table(pq.read_table(config.data.test).drop_columns(["label"]), bare)
    with pytest.raises(UserError, match="test: no row has a label"):
        run(load_config(tiny, [f"data.test={bare}"]), tmp_path / "c", quiet, until="data")


def test_splits_are_made_where_only_train_is_given(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.data.rows import Rows
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.run import Console, run

    overrides = ["data.valid=null", "data.test=null", "data.split=[0.2, 0.3]"]
    root = run(load_config(tiny, overrides), tmp_path / "run", Console(quiet=True), until="data")
    queries = [
        set(Rows.load(root / "data" / f"{split}.parquet").query_id.to_pylist())
        for split in ("train", "valid", "test")
    ]
    assert all(queries)
    assert not queries[0] & queries[1]
    assert not queries[0] & queries[2]
    assert not queries[1] & queries[2]


def test_queries_of_valid_and_test_are_learned_from_nowhere(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.data.splits import query_key
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.console import Console
    from kdmatch.pipeline.data_stage import corpus_texts, prepare_tables
    from kdmatch.pipeline.transfer_stage import make_transfer

    config = load_config(tiny)
    held_out = {
        split: pq.read_table(getattr(config.data, split)).column("query")[0].as_py()
        for split in ("valid", "test")
    }
    log, corpus = tmp_path / "log.jsonl", tmp_path / "corpus.txt"
    queries = [held_out["valid"], f" {held_out['test'].upper()}", "nobody's query"]
    log.write_text(
        "".join(json.dumps({"query": one, "document": f"of {one}"}) + "\n" for one in queries)
    )
    corpus.write_text("\n".join([held_out["test"], f"{held_out['test']} more"]))
    said: list[str] = []

    class Ear(Console):
        def stage(self, name: str, message: str) -> None:
            said.append(message)

    config = load_config(tiny, [f"data.unlabelled=[{log}]", f"data.corpus=[{corpus}]"])
    notes = prepare_tables(config, tmp_path, Ear(quiet=True))
    assert notes["rows"]["unlabelled"] == 1
    assert notes["unlabelled_rows_of_held_out_queries"] == 2
    assert said == ["2 rows of data.unlabelled left out: their queries stand in valid or test"]
    (tmp_path / "transfer").mkdir()
    make_transfer(config, tmp_path, tmp_path / "transfer")
    asked = pq.read_table(tmp_path / "transfer" / "pairs.parquet").column("query").to_pylist()
    assert "nobody's query" in asked
    keys = set(map(query_key, held_out.values()))
    assert not keys & set(map(query_key, asked))
    texts = list(corpus_texts(config, tmp_path))
    assert f"{held_out['test']} more" in texts
    assert not keys & set(map(query_key, texts))


def test_made_up_queries_join_the_transfer_rows(tiny: Path, tmp_path: Path) -> None:
    from kdmatch.data.rows import Rows
    from kdmatch.data.splits import query_key
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.run import Console, run

    settings = ["transfer.made=0.5", "transfer.per_made=2", "data.unlabelled=[]"]
    config = load_config(tiny, settings)
    root = run(config, tmp_path / "run", Console(quiet=True), until="transfer")
    pairs = Rows.load(root / "transfer" / "pairs.parquet")
    asked, valid, test = (
        set(map(query_key, Rows.load(root / "data" / f"{split}.parquet").query.to_pylist()))
        for split in ("train", "valid", "test")
    )
    made = [query for query in pairs.query.to_pylist() if query_key(query) not in asked]
    assert len(set(made)) == round(0.5 * len(asked))
    assert len(made) == 2 * len(set(made))
    assert not set(map(query_key, made)) & (valid | test)
    assert len(pairs) - len(made) == 3 * len(asked)


def test_texts_in_which_no_word_repeats_train_a_gbdt(tiny: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.teacher_stage import train_gbdt

    words = [f"{a}{b}" for a in "abcdefghijkl" for b in "mnopqrstuvwx"]
    for k, split in enumerate(("train", "valid", "test")):
        own = words[40 * k : 40 * k + 40]
        columns = {
            "query_id": [f"{split}{i // 2}" for i in range(20)],
            "query": [own[i - i % 2] for i in range(20)],
            "document": [f"{own[20 + i]} {own[20 + i]}x" for i in range(20)],
            "label": pa.array([float(i % 2) for i in range(20)], pa.float32()),
            "weight": pa.array([1.0] * 20, pa.float32()),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{split}.parquet")
    config = load_config(tiny, ["gbdt.dimension=8"])
    assert train_gbdt(config, tmp_path, tmp_path / "gbdt")["features"] > 10


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "texts.zst",
            b"\x28\xb5\x2f\xfd\x00\x00",
            "not text; data.corpus takes text, plain or as .xz",
        ),
        ("texts.gz", b"plain text", "cannot be read .*gzip"),
    ],
)
def test_a_corpus_that_is_not_text_is_said_at_once(
    tiny: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.run import Console, run

    (tmp_path / name).write_bytes(content)
    config = load_config(tiny, [f"data.corpus=[{tmp_path / name}]"])
    with pytest.raises(UserError, match=f"{name}: {message}"):
        run(config, tmp_path / "run", Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_query_with_one_document_trains(tiny: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from kdmatch.pipeline.config.loader import load_config
    from kdmatch.pipeline.run import Console, run

    config = load_config(tiny)
    table = pq.read_table(config.data.train)
    first = table.column("query_id").to_pylist()
    keep = [i for i, query in enumerate(first) if i == 0 or query != first[0]]
    lonely = tmp_path / "train.parquet"
    pq.write_table(table.take(keep), lonely)
    root = run(
        load_config(tiny, [f"data.train={lonely}"]),
        tmp_path / "run",
        Console(quiet=True),
        "teacher",
    )
    assert (root / "teacher" / "model.weights.h5").is_file()
