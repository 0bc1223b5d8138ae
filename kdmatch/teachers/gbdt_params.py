"""LightGBM parameters of the GBDT teacher: defaults, names, and what they may be."""

from collections.abc import Mapping
from typing import Any

import lightgbm

from kdmatch.errors import UserError, did_you_mean

DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.03,
    "num_leaves": 31,
    "min_data_in_leaf": 80,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "num_rounds": 1500,
    "early_stopping_rounds": 75,
    "hidden_share": 0.3,
    # More threads than free cores make LightGBM ten times slower, as each tree waits for all.
    "num_threads": 1,
}


def checked_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters over `DEFAULTS`, by the names that these have.

    Args:
        params: mapping. Any of LightGBM's, by any of its names for them, and `hidden_share`.

    Raises:
        UserError: if LightGBM has no such parameter, one is given twice, or a value cannot be.
    """
    found = _named(params)
    _check_values(found)
    return found


def _named(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by the names of `DEFAULTS`, whichever of LightGBM's aliases they came by."""
    names = {name: name for name in DEFAULTS}
    for name, aliases in lightgbm.basic._ConfigAliases._get_all_param_aliases().items():
        ours = next((one for one in (name, *aliases) if one in DEFAULTS), name)
        names |= dict.fromkeys((name, *aliases), ours)
    found: dict[str, Any] = {}
    for name, value in params.items():
        if name not in names:
            meant = did_you_mean(name, sorted(names), "see LightGBM's parameters")
            raise UserError(f"gbdt.params: LightGBM has no parameter {name!r}; {meant}")
        if names[name] in found:
            raise UserError(f"gbdt.params: {name} is {names[name]}, which is given too; keep one")
        found[names[name]] = value
    return found


def _check_values(params: Mapping[str, Any]) -> None:
    for name, value in params.items():
        if name in ("num_rounds", "early_stopping_rounds") and not (
            type(value) is int and value > 0
        ):
            raise UserError(f"gbdt.params.{name}: give a whole number above 0 (found {value!r})")
        if name == "hidden_share" and not (type(value) in (int, float) and 0 <= value < 1):
            raise UserError(
                f"gbdt.params.{name}: give a number from 0 to below 1 (found {value!r})"
            )
