"""Masked-language-model pre-training: what is hidden, what is learnt, and going on after a kill."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kdmatch.data.ids import PairIds
from kdmatch.models.bert import BertMatcher
from kdmatch.models.pretraining import MaskedBatches, pretrain

TOKENS = {"[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
SIZE = 40


def texts(count: int = 1600) -> PairIds:
    """`[CLS] n n+1 n+2 … [SEP]`: each hidden token follows from its neighbours."""
    generator = np.random.default_rng(0)
    rows = [
        [2, *(5 + (start + np.arange(length)) % (SIZE - 5)), 3]
        for start, length in zip(
            generator.integers(0, SIZE, count), generator.integers(1, 14, count), strict=True
        )
    ]
    flat = np.concatenate(rows).astype(np.int32)
    lengths = np.array([len(row) for row in rows], np.int32)
    return PairIds(
        {"token_ids": flat, "segment_ids": np.zeros_like(flat)},
        {"token_ids": lengths, "segment_ids": lengths},
    )


def matcher() -> BertMatcher:
    keras.utils.set_random_seed(0)
    return BertMatcher(
        SIZE, num_layers=1, num_heads=2, hidden_dim=32, dropout=0.1, max_sequence_length=32
    )


def test_what_is_hidden() -> None:
    batches = MaskedBatches(texts(), TOKENS, SIZE, batch_size=50, steps=40)
    hidden = masked = tokens = 0
    for index in range(len(batches)):
        inputs, targets, weights = batches[index]
        shown, positions = inputs["token_ids"], inputs["mask_positions"]
        real = weights > 0
        assert (weights.sum(axis=1) >= 1).all()
        assert not np.isin(targets[real], [0, 2, 3]).any()
        for row, places in enumerate(positions):
            assert len(set(places[real[row]])) == real[row].sum()
        restored = shown.copy()
        rows = np.nonzero(real)[0]
        restored[rows, positions[real]] = targets[real]
        steps = np.diff(restored[:, 1:], axis=1)[(restored[:, 2:] > 4) & (restored[:, 1:-1] > 4)]
        assert np.isin(steps, [1, 1 - (SIZE - 5)]).all()
        hidden += real.sum()
        masked += (np.take_along_axis(shown, positions, 1)[real] == TOKENS["[MASK]"]).sum()
        tokens += (restored > 4).sum()
    assert hidden / tokens == pytest.approx(0.15, abs=0.04)
    assert masked / hidden == pytest.approx(0.8, abs=0.03)


def test_a_batch_is_a_function_of_its_number() -> None:
    one, two = (MaskedBatches(texts(), TOKENS, SIZE, 20, 7, seed=5) for _ in range(2))
    for _ in range(2):
        two.on_epoch_end()
    later = MaskedBatches(texts(), TOKENS, SIZE, 20, 7, seed=5, first_epoch=2)
    assert (later[3][0]["token_ids"] == two[3][0]["token_ids"]).all()
    assert (
        one[3][0]["token_ids"].shape != two[3][0]["token_ids"].shape
        or (one[3][0]["token_ids"] != two[3][0]["token_ids"]).any()
    )


def train(model: BertMatcher, folder: Path, steps: int, stop_at: int = 0) -> float:
    def advance(done: int, message: str) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    return pretrain(
        model,
        texts(),
        TOKENS,
        folder,
        steps=steps,
        batch_size=32,
        learning_rate=1e-2,
        epoch_steps=steps // 3,
        advance=advance,
    )


def test_all_held_out_texts_are_read_once() -> None:
    lengths = np.arange(1, 11, dtype=np.int32) + 2
    ids = PairIds(
        {name: np.full(lengths.sum(), 9, np.int32) for name in ("token_ids", "segment_ids")},
        dict.fromkeys(("token_ids", "segment_ids"), lengths),
    )
    tokens = {"[CLS]": 1, "[SEP]": 2, "[MASK]": 3}
    batches = MaskedBatches(ids, tokens, 20, 4, 3, repeat=True)
    seen = [batches[i][0]["padding_mask"].sum(axis=1).tolist() for i in range(len(batches))]
    assert seen == [[3, 4, 5, 6], [7, 8, 9, 10], [11, 12]]


def test_it_learns(tmp_path: Path) -> None:
    assert train(matcher(), tmp_path, 300) < 0.7 * np.log(SIZE)
    history = (tmp_path / "history.csv").read_text("utf-8").splitlines()
    assert {"epoch", "loss", "val_loss"} <= set(history[0].split(","))
    assert len(history) == 4


def test_killed_it_goes_on_and_ends_alike(tmp_path: Path) -> None:
    whole = matcher()
    loss = train(whole, tmp_path / "whole", 30)
    with pytest.raises(KeyboardInterrupt):
        train(matcher(), tmp_path / "killed", 30, stop_at=25)
    again = matcher()
    assert train(again, tmp_path / "killed", 30) == pytest.approx(loss, abs=1e-4)
    for own, other in zip(again.encoder.weights, whole.encoder.weights, strict=True):
        own, other = (keras.ops.convert_to_numpy(weight) for weight in (own, other))
        assert np.allclose(own, other, atol=1e-4)
    assert not (tmp_path / "killed" / "backup" / "latest.weights.h5").exists()
