"""`Coverage` in PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdmatch.data.roles import Role


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
    own, other = _Side(query), _Side(document)
    alike = [
        (query[name][:, :, None] == document[name][:, None, :]).float() for name in ("ids", "stems")
    ]
    alike += [
        unit(query[name]) @ unit(document[name]).transpose(1, 2) for name in ("spelling", "vectors")
    ]
    both = own.real[:, None, :, None] * other.real[:, None, None, :]
    table = torch.stack(alike, 1).clamp_min(0.0) * both
    best, best_of_document = table.amax(3), table.amax(2)
    features = [
        own.covered(best),
        other.covered(best_of_document),
        own.rarities(),
        other.rarities(),
    ]
    for name in ("spelling", "vectors"):
        a, b = (
            unit(side.shares @ texts[name]) for side, texts in ((own, query), (other, document))
        )
        features.append((a * b).sum(-1))
    features += [own.runs(table[:, :2]), own.ends(best), other.places(best_of_document[:, 1])]
    heads = [
        _head(side["roles"].masked_fill(~side["mask"], Role.PASSES)) for side in (query, document)
    ]
    features.append(_heads(own, other, heads, table, best, best_of_document))
    return 4.0 * torch.cat(features, 1) - 2.0


class _Side:
    """The words of one side; each method gives features `(batch, …)`."""

    def __init__(self, side: dict[str, Any]) -> None:
        self.real = side["mask"].float()
        self.rare = self.real * side["rarity"]
        weights = torch.stack([self.real, self.rare], 1)
        self.total = weights.sum(2)
        self.shares = weights / self.total[:, :, None].clamp_min(1e-6)
        self.number = self.real.cumsum(1)

    def covered(self, best: Tensor) -> Tensor:
        real, rare = self.real[:, None], self.rare[:, None]
        found = rare * best
        ends = [
            (best * real + (1.0 - real)).amin(2) * real.amax(2),
            (rare - found).amax(2),
            found.amax(2),
            (1.0 + found.sum(2)).log() / 2.0,
        ]
        return torch.cat([best @ self.shares.transpose(1, 2), torch.stack(ends, 2)], 2).flatten(1)

    def rarities(self) -> Tensor:
        words, rare = self.total.unbind(1)
        logs = (1.0 + self.total).log() / 4.0
        least = (self.rare + (1.0 - self.real)).amin(1)
        most = self.rare.amax(1)
        return torch.stack([rare / words.clamp_min(1.0), least, most, logs[:, 1], logs[:, 0]], 1)

    def runs(self, alike: Tensor) -> Tensor:
        real, rare, alike = (
            nn.functional.pad(one, pad)
            for one, pad in ((self.real, (0, 2)), (self.rare, (0, 2)), (alike, (0, 2, 0, 2)))
        )
        pair = alike[:, :, :-1, :-1] * alike[:, :, 1:, 1:]
        triple = pair[:, :, :-1, :-1] * alike[:, :, 2:, 2:]
        pairs = real[:, :-1] * real[:, 1:]
        weights = [pairs, pairs * (rare[:, :-1] + rare[:, 1:]), pairs[:, :-1] * real[:, 2:]]
        pair, triple = pair.amax(3), triple.amax(3)
        return torch.cat(
            [
                (run * weight[:, None]).sum(2) / weight.sum(1, keepdim=True).clamp_min(1e-6)
                for run, weight in zip((pair, pair, triple), weights, strict=True)
            ],
            1,
        )

    def ends(self, best: Tensor) -> Tensor:
        ends = [self.real * (self.number == at) for at in (1.0, self.total[:, :1])]
        return (best @ torch.stack(ends, 2)).flatten(1)

    def places(self, found: Tensor) -> Tensor:
        count = self.total[:, :1].clamp_min(1.0)
        place = self.number / count
        first = (place * found + 2.0 * (1.0 - found)).amin(1)
        last = (place * found).amax(1)
        between = ((last - first) * count[:, 0] + 1.0).clamp_min(1.0)
        return torch.stack([first.clamp_max(1.0), last, found.sum(1) / between], 1)


class Characters(nn.Module):
    """`CharacterCoverage` of two sides' words."""

    table: Tensor
    rarity: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("table", weights["characters/characters"].long())
        self.register_buffer("rarity", weights["characters/rarity"])

    def forward(self, sides: Sequence[Tensor]) -> Tensor:
        query, document = (self.table[side].flatten(1) for side in sides)
        same = (query[:, :, None] == document[:, None, :]) & (query != 0)[:, :, None]
        found = [same.any(axis).float()[:, None] for axis in (2, 1)]
        told = [{"rarity": self.rarity[one], "mask": one != 0} for one in (query, document)]
        both = zip(told, found, strict=True)
        return 4.0 * torch.cat([_Side(one).covered(best) for one, best in both], 1) - 2.0


def _head(roles: Tensor) -> Tensor:
    names, far = roles == Role.NAMES, roles.shape[1] + 1
    place = torch.arange(1, far).expand_as(roles)
    counted = nn.functional.pad(roles[:, :-1] == Role.NUMBER, (1, 0))
    first = place.masked_fill(~names, far).amin(1, keepdim=True)
    ends = (roles == Role.ENDS) & ~counted & (place > first)
    end = place.masked_fill(~ends, far).amin(1, keepdim=True)
    last = (place * (names & (place < end))).amax(1, keepdim=True)
    return ((place == last) & names).float()


def _heads(
    own: _Side,
    other: _Side,
    heads: Sequence[Tensor],
    table: Tensor,
    best: Tensor,
    best_of_document: Tensor,
) -> Tensor:
    head, thing = heads
    asked = (table * head[:, None, :, None]).sum(2)
    covered = [
        (best * head[:, None]).sum(2),
        (best_of_document * thing[:, None]).sum(2),
        (asked * thing[:, None]).sum(2),
    ]
    place = other.number / other.total[:, :1].clamp_min(1.0)
    at, found = (place * thing).sum(1), (place * asked[:, 1]).amax(1)
    behind = torch.where(found * at > 0, 0.5 + (found - at) / 2.0, 0.5)
    rare = [(own.rare * head).sum(1), (other.rare * thing).sum(1)]
    return torch.cat([*covered, torch.stack([*rare, at, behind], 1)], 1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 along the last axis; 0 stays 0."""
    return vectors * vectors.square().sum(-1, keepdim=True).clamp_min(1e-12).rsqrt()
