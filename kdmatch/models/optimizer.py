"""The optimizer of every training here."""

from typing import Any

import keras


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
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - rising),
        warmup_target=learning_rate,
        warmup_steps=rising,
    )
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
