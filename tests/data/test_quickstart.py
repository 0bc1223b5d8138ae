"""The synthetic log: repeatable, split by query, and worth more with clicks than without."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from kdmatch.data.quickstart import generate
from kdmatch.errors import UserError
from kdmatch.teachers.features import TextFeatures
from kdmatch.teachers.gbdt import GbdtRanker


def read(files: dict[str, Path]) -> dict[str, dict[str, list[Any]]]:
    return {split: pq.read_table(path).to_pydict() for split, path in files.items()}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Any]]]:
    return read(generate(tmp_path_factory.mktemp("log"), queries=300))


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for language in ("en", "zh"):
        first, second, other = (
            generate(tmp_path / name, queries=40, seed=seed, language=language)
            for name, seed in (("a", 1), ("b", 1), ("c", 2))
        )
        for split in first:
            assert first[split].read_bytes() == second[split].read_bytes()
            assert first[split].read_bytes() != other[split].read_bytes()
        assert "synthetic" in (tmp_path / "a" / "README.md").read_text().lower()


def test_shape_of_the_log(log: dict[str, dict[str, list[Any]]]) -> None:
    queries = [set(log[split]["query"]) for split in ("train", "unlabelled", "valid", "test")]
    assert [len(part) for part in queries] == [84, 126, 45, 45]
    assert len(set.union(*queries)) == 300
    columns = log["train"]
    assert {"query_id", "query", "doc_id", "document", "label"} < columns.keys()
    assert set(columns["label"]) == {0.0, 1.0, 2.0, 3.0}
    assert set(log["unlabelled"]["label"]) == {None}
    assert log["unlabelled"].keys() == columns.keys()
    assert 15 <= len(columns["query"]) / 84 <= 20
    pairs = list(zip(columns["query"], columns["doc_id"], strict=True))
    assert len(set(pairs)) == len(pairs)


def test_clicks_tell_what_text_does_not(log: dict[str, dict[str, list[Any]]]) -> None:
    documents = sorted({text for rows in log.values() for text in rows["document"]})
    features = TextFeatures.fit(documents)
    brought = [name for name in log["train"] if name.startswith("f_")]
    text = {s: features.transform(rows["query"], rows["document"]) for s, rows in log.items()}
    full = {s: np.column_stack([text[s], *(log[s][n] for n in brought)]) for s in log}
    label = {split: np.array(rows["label"], float) for split, rows in log.items()}

    def auc(table: dict[str, np.ndarray], names: list[str]) -> float:
        params = {"num_rounds": 150, "learning_rate": 0.08}
        ranker = GbdtRanker("regression", params)
        ranker.fit(table["train"], label["train"], np.array(log["train"]["query"]), names=names)
        return float(roc_auc_score(label["test"] >= 2, ranker.predict(table["test"])))

    with_clicks, without = auc(full, features.names + brought), auc(text, features.names)
    assert 0.8 < with_clicks < 0.93
    assert without < with_clicks - 0.03


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="language 'fr'"):
        generate(tmp_path, language="fr")
    with pytest.raises(UserError, match="20 or more"):
        generate(tmp_path, queries=3)
