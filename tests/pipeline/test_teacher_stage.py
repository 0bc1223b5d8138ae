"""What students are told by their teachers: out of fold, on one scale, of no pair twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdmatch.data.rows import Labels, Rows
from kdmatch.pipeline.config.loader import parse_config
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console

SMALL = {"num_rounds": 40, "min_data_in_leaf": 5, "learning_rate": 0.1}


def config(**keys: Any) -> Config:
    raw = {
        "name": "x",
        "data": {"train": "train.parquet"},
        "text": {"language": "en"},
        "gbdt": {"objective": "regression", "folds": 3, "dimension": 0, "params": SMALL},
        "teacher": {"preset": "bert_2l_64"},
        "students": {"textcnn": {"preset": "textcnn_64"}},
    }
    return parse_config({**raw, **keys}, "test")


def write(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    columns = {"query_id": pa.string(), "query": pa.string(), "document": pa.string()}
    schema = pa.schema([*columns.items(), ("label", pa.float32()), ("weight", pa.float32())])
    table = pa.Table.from_pylist([{"weight": 1.0, **row} for row in rows], schema=schema)
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / f"{split}.parquet")


def sessions(count: int, times: int, seed: int) -> list[dict[str, Any]]:
    """Pairs whose label is a coin, each seen in several sessions, written in two ways."""
    random = np.random.default_rng(seed)
    rows = []
    for q in range(count):
        words = random.choice(["oak", "led", "steel", "lamp", "desk", "bulb", "door"], 4)
        labels = random.integers(0, 2, 4)
        for time in range(times):
            query = f"{words[0]} {words[1]} {q}"
            rows += [
                {
                    "query_id": f"{q}-{time}",
                    "query": query.upper() if time % 2 else query,
                    "document": f"{words[place]} {words[2]} number {place}",
                    "label": float(labels[place]),
                }
                for place in range(4)
            ]
    return rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data", "train", sessions(60, 3, seed=0))
    for seed, split in enumerate(("valid", "test"), start=1):
        rows = [{**row, "query": f"{split} {row['query']}"} for row in sessions(20, 1, seed)]
        write(tmp_path / "data", split, rows)
    return tmp_path / "data"


def test_the_gbdts_training_scores_are_out_of_fold_by_text(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdmatch.data.splits import query_key
    from kdmatch.pipeline.teacher_stage import train_gbdt
    from kdmatch.teachers.gbdt import GbdtRanker

    folds: list[Any] = []
    scores = np.random.default_rng(0).normal(size=720)

    def out_of_fold(self: GbdtRanker, *rows: Any) -> np.ndarray:
        folds.extend(rows[3])
        return scores

    monkeypatch.setattr(GbdtRanker, "out_of_fold", out_of_fold)
    (tmp_path / "gbdt").mkdir()
    train_gbdt(config(), data, tmp_path / "gbdt")
    keys = [query_key(one) for one in Rows.load(data / "train.parquet").query.to_pylist()]
    assert len(set(zip(keys, folds, strict=True))) == len(set(keys)) == 60
    assert set(folds) == {0, 1, 2}
    assert np.load(tmp_path / "gbdt" / "train_scores.npy") == pytest.approx(scores, abs=1e-6)


def test_no_label_is_told_by_what_its_neighbours_are_told(tmp_path: Path) -> None:
    """Labels are a coin for each query, and many queries are near: to trees that knew what all
    other queries' labels are, the one that is missing would show."""
    from sklearn.metrics import roc_auc_score

    from kdmatch.pipeline.teacher_stage import train_gbdt

    random = np.random.default_rng(0)
    words = np.array(["oak", "led", "steel", "lamp", "desk", "bulb", "door", "pipe"])

    def rows(split: str, count: int, coin: bool) -> list[dict[str, Any]]:
        found = []
        for query in range(count):
            asked, label = random.choice(words, 2), float(random.integers(2))
            for _ in range(8):
                offered = random.choice(words, 3)
                matched = float(len({*asked} & {*offered}) > 0)  # to be learned, tree after tree
                found.append(
                    {
                        "query_id": f"{split}-{coin}-{query}",
                        "query": f"{' '.join(asked)} {split}{coin}{query}",
                        "document": " ".join(offered),
                        "label": label if coin else matched,
                    }
                )
        return found

    coins = rows("train", 100, True)
    write(tmp_path / "data", "train", coins + rows("train", 100, False))
    write(tmp_path / "data", "valid", rows("valid", 60, False))
    write(tmp_path / "data", "test", rows("test", 5, False))
    (tmp_path / "gbdt").mkdir()
    params = {**SMALL, "num_rounds": 200, "early_stopping_rounds": 200}
    gbdt = {"objective": "regression", "folds": 5, "dimension": 16, "params": params}
    train_gbdt(config(gbdt=gbdt), tmp_path / "data", tmp_path / "gbdt")
    scores = np.load(tmp_path / "gbdt" / "train_scores.npy")[: len(coins)]
    assert 0.4 < roc_auc_score([row["label"] for row in coins], scores) < 0.6


