"""The three losses that a student learns from, and how they are scaled.

All take tensors of any Keras backend. A target that is NaN says "no such
knowledge for this row", and the row contributes nothing.
"""

from typing import Any

from keras import ops


def masked_mse(logit: Any, target: Any, weight: Any) -> Any:
    """`Σ w (logit − target)² / Σ w` over the rows whose target is not NaN.

    The soft loss with the teacher's standardised logit as target, the
    relevance loss with the GBDT's standardised score, and the pointwise hard
    loss with the standardised label.

    Args:
        logit: float `(batch,)`. The student's last layer before tanh.
        target: float `(batch,)`, standardised on the training split; may be NaN.
        weight: float `(batch,)`, not negative.

    Returns:
        float scalar, 0 where no row has a target.

    Reference:
        Ba and Caruana, "Do deep nets really need to be deep?", 2014.

    >>> import numpy as np
    >>> target = np.array([1.0, np.nan], "float32")
    >>> float(masked_mse(np.array([0.5, 9.0], "float32"), target, np.ones(2, "float32")))
    0.25
    """
    known = ops.logical_not(ops.isnan(target))
    weight = ops.where(known, weight, 0.0)
    squared = ops.square(logit - ops.where(known, target, 0.0))
    return weighted_mean(squared, weight)


def weighted_mean(values: Any, weight: Any) -> Any:
    """`Σ w v / Σ w` over all entries of two tensors of one shape, 0 where all weights are 0."""
    total = ops.sum(weight)
    return ops.sum(weight * values) / ops.where(total > 0, total, ops.ones_like(total))


def grouped_hinge(score: Any, label: Any, group: Any, weight: Any, margin: float = 0.7) -> Any:
    """`mean(max(0, margin − (s⁺ − s⁻)))` over pairs of one query with unlike labels.

    Args:
        score: float `(batch,)`, in (-1, 1).
        label: float `(batch,)`; only its order counts; NaN rows form no pair.
        group: int `(batch,)`. Query of each row.
        weight: float `(batch,)`. A pair weighs the product of its rows' weights.
        margin: float. Difference from which a pair costs nothing.

    Returns:
        float scalar, 0 where no query has two unlike labels.

    Reference:
        Herbrich et al., "Large margin rank boundaries for ordinal
        regression", 2000.

    >>> import numpy as np
    >>> score, label = np.array([0.5, 0.1], "float32"), np.array([1.0, 0.0], "float32")
    >>> round(float(grouped_hinge(score, label, np.zeros(2, int), np.ones(2, "float32"))), 3)
    0.3
    """
    # A comparison with NaN is False on every backend, so unlabelled rows drop out here.
    above = ops.greater(label[:, None], label[None, :])
    same = ops.equal(group[:, None], group[None, :])
    pairs = ops.cast(ops.logical_and(above, same), score.dtype)
    pairs = pairs * weight[:, None] * weight[None, :]
    cost = ops.relu(margin - (score[:, None] - score[None, :]))
    return weighted_mean(cost, pairs)


def exponential_scaling(loss: Any, bound: float = 3.0) -> Any:
    """`exp(L) − 1`, continued by its tangent beyond `bound`.

    Its slope `exp(L)` makes large losses fall faster. Unbounded it overflows;
    cut off it would have no slope, so beyond `bound` it goes on as a line.

    Args:
        loss: float scalar, not negative.
        bound: float. Largest exponent.

    >>> import numpy as np
    >>> round(float(exponential_scaling(np.float32(1.0))), 4)    # e − 1
    1.7183
    >>> round(float(exponential_scaling(np.float32(5.0), bound=0.0)), 4)
    5.0
    """
    inside = ops.minimum(loss, bound)
    return ops.exp(inside) - 1.0 + ops.exp(ops.cast(bound, loss.dtype)) * (loss - inside)
