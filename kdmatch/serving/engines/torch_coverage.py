"""`Coverage` in PyTorch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Spelling(nn.Module):
    """Spelling of the word that a token belongs to."""

    vectors: Tensor
    continues: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("vectors", weights["spelling/vectors"])
        self.register_buffer("continues", weights["spelling/continues"].long())

    def forward(self, ids: Tensor, sides: Tensor | None = None) -> Tensor:
        vectors = self.vectors[ids]
        if sides is None:
            return vectors
        word = 2 * (1 - self.continues[ids]).cumsum(1) + sides
        return (word[:, :, None] == word[:, None, :]).float() @ vectors


def coverage(query: dict[str, Any], document: dict[str, Any]) -> Tensor:
    """The features of `kdmatch.models.coverage.Coverage`, from the same two dicts."""
    sides = [{**side, "real": side["mask"].float()} for side in (query, document)]
    for side in sides:
        side["rare"] = side["real"] * side["rarity"]
    own, other = sides
    both = own["real"][:, :, None] * other["real"][:, None, :]
    features: list[Tensor] = []
    for name in ("ids", "stems"):
        alike = (own[name][:, :, None] == other[name][:, None, :]).float()
        features += _covered(alike * both, sides)
    for name in ("spelling", "vectors"):
        cosine = unit(own[name]) @ unit(other[name]).transpose(1, 2)
        features += _covered(cosine.clamp_min(0.0) * both, sides)
    for name in ("spelling", "vectors"):
        for weight in ("real", "rare"):
            a, b = (unit((side[name] * side[weight][:, :, None]).sum(1)) for side in sides)
            features.append((a * b).sum(-1))
    features += [(1.0 + side["real"].sum(1)).log() / 4.0 for side in sides]
    return 4.0 * torch.stack(features, -1) - 2.0


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 along the last axis; 0 stays 0."""
    return vectors * vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).rsqrt()


def _covered(alike: Tensor, sides: list[dict[str, Any]]) -> list[Tensor]:
    features: list[Tensor] = []
    for side, axis in zip(sides, (2, 1), strict=True):
        real, rare = side["real"], side["rare"]
        best = alike.amax(axis)
        features += [
            (best * weight).sum(1) / weight.sum(1).clamp_min(1e-6) for weight in (real, rare)
        ]
        features.append((best * real + (1.0 - real)).amin(1) * real.amax(1))
        features.append((rare * (1.0 - best)).amax(1))
    return features