def test_weights_count_against_each_other_alone(data: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.teacher_stage import train_gbdt

    random = np.random.default_rng(0)
    table = pq.read_table(data / "train.parquet")
    weight = random.uniform(0.5, 2, table.num_rows).astype(np.float32)
    found = []
    for factor in (1.0, 2.0**-14):  # a power of two rounds nothing
        column = pa.array(weight * np.float32(factor))
        place = table.schema.get_field_index("weight")
        pq.write_table(table.set_column(place, "weight", column), data / "train.parquet")
        folder = tmp_path / f"gbdt-{factor}"
        folder.mkdir()
        train_gbdt(config(), data, folder)
        found.append(np.load(folder / "train_scores.npy"))
    assert found[0].std() > 0.1
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_a_gbdt_that_learned_nothing_is_told(data: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.teacher_stage import train_gbdt

    said: list[str] = []
    console = Console(quiet=True)
    console.stage = lambda name, message: said.append(message)  # type: ignore[method-assign]
    gbdt = {"objective": "regression", "dimension": 0, "params": {"min_data_in_leaf": 5000}}
    (tmp_path / "gbdt").mkdir()
    train_gbdt(config(gbdt=gbdt), data, tmp_path / "gbdt", console)
    assert any("learned nothing of 720 labelled rows" in one for one in said)
    assert np.ptp(np.load(tmp_path / "gbdt" / "train_scores.npy")) < 1e-6


def test_log_rows_that_train_has_or_that_repeat_teach_nothing(data: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.transfer_stage import make_transfer

    train = pq.read_table(data / "train.parquet").to_pylist()
    new = {"query_id": "new", "query": train[0]["query"], "document": "a document of the log"}
    shouted = [{**row, "query": f" {row['query'].upper()}"} for row in train[:2]]
    write(data, "unlabelled", [*train[:6], *shouted, new, new])
    said: list[str] = []
    console = Console(quiet=True)
    console.stage = lambda name, message: said.append(message)  # type: ignore[method-assign]
    make_transfer(config(transfer={"per_query": 1}), data, tmp_path, console)
    pairs = pq.read_table(tmp_path / "pairs.parquet").select(["query", "document"]).to_pylist()
    assert pairs[-1]["document"] == new["document"]
    assert sum(one["document"] == new["document"] for one in pairs) == 1
    known = {(one["query"], one["document"]) for one in train}
    assert not known & {(one["query"], one["document"]) for one in pairs}
    assert said == ["9 rows of data.unlabelled left out: train has them, or they repeat"]


def test_a_neighbour_that_the_log_has_is_the_logs(data: Path, tmp_path: Path) -> None:
    """Its row has the clicks; a second one without them would teach something else."""
    from kdmatch.pipeline.transfer_stage import make_transfer

    near = config(transfer={"per_query": 3})
    (tmp_path / "plain").mkdir()
    make_transfer(near, data, tmp_path / "plain")
    made = pq.read_table(tmp_path / "plain" / "pairs.parquet")
    log = made.select(["query_id", "query", "document"]).slice(0, 10)
    clicks = pa.array(np.arange(10.0), pa.float32())
    pq.write_table(log.append_column("f_clicks", clicks), data / "unlabelled.parquet")
    (tmp_path / "logged").mkdir()
    make_transfer(near, data, tmp_path / "logged")
    found = pq.read_table(tmp_path / "logged" / "pairs.parquet")
    assert len(found) == len(made)
    sides = (found.column(side).to_pylist() for side in ("query", "document"))
    pairs = list(zip(*sides, strict=True))
    assert len(set(pairs)) == len(pairs)
    assert found.column("f_clicks").to_pylist()[-10:] == list(range(10))


def test_the_language_is_that_of_all_documents(data: Path) -> None:
    """Not of the first in the alphabet, which are the Latin ones."""
    from kdmatch.pipeline.data_stage import run_language

    rows = [
        {"query_id": str(i), "query": f"灯 {i}", "document": f"{name} {i}", "label": 1.0}
        for i, name in enumerate(["lamp"] * 40 + ["北京大学图书馆台灯"] * 60)
    ]
    write(data, "train", rows)
    auto = config(text={"language": "auto"})
    assert run_language(auto, data) == "zh"
    assert run_language(config(), data) == "en"


def test_a_users_feature_is_found_by_its_name(data: Path, tmp_path: Path) -> None:
    from kdmatch.pipeline.teacher_stage import Gbdt, train_gbdt

    random = np.random.default_rng(0)
    for split in ("train", "valid"):
        table = pq.read_table(data / f"{split}.parquet")
        label = table.column("label").to_numpy()
        clicks = pa.array((label + random.normal(0, 0.1, len(label))).astype(np.float32))
        noise = pa.array(random.normal(size=len(label)).astype(np.float32))
        for name, column in (("f_noise", noise), ("f_clicks", clicks)):
            table = table.append_column(name, column)
        pq.write_table(table, data / f"{split}.parquet")
    folder = tmp_path / "gbdt"
    folder.mkdir()
    train_gbdt(config(), data, folder)
    table = pq.read_table(data / "valid.parquet")
    gbdt = Gbdt(folder)
    turned = table.select([*table.schema.names[:-2], "f_clicks", "f_noise"])
    scores = gbdt.score(Rows.from_table(table))
    assert (gbdt.score(Rows.from_table(turned)) == scores).all()
    bare = gbdt.score(Rows.from_table(table.drop_columns(["f_clicks", "f_noise"])))
    label = table.column("label").to_numpy()
    assert np.corrcoef(scores, label)[0, 1] > np.corrcoef(bare, label)[0, 1] + 0.3


def test_train_and_transfer_are_on_one_scale(tmp_path: Path) -> None:
    """And `teacher` is the mean of the matchers, each on its own."""
    from kdmatch.files import write_json
    from kdmatch.pipeline.teacher_stage import load_scores
    from kdmatch.teachers.scores import Standard

    train = {"gbdt": [0.0, 2.0], "teacher": [10.0, 30.0], "teacher_cnn": [5.0, 7.0]}
    transfer = {"gbdt": [3.0], "teacher": [40.0], "teacher_cnn": [6.0]}
    for split, scores in (("train", train), ("transfer", transfer)):
        columns = {f"score_{n}": np.array(v, np.float32) for n, v in scores.items()}
        pq.write_table(pa.table(columns), tmp_path / f"{split}.parquet")
    scale = {name: Standard.of(np.array(found)).as_dict() for name, found in train.items()}
    write_json(tmp_path / "standard.json", scale)
    assert load_scores(tmp_path, "train")["gbdt"].tolist() == [-1, 1]
    assert load_scores(tmp_path, "transfer")["gbdt"].tolist() == [2]
    assert load_scores(tmp_path, "train")["teacher"].tolist() == [-1, 1]
    assert load_scores(tmp_path, "transfer")["teacher"].tolist() == [(2 + 0) / 2]


def test_transfer_rows_keep_their_queries_number(data: Path) -> None:
    from kdmatch.pipeline.training_stage import transfer_groups

    rows = Labels.load(data / "train.parquet")
    known = rows.query[5].as_py()
    found = transfer_groups(rows, pa.chunked_array([["new", known, "new", "other"]]))
    assert found[1] in rows.group[[q == known for q in rows.query.to_pylist()]]
    assert found[0] == found[2] == rows.group.max() + 1
    assert found[3] == rows.group.max() + 2
