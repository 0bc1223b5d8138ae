"""The choices of a distillation by name, for the Distiller and for configs."""

from typing import Literal

HardLoss = Literal["hinge", "pointwise", "both"]
Scaling = Literal["exp", "none"]
SoftLoss = Literal["mse", "margin_mse", "ranknet", "listwise"]
