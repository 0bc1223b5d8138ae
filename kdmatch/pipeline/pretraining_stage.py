"""A pre-trained encoder for the teacher, where there is none to be had."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdmatch.data.ids import PairIds
from kdmatch.errors import UserError
from kdmatch.models.bert import BertMatcher
from kdmatch.models.pretrained import spread_segments
from kdmatch.models.pretraining import pretrain
from kdmatch.models.registry import save_matcher
from kdmatch.pipeline.config.models import ModelConfig
from kdmatch.pipeline.config.run import Config
from kdmatch.pipeline.console import Console
from kdmatch.pipeline.data_stage import corpus_texts
from kdmatch.pipeline.text_stage import load_ids
from kdmatch.pipeline.training_stage import matmul_precision, start_matcher

_BATCH = 4096


def pretrain_encoder(config: Config, root: Path, folder: Path, console: Console) -> dict[str, Any]:
    """Write a matcher of the teacher's shape whose encoder can restore hidden tokens.

    It reads the training pairs and every text that the vocabulary was made
    from: no query and no label of valid or test.

    Raises:
        UserError: if the teacher's preset is not a BERT's.
    """
    settings = config.pretraining
    assert settings is not None
    keras.utils.set_random_seed(config.seed)
    teacher = config.teacher
    model = ModelConfig(preset=teacher.preset, arguments=teacher.arguments, start=settings.start)
    matcher = start_matcher(model, root / "text")
    if not isinstance(matcher, BertMatcher):
        raise UserError(f"pretraining: the teacher's preset {teacher.preset} is not a BERT's")
    from kdmatch.text.encoder import load_encoder

    encoder = load_encoder(root / "text" / "wordpiece")
    texts = islice(corpus_texts(config, root / "data"), settings.max_texts)
    pairs = load_ids(root / "text" / "train", "wordpiece")
    ids = PairIds.concatenate([pairs, _single_texts(encoder, texts)])
    tokens = {name: encoder.vocabulary.index(name) for name in ("[CLS]", "[SEP]", "[MASK]")}
    fields = settings.model_dump(exclude={"start", "max_texts", "backup_every", "precision"})
    with (
        console.progress("pretraining", settings.steps) as advance,
        matmul_precision(settings.precision),
    ):
        loss = pretrain(
            matcher,
            ids,
            tokens,
            folder,
            epoch_steps=settings.backup_every,
            seed=config.seed,
            advance=advance,
            **fields,
        )
    # Pre-training tells the sides apart and nothing of matches.
    segments = matcher.encoder.get_layer("segment_embedding").embeddings
    spread_segments(matcher.encoder, keras.ops.convert_to_numpy(segments)[:2])
    save_matcher(matcher, folder)
    return {"texts": len(ids), "held_out_loss": round(loss, 4)}


def _single_texts(encoder: Any, texts: Iterator[str]) -> PairIds:
    """`[CLS] text [SEP]` of each text that has a token."""
    import tensorflow as tf

    cls, sep = encoder.vocabulary.index("[CLS]"), encoder.vocabulary.index("[SEP]")
    values, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    while batch := list(islice(texts, _BATCH)):
        tokens = encoder.tokenize(tf.constant(batch))[:, : encoder.max_tokens - 2]
        tokens = tf.ragged.boolean_mask(tokens, tokens.row_lengths() > 0)
        edge = tf.ones([tokens.nrows(), 1], tf.int32)
        rows = tf.concat([edge * cls, tokens, edge * sep], axis=1)
        values.append(rows.flat_values.numpy())
        lengths.append(rows.row_lengths().numpy().astype(np.int32))
    flat, sizes = np.concatenate(values), np.concatenate(lengths)
    names = ("token_ids", "segment_ids")
    return PairIds(
        dict(zip(names, (flat, np.zeros_like(flat)), strict=True)), dict.fromkeys(names, sizes)
    )
