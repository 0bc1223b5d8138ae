"""The choices of a distillation by name, for the Distiller and for configs."""

from typing import Literal

HardLoss = Literal["hinge", "pointwise", "both"]
Scaling = Literal["exp", "none"]
SoftLoss = Literal["mse", "margin_mse", "ranknet", "listwise"]


def soft_by_query(soft: SoftLoss, alpha: float) -> bool:
    """Whether the soft loss compares rows of one query, so that batches should hold some."""
    return soft != "mse" and alpha > 0
