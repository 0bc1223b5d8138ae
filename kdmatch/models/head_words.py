"""The word that names the thing, and how the other side covers it."""

from typing import Any

from keras import ops

from kdmatch.data.roles import Role


def head_word(roles: Any, mask: Any) -> Any:
    """Where the word stands that names the thing: *bar* in *36 in. towel bar for baths*.

    The last that `Role.NAMES`, before the text `Role.ENDS` behind such a word; what
    stands right behind a number does not end it (*36 in.*, *1,000*).

    Args:
        roles: int `(batch, words)`.
        mask: bool `(batch, words)`.

    Returns:
        float `(batch, words)`: a single 1 in each row, or none.

    >>> import numpy as np
    >>> roles = np.array([[2, 3, 0, 0, 3, 0]])  # 36 in towel bar for baths
    >>> ops.convert_to_numpy(head_word(roles, roles >= 0)).tolist()
    [[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]]
    """
    roles = ops.where(mask, roles, int(Role.PASSES))
    # One before the first, so that 0 may stand for "nowhere".
    place = ops.cumsum(ops.ones_like(roles), axis=1)
    far = 1 + ops.max(place, axis=1, keepdims=True)
    names = ops.equal(roles, int(Role.NAMES))
    counted = ops.pad(ops.equal(roles, int(Role.NUMBER))[:, :-1], ((0, 0), (1, 0)))
    ends = ops.logical_and(ops.equal(roles, int(Role.ENDS)), ops.logical_not(counted))
    first = ops.min(ops.where(names, place, far), axis=1, keepdims=True)
    ends = ops.logical_and(ends, ops.greater(place, first))
    end = ops.min(ops.where(ends, place, far), axis=1, keepdims=True)
    inside = ops.where(ops.logical_and(names, ops.less(place, end)), place, 0)
    last = ops.max(inside, axis=1, keepdims=True)
    return ops.cast(ops.logical_and(ops.equal(place, last), names), "float32")


def head_features(
    own: dict[str, Any], other: dict[str, Any], alike: Any, best: Any, best_of_document: Any
) -> Any:
    """How the sides' heads are covered, alike, rare, and where: `(batch, 3 · ways + 4)`."""
    head, thing = (head_word(side["roles"], side["mask"]) for side in (own, other))
    # (batch, ways, document words): how alike each is to the query's head
    asked = ops.sum(alike * ops.expand_dims(head, (1, 3)), axis=2)
    covered = [
        ops.sum(best * ops.expand_dims(head, 1), axis=2),
        ops.sum(best_of_document * ops.expand_dims(thing, 1), axis=2),
        ops.sum(asked * ops.expand_dims(thing, 1), axis=2),
    ]
    place = other["place"]
    at = ops.sum(place * thing, axis=1)
    found = ops.max(place * asked[:, 1], axis=1)
    rare = [ops.sum(side["rare"] * one, axis=1) for side, one in ((own, head), (other, thing))]
    # Half way where there is nothing to compare.
    behind = ops.where(ops.greater(found * at, 0.0), 0.5 + (found - at) / 2.0, 0.5)
    return ops.concatenate([*covered, ops.stack([*rare, at, behind], axis=1)], axis=1)
