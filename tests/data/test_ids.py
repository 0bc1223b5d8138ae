"""Ragged ids, padded and kept."""

import numpy as np
import pytest

from kdmatch.data.ids import PairIds


def ids_of(rows: dict[str, list[list[int]]]) -> PairIds:
    return PairIds(
        {
            name: np.array([i for row in lists for i in row], np.int32)
            for name, lists in rows.items()
        },
        {name: np.array([len(row) for row in lists], np.int32) for name, lists in rows.items()},
    )


ROWS = {
    "token_ids": [[2, 7, 3, 8, 3], [2, 3, 3], [], [2, 9, 3, 9, 9, 9, 9, 9, 9, 3]],
    "segment_ids": [[0, 0, 0, 1, 1], [0, 0, 1], [], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]],
}


def unpad(padded: np.ndarray, lengths: list[int]) -> list[list[int]]:
    assert all((row[n:] == 0).all() for row, n in zip(padded, lengths, strict=True))
    return [row[:n].tolist() for row, n in zip(padded, lengths, strict=True)]


def test_rows_come_back_in_any_order_and_twice():
    ids = ids_of(ROWS)
    order = [3, 0, 0, 2]
    padded = ids.pad(order)
    for name, rows in ROWS.items():
        assert padded[name].dtype == np.int32
        assert unpad(padded[name], [len(rows[i]) for i in order]) == [rows[i] for i in order]
    assert padded["token_ids"].shape == padded["segment_ids"].shape == (4, 12)


def test_widths_are_few():
    lengths = range(1, 600)
    ids = ids_of({"query_ids": [[1] * n for n in lengths]})
    widths = {ids.pad([i])["query_ids"].shape[1] for i in range(512)}
    assert len(widths) < 20
    for i in (0, 511, 598):
        assert lengths[i] <= ids.pad([i])["query_ids"].shape[1]


def test_sides_are_padded_apart():
    ids = ids_of({"query_ids": [[1], [2, 3]], "document_ids": [[4] * 20, []]})
    padded = ids.pad([0, 1])
    assert padded["query_ids"].shape == (2, 8)
    assert padded["document_ids"].shape == (2, 20)
    assert ids.sizes.tolist() == [21, 2]
    assert ids_of(ROWS).sizes.tolist() == [5, 3, 0, 10]  # segments are parallel to tokens


def test_no_rows_and_no_tokens():
    ids = ids_of(ROWS)
    assert ids.pad([])["token_ids"].shape[0] == 0
    assert not ids_of({"query_ids": [[], []]}).pad([0, 1])["query_ids"].any()
    assert len(ids_of({"query_ids": []})) == 0


def test_save_and_load(tmp_path):
    ids_of(ROWS).save(tmp_path / "train.words.npz")
    loaded = PairIds.load(tmp_path / "train.words.npz")
    assert len(loaded) == 4
    for name, rows in ROWS.items():
        assert unpad(loaded.pad(range(4))[name], [len(row) for row in rows]) == rows
    assert [path.name for path in tmp_path.iterdir()] == ["train.words.npz"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "ids.npz"
    ids_of(ROWS).save(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        ids_of({"query_ids": [[1]]}).save(path)
    assert path.read_bytes() == before


def test_concatenate():
    both = PairIds.concatenate([ids_of(ROWS), ids_of(ROWS)])
    assert len(both) == 8
    lengths = [len(row) for row in ROWS["token_ids"]] * 2
    assert unpad(both.pad(range(8))["token_ids"], lengths) == ROWS["token_ids"] * 2
