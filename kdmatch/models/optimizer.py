"""The optimizer of every training here."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("kdmatch")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A line from 0 to the peak, then half a cosine back to 0.

    Keras' own `CosineDecay` branches in the graph, and TensorFlow never frees
    a graph with a branch: a search would grow with every trial.

    Args:
        peak: float.
        rising, falling: int. Steps up and down.

    >>> [round(float(WarmupCosine(1.0, 2, 4)(step)), 3) for step in (0, 1, 2, 4, 6, 9)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """

    def __init__(self, peak: float, rising: int, falling: int) -> None:
        super().__init__()
        self.peak, self.rising, self.falling = peak, rising, falling

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        fallen = ops.clip((step - self.rising) / self.falling, 0.0, 1.0)
        down = 0.5 * (1.0 + ops.cos(math.pi * fallen))
        return self.peak * ops.where(step < self.rising, step / self.rising, down)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "rising": self.rising, "falling": self.falling}


def adamw(
    steps: int,
    learning_rate: float,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    average: float = 0.0,
) -> keras.optimizers.Optimizer:
    """AdamW with linear warm-up, then a cosine to 0.

    Args:
        steps: int. Updates in all.
        learning_rate: float. Peak of the schedule.
        warmup: float. Share of the steps that rise to the peak.
        weight_decay: float. Of all weights but biases and norms.
        clip_norm: float. Largest norm of the whole gradient.
        average: float. Momentum of the moving average of the weights; 0 keeps none.

    Reference:
        Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """
    rising = max(1, round(warmup * steps))
    rate = WarmupCosine(learning_rate, rising, max(1, steps - rising))
    optimizer: Any = keras.optimizers.AdamW(
        rate,
        weight_decay=weight_decay,
        global_clipnorm=clip_norm,
        beta_2=0.98,
        use_ema=average > 0,
        ema_momentum=average,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "norm"])
    return optimizer
