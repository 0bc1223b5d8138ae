"""A small student, its Distiller, and ways to train it in no time."""

import keras
import numpy as np

from kdmatch.data.batches import ScoredPairs, TrainingBatches
from kdmatch.distillation.distiller import Distiller
from kdmatch.models.textcnn import TextCnnMatcher

PARTS = {"loss", "soft_loss", "hard_loss", "relevance_loss"}


def student(dropout: float = 0.1, seed: int = 0) -> TextCnnMatcher:
    keras.utils.set_random_seed(seed)
    return TextCnnMatcher(
        vocabulary_size=40, embedding_dim=8, filters=4, widths=(1, 2), head_dim=8, dropout=dropout
    )


def compiled(distiller: Distiller, **arguments) -> Distiller:
    # Compiling ahead for each of many shapes would take longer than the tests.
    distiller.compile(optimizer=keras.optimizers.Adam(5e-3), **{"jit_compile": False, **arguments})
    return distiller


def train(distiller: Distiller, batches: TrainingBatches, **arguments) -> dict[str, list[float]]:
    return distiller.fit(
        batches.for_fit(), steps_per_epoch=len(batches), shuffle=False, verbose=0, **arguments
    ).history


def whole(pairs: ScoredPairs) -> tuple:
    return pairs.batch(np.arange(len(pairs)))


def number(tensor) -> float:
    return float(keras.ops.convert_to_numpy(tensor))
