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
    sides = [query, document]
    reals = [side["mask"].float() for side in sides]
    weights = [
        torch.stack([real, real * side["rarity"]], 1)
        for real, side in zip(reals, sides, strict=True)
    ]
    shares = [one / one.sum(2, keepdim=True).clamp_min(1e-6) for one in weights]
    alike = [
        (query[name][:, :, None] == document[name][:, None, :]).float() for name in ("ids", "stems")
    ]
    alike += [
        unit(query[name]) @ unit(document[name]).transpose(1, 2) for name in ("spelling", "vectors")
    ]
    both = reals[0][:, None, :, None] * reals[1][:, None, None, :]
    table = torch.stack(alike, 1).clamp_min(0.0) * both
    features = [
        _covered(table.amax(axis), weights[index], shares[index])
        for index, axis in ((0, 3), (1, 2))
    ]
    for name in ("spelling", "vectors"):
        a, b = (unit(own @ side[name]) for own, side in zip(shares, sides, strict=True))
        features.append((a * b).sum(-1))
    features.append(torch.stack([(1.0 + real.sum(1)).log() / 4.0 for real in reals], 1))
    return 4.0 * torch.cat(features, 1) - 2.0


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 along the last axis; 0 stays 0."""
    return vectors * vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).rsqrt()


def _covered(best: Tensor, weights: Tensor, shares: Tensor) -> Tensor:
    real, rare = weights[:, :1], weights[:, 1:]
    least = (best * real + (1.0 - real)).amin(2) * real.amax(2)
    missed = (rare * (1.0 - best)).amax(2)
    means = best @ shares.transpose(1, 2)
    return torch.cat([means, least[..., None], missed[..., None]], 2).flatten(1)
