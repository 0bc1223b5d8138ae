"""Soft losses that compare rows of one query: what a teacher says about order.

All take tensors of any Keras backend. Pairs and lists are formed within a
query; a row whose target is NaN is in none. Each is 0 where the student
agrees with the teacher and never negative, so that the exponential scaling
applies to them as to the MSE.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from kdmatch.distillation.losses import masked_mse, weighted_mean


def margin_mse(logit: Any, target: Any, group: Any, weight: Any, temperature: float = 1.0) -> Any:
    """`mean(((s_i − s_j) − (t_i − t_j))²)` over pairs of one query.

    As the MSE, but a query's own level is left free: only differences count.

    Args:
        logit: float `(batch,)`. The student's last layer before tanh.
        target: float `(batch,)`, the teacher's standardised logit; may be NaN.
        group: int `(batch,)`. Query of each row.
        weight: float `(batch,)`. A pair weighs the product of its rows' weights.
        temperature: float, without effect: a difference has no temperature.

    Returns:
        float scalar, 0 where no query has two rows with a target.

    Reference:
        Hofstätter et al., "Improving efficient neural ranking models with
        cross-architecture knowledge distillation", 2020.

    >>> import numpy as np
    >>> s, t = np.array([0.5, 0.0], "float32"), np.array([2.0, 0.5], "float32")
    >>> float(margin_mse(s, t, np.zeros(2, int), np.ones(2, "float32")))   # (0.5 − 1.5)²
    1.0
    """
    target, pairs = _pairs(target, group, weight)
    return weighted_mean(ops.square(_differences(logit) - _differences(target)), pairs)


def soft_ranknet(logit: Any, target: Any, group: Any, weight: Any, temperature: float = 1.0) -> Any:
    """`T² · mean(KL(σ((t_i − t_j) / T) ‖ σ((s_i − s_j) / T)))` over pairs of one query.

    The teacher says how probably i stands before j. It is RankNet's cross
    entropy less the entropy of the targets, a constant; `T²` keeps the size of
    the gradients when T changes.

    Args:
        logit, target, group, weight: as for `margin_mse`.
        temperature: float, positive. Above 1 near ties weigh less against
            clear orders.

    Returns:
        float scalar, 0 where no query has two rows with a target.

    Reference:
        Burges et al., "Learning to rank using gradient descent", 2005;
        Hinton et al., "Distilling the knowledge in a neural network", 2015.

    >>> import numpy as np
    >>> s, t = np.array([0.0, 0.0], "float32"), np.array([np.log(3.0), 0.0], "float32")
    >>> kl = soft_ranknet(s, t, np.zeros(2, int), np.ones(2, "float32"))
    >>> round(float(kl), 4)       # ¾ ln(¾ / ½) + ¼ ln(¼ / ½)
    0.1308
    """
    target, pairs = _pairs(target, group, weight)
    wanted, found = _differences(target) / temperature, _differences(logit) / temperature
    above = ops.sigmoid(wanted)
    # log σ(x) = −softplus(−x), which does not overflow.
    cost = above * (ops.softplus(-found) - ops.softplus(-wanted))
    cost = cost + (1.0 - above) * (ops.softplus(found) - ops.softplus(wanted))
    return temperature**2 * weighted_mean(cost, pairs)


def listwise_kl(logit: Any, target: Any, group: Any, weight: Any, temperature: float = 1.0) -> Any:
    """`T² · mean_q KL(softmax(t / T) ‖ softmax(s / T))` over the lists of the queries.

    Args:
        logit, target, group: as for `margin_mse`.
        weight: float `(batch,)`. A query weighs the mean weight of its rows.
        temperature: float, positive. Below 1 the top of the list counts more.

    Returns:
        float scalar, 0 where no query has two rows with a target.

    Reference:
        Cao et al., "Learning to rank: from pairwise approach to listwise
        approach", 2007; Hinton et al., 2015.

    >>> import numpy as np
    >>> s, t = np.array([0.0, 0.0], "float32"), np.array([np.log(3.0), 0.0], "float32")
    >>> round(float(listwise_kl(s, t, np.zeros(2, int), np.ones(2, "float32"))), 4)
    0.1308
    """
    known = ops.logical_not(ops.isnan(target))
    target = ops.where(known, target, 0.0)
    same = ops.cast(_same(known, group), logit.dtype)
    rows = ops.maximum(ops.sum(same, axis=1), 1.0)
    in_list = ops.cast(rows > 1.5, logit.dtype)
    log_wanted = _log_softmax(target / temperature, same)
    log_found = _log_softmax(logit / temperature, same)
    share = ops.sum(same * weight[None, :], axis=1) / rows
    # A list weighs the mean weight of its rows; each row of it brings its part of that.
    part = in_list * share / rows
    return temperature**2 * weighted_mean(
        rows * ops.exp(log_wanted) * (log_wanted - log_found), part
    )


def soft_loss(kind: str) -> Callable[[Any, Any, Any, Any, float], Any]:
    """The soft loss of a name of `SoftLoss`, called with logit, target, group, weight, T.

    >>> soft_loss("listwise").__name__
    'listwise_kl'
    """
    return {
        "mse": lambda logit, target, group, weight, temperature: masked_mse(logit, target, weight),
        "margin_mse": margin_mse,
        "ranknet": soft_ranknet,
        "listwise": listwise_kl,
    }[kind]


def _differences(values: Any) -> Any:
    return values[:, None] - values[None, :]


def _same(known: Any, group: Any) -> Any:
    together = ops.equal(group[:, None], group[None, :])
    return ops.logical_and(together, ops.logical_and(known[:, None], known[None, :]))


def _pairs(target: Any, group: Any, weight: Any) -> tuple[Any, Any]:
    """The target without NaN, and the weight of each ordered pair of unlike rows."""
    known = ops.logical_not(ops.isnan(target))
    pairs = ops.cast(_same(known, group), weight.dtype)
    pairs = pairs * weight[:, None] * weight[None, :]
    return ops.where(known, target, 0.0), pairs * (1.0 - _diagonal(pairs))


def _log_softmax(values: Any, same: Any) -> Any:
    """Log of each row's share within its list; a row in no list gets its own, 0."""
    inside = values[None, :] - 1e9 * (1.0 - ops.maximum(same, _diagonal(same)))
    return values - ops.logsumexp(inside, axis=1)


def _diagonal(matrix: Any) -> Any:
    """1 on the diagonal; `ops.eye` wants a size that is known before the batch is."""
    place = ops.cumsum(ops.ones_like(matrix[:, 0]))
    return ops.cast(ops.equal(place[:, None], place[None, :]), matrix.dtype)
