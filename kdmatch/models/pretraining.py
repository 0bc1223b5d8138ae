"""Masked-language-model pre-training of a BERT matcher's encoder.

For languages and domains that have no pre-trained encoder at hand.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdmatch.data.ids import PairIds
from kdmatch.models.bert import BertMatcher
from kdmatch.models.optimizer import adamw

_WINDOW = 32
_PAD = 0


class MaskedBatches(keras.utils.PyDataset):
    """Endless batches of texts with some tokens hidden.

    `share` of a text's tokens, one at least, are to be predicted: 80 % of
    them are replaced by `[MASK]`, 10 % by a random token, 10 % stay. Texts of
    a batch are alike in length. Batch `b` of epoch `e` is a function of the
    seed alone.

    Args:
        ids: PairIds with `token_ids` and `segment_ids`.
        tokens: mapping of `[CLS]`, `[SEP]`, `[MASK]` to their ids.
        vocabulary_size: int.
        batch_size: int. Texts of a batch.
        steps: int. Batches of an epoch.
        share: float. Of the tokens that are hidden.
        seed: int.
        first_epoch: int. Epoch to begin with when a run resumes.
        repeat: bool. Every epoch is the first again, for validation.

    Each item is `(inputs, targets, weights)`: KerasHub's `token_ids`,
    `segment_ids`, `padding_mask` `(batch, length)` and `mask_positions`
    `(batch, hidden)`, the hidden ids, and 1 where a position is real.

    Reference:
        Devlin et al., "BERT: pre-training of deep bidirectional transformers
        for language understanding", 2019.
    """

    def __init__(
        self,
        ids: PairIds,
        tokens: Mapping[str, int],
        vocabulary_size: int,
        batch_size: int = 64,
        steps: int = 100,
        share: float = 0.15,
        seed: int = 0,
        first_epoch: int = 0,
        repeat: bool = False,
    ) -> None:
        super().__init__()
        self._repeat = repeat
        self._ids, self._size, self._steps, self._share = ids, batch_size, steps, share
        self._special = np.array([_PAD, tokens["[CLS]"], tokens["[SEP]"]])
        self._mask, self._vocabulary_size = tokens["[MASK]"], vocabulary_size
        self._seed, self._epoch = seed, first_epoch

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        number = self._epoch * self._steps + index
        generator = np.random.default_rng([self._seed, 1, number])
        inputs = self._ids.pad(self._rows(number))
        original = inputs["token_ids"]
        candidate = ~np.isin(original, self._special)
        wanted = np.maximum(1, np.round(self._share * candidate.sum(axis=1))).astype(int)
        order = np.argsort(np.where(candidate, generator.random(original.shape), 2.0), axis=1)
        positions = order[:, : wanted.max()]
        real = np.arange(wanted.max()) < wanted[:, None]
        real &= np.take_along_axis(candidate, positions, axis=1)
        positions = np.where(real, positions, 0)
        targets = np.take_along_axis(original, positions, axis=1)
        fate = generator.random(positions.shape)
        other = generator.integers(1, self._vocabulary_size, positions.shape)
        shown = np.where(fate < 0.8, self._mask, np.where(fate < 0.9, other, targets))
        hidden = original.copy()
        row = np.broadcast_to(np.arange(len(original))[:, None], positions.shape)
        hidden[row[real], positions[real]] = shown[real]
        return (
            {
                "token_ids": hidden,
                "segment_ids": inputs["segment_ids"],
                "padding_mask": (original != _PAD).astype(np.int32),
                "mask_positions": positions.astype(np.int32),
            },
            targets.astype(np.int32),
            real.astype(np.float32),
        )

    def on_epoch_end(self) -> None:
        self._epoch += not self._repeat

    def _rows(self, number: int) -> np.ndarray:
        """Texts of one batch: a window of the shuffled texts, sorted by length, cut.

        Those that are repeated are all texts, by length.
        """
        if self._repeat:
            batch = slice(number * self._size, (number + 1) * self._size)
            return np.argsort(self._ids.sizes, kind="stable")[batch]
        window, slot = divmod(number, _WINDOW)
        length = min(_WINDOW * self._size, len(self._ids))
        which, offset = divmod(window * length, len(self._ids))
        shuffled = np.random.default_rng([self._seed, which]).permutation(len(self._ids))
        rows = np.resize(np.roll(shuffled, -offset), _WINDOW * self._size)
        batches = rows[np.argsort(self._ids.sizes[rows], kind="stable")].reshape(_WINDOW, -1)
        return batches[np.random.default_rng([self._seed, 2, window]).permutation(_WINDOW)[slot]]


def pretrain(
    matcher: BertMatcher,
    ids: PairIds,
    tokens: Mapping[str, int],
    folder: Path,
    *,
    steps: int,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
    warmup: float = 0.05,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    epoch_steps: int = 500,
    seed: int = 0,
    advance: Callable[[int, str], None] | None = None,
) -> float:
    """Train the matcher's encoder to restore hidden tokens; killed, it goes on where it was.

    Args:
        matcher: BertMatcher; its head is left alone.
        ids: PairIds of the texts; one in 50, at most 2,000, are held out.
        tokens: mapping of the special tokens to their ids.
        folder: Path for `history.csv` and the backup.
        steps: int. Updates in all.
        batch_size, learning_rate, warmup, weight_decay, clip_norm: of AdamW with
            a cosine to 0; warm-up is a share of the steps.
        epoch_steps: int. Steps between backups, about.
        seed: int.
        advance: callable of (steps done, message).

    Returns:
        cross-entropy of the held-out texts' hidden tokens, in nats.
    """
    folder.mkdir(parents=True, exist_ok=True)
    epochs = max(1, round(steps / epoch_steps))
    length = max(1, steps // epochs)
    model = _masked_language_model(matcher.encoder)
    model.compile(
        optimizer=adamw(length * epochs, learning_rate, warmup, weight_decay, clip_norm),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        # XLA would compile anew for every width of a batch.
        jit_compile="auto" if keras.backend.backend() != "tensorflow" else False,
    )
    held_out = np.random.default_rng(seed).permutation(len(ids))[: min(2000, len(ids) // 50 + 1)]
    learned = np.setdiff1d(np.arange(len(ids)), held_out)
    size = matcher.encoder.vocabulary_size
    check = MaskedBatches(
        ids.take(held_out),
        tokens,
        size,
        batch_size,
        -(-len(held_out) // batch_size),
        seed=seed,
        repeat=True,
    )
    batches = MaskedBatches(
        ids.take(learned), tokens, size, batch_size, length, seed=seed, first_epoch=_begun(folder)
    )
    callbacks = [
        keras.callbacks.CSVLogger(str(folder / "history.csv"), append=True),
        keras.callbacks.BackupAndRestore(str(folder / "backup"), double_checkpoint=True),
        _Seeds(seed),
    ]
    if advance is not None:
        callbacks.append(_Steps(advance, length))
    history = model.fit(
        _for_fit(batches),
        validation_data=_for_fit(check),
        validation_steps=len(check),
        steps_per_epoch=length,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    return float(history.history["val_loss"][-1])


def _masked_language_model(encoder: keras.Model) -> keras.Model:
    """Logits of the hidden tokens.

    KerasHub's own task model would do, but its `fit` needs TensorFlow or Grain.
    """
    from keras_hub.layers import MaskedLMHead

    positions = keras.Input((None,), dtype="int32", name="mask_positions")
    head = MaskedLMHead(
        vocabulary_size=encoder.vocabulary_size,
        token_embedding=encoder.token_embedding,
        intermediate_activation="gelu",
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name="mlm_head",
    )
    hidden = encoder(encoder.input)["sequence_output"]
    inputs = {**encoder.input, "mask_positions": positions}
    return keras.Model(inputs, head(hidden, mask_positions=positions))


def _begun(folder: Path) -> int:
    """The epoch that Keras' backup will go on with."""
    kept = folder / "backup" / "training_metadata.json"
    return int(json.loads(kept.read_text("utf-8"))["epoch"]) if kept.is_file() else 0


def _for_fit(batches: MaskedBatches) -> Any:
    if keras.backend.backend() != "tensorflow":
        return batches
    from kdmatch.data.tf_input import as_tf_dataset

    return as_tf_dataset(batches)


class _Seeds(keras.callbacks.Callback):
    """Dropout as a function of the epoch: Keras' backup does not keep its seeds."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        generators = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for number, state in enumerate(generators):
            state.assign(np.array([self._seed + number, epoch << 16], state.dtype))


class _Steps(keras.callbacks.Callback):
    def __init__(self, advance: Callable[[int, str], None], length: int) -> None:
        super().__init__()
        self._advance, self._length, self._epoch = advance, length, 0
        self._message = ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        done = self._epoch * self._length + batch + 1
        if done % 100 == 0:
            self._message = f"loss {float((logs or {}).get('loss', float('nan'))):.3f}"
        self._advance(done, self._message)
