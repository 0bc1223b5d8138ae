"""The matchers written in PyTorch, for comparison: forward only, weights from Keras."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdmatch.serving.engines.torch_coverage import Characters, Spelling, coverage, unit

Weights = Mapping[str, Tensor]
Ids = Mapping[str, Tensor]


def build(kind: str, config: Mapping[str, Any], weights: Weights) -> nn.Module:
    """The module of a matcher by its kind."""
    if kind in ("bert", "albert"):
        return Transformer(config, weights)
    return TextCnn(config, weights, attention=kind == "cnn_attention")


class Head(nn.Module):
    """Dense, tanh, dense, tanh."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.head, self.logit = _dense(weights, "head"), _dense(weights, "logit")

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(self.logit(torch.tanh(self.head(features))))[:, 0]


class Layer(nn.Module):
    """A post-norm transformer layer with one product for query, key and value."""

    def __init__(self, weights: Weights, name: str, heads: int) -> None:
        super().__init__()
        attention = f"{name}/self_attention_layer"
        kernels = [weights[f"{attention}/{part}/kernel"] for part in ("query", "key", "value")]
        biases = [weights[f"{attention}/{part}/bias"] for part in ("query", "key", "value")]
        hidden = kernels[0].shape[0]
        self.heads = heads
        self.qkv = _linear(
            torch.cat([one.reshape(hidden, -1) for one in kernels], 1),
            torch.cat([one.reshape(-1) for one in biases]),
        )
        out = weights[f"{attention}/attention_output/kernel"].reshape(-1, hidden)
        self.out = _linear(out, weights[f"{attention}/attention_output/bias"])
        self.norm = _norm(weights, f"{name}/self_attention_layer_norm")
        self.inner = _dense(weights, f"{name}/feedforward_intermediate_dense")
        self.outer = _dense(weights, f"{name}/feedforward_output_dense")
        self.last_norm = _norm(weights, f"{name}/feedforward_layer_norm")

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = self.norm(x + self.out(found.transpose(1, 2).reshape(rows, length, -1)))
        return self.last_norm(x + self.outer(F.gelu(self.inner(x), approximate="tanh")))


class Transformer(nn.Module):
    """BertMatcher and AlbertMatcher."""

    def __init__(self, config: Mapping[str, Any], weights: Weights) -> None:
        super().__init__()
        self.match = config["match_segments"]
        self.details = config.get("match_details")
        self.traits = Traits(weights) if "traits/stems" in weights else None
        self.spelling = Spelling(weights) if config.get("match_coverage") else None
        self.tokens, self.positions, self.segments = (
            nn.Embedding.from_pretrained(weights[f"{part}_embedding/embeddings"])
            for part in ("token", "position", "segment")
        )
        self.norm = _norm(weights, "embeddings_layer_norm")
        albert = "embedding_projection/kernel" in weights
        self.project = _dense(weights, "embedding_projection") if albert else nn.Identity()
        heads, depth = config["num_heads"], config["num_layers"]
        names = [f"transformer_layer_{i}" for i in range(depth)]
        if albert:
            names = ["group_0_inner_layer_0"]
        self.layers = nn.ModuleList([Layer(weights, name, heads) for name in names])
        self.passes = depth if albert else 1
        self.head = Head(weights)

    def forward(self, ids: Ids) -> Tensor:
        tokens, segments = ids["token_ids"], ids["segment_ids"]
        mask, sides = tokens != 0, segments
        across = segments[:, :, None] != segments[:, None, :]
        if self.traits is not None and self.details:
            segments = self.traits.segments(tokens, segments, across)
        elif self.match:
            same = tokens[:, :, None] == tokens[:, None, :]
            shared = (same & across & mask[:, None, :]).any(-1) & mask
            segments = segments + 2 * shared
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]] + self.segments(segments)
        x = self.project(self.norm(x))
        for _ in range(self.passes):
            for layer in self.layers:
                x = layer(x, mask)
        pooled = [x[:, 0], *_pools(x, mask)]
        if self.spelling is not None and self.traits is not None:
            told = {
                **self.traits.of(tokens),
                "spelling": self.spelling(tokens, sides),
                "vectors": self.tokens(tokens),
            }
            words = told["stems"] != 0
            pooled.append(coverage(*({**told, "mask": words & (sides == one)} for one in (0, 1))))
        return self.head(torch.cat(pooled, -1))


class Traits(nn.Module):
    """Stems, rarity and roles, and what `match_details` makes of them."""

    stems: Tensor
    rarity: Tensor
    roles: Tensor

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.register_buffer("stems", weights["traits/stems"].long())
        self.register_buffer("rarity", weights["traits/rarity"])
        self.register_buffer("roles", weights["traits/roles"].long())

    def of(self, ids: Tensor) -> dict[str, Tensor]:
        tables = {"stems": self.stems, "rarity": self.rarity, "roles": self.roles}
        return {"ids": ids, **{name: table[ids] for name, table in tables.items()}}

    def segments(self, tokens: Tensor, sides: Tensor, across: Tensor, steps: int = 4) -> Tensor:
        stems = self.stems[tokens]
        same = equal_stems(stems, stems) & across
        exact = same & (tokens[:, :, None] == tokens[:, None, :])
        step = (self.rarity[tokens] * steps).floor().long().clamp(0, steps - 1)
        bits = 2 * exact.any(-1) + 4 * same.any(-1) + 8 * in_run(same)
        return sides + bits + 16 * step


def equal_stems(stems: Tensor, others: Tensor) -> Tensor:
    return (stems[:, :, None] == others[:, None, :]) & (stems != 0)[:, :, None]


def in_run(same: Tensor) -> Tensor:
    begins = (same[:, :-1, :-1] & same[:, 1:, 1:]).any(-1)
    return F.pad(begins, (0, 1)) | F.pad(begins, (1, 0))


class Kernels(nn.Module):
    """SimilarityKernels of cosines; the first way to weigh words has all of them."""

    means: Tensor
    precisions: Tensor

    def __init__(self, kernels: int) -> None:
        super().__init__()
        step = 2.0 / (kernels - 1)
        means = [1.0] + [1.0 - step / 2 - step * i for i in range(kernels - 1)]
        widths = torch.tensor([1e-3] + [0.1] * (kernels - 1))
        self.register_buffer("means", torch.tensor(means))
        self.register_buffer("precisions", 1.0 / (2.0 * widths * widths))

    def forward(self, cosine: Tensor, ways: list[list[Tensor]]) -> Tensor:
        query, document = (side != 0 for side in ways[0])
        near = torch.exp(-(cosine[..., None] - self.means).square() * self.precisions)
        near = near * (query[:, :, None] & document[:, None, :])[..., None]
        counts = [near.sum(axis).log1p() for axis in (2, 1)]
        pools = []
        for way in ways:
            for count, weight in zip(counts, way, strict=True):
                total = (count * weight[..., None]).sum(1)
                pools.append(total / weight.sum(1, keepdim=True).clamp_min(1e-6))
        return torch.cat(pools, -1)


class TextCnn(nn.Module):
    """TextCnnMatcher and, with `attention`, CnnAttentionMatcher."""

    def __init__(self, config: Mapping[str, Any], weights: Weights, attention: bool) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(weights["word_embedding/embeddings"])
        self.match = config["match_channels"]
        self.kernels = Kernels(config["kernels"]) if config["kernels"] else None
        self.details = config.get("match_details")
        self.traits = Traits(weights) if "traits/stems" in weights else None
        self.spelling = Spelling(weights) if config.get("match_coverage") else None
        self.characters = Characters(weights) if config.get("match_characters") else None
        self.convolutions = nn.ModuleList(
            [_convolution(weights, f"conv_{width}") for width in config["widths"]]
        )
        self.widths: list[int] = config["widths"]
        self.filters = config["filters"]
        self.attend = _dense(weights, "attend") if attention else None
        self.compare = _dense(weights, "compare") if attention else None
        self.head = Head(weights)

    def forward(self, ids: Ids) -> Tensor:
        sides = [ids["query_ids"], ids["document_ids"]]
        masks = [side != 0 for side in sides]
        vectors = [self.words(s) * m[..., None] for s, m in zip(sides, masks, strict=True)]
        cosine = unit(vectors[0]) @ unit(vectors[1]).transpose(1, 2)
        both = masks[0][:, :, None] & masks[1][:, None, :]
        words = vectors
        if self.match:
            exact = (sides[0][:, :, None] == sides[1][:, None, :]) & both
            nearest = torch.where(both, cosine, -1.0)
            words = []
            for index, axis in ((0, 2), (1, 1)):
                channels = torch.stack([exact.any(axis).float(), nearest.amax(axis)], -1)
                channels = channels * masks[index][..., None]
                words.append(torch.cat([vectors[index], channels], -1))
        ways = [[mask.float() for mask in masks]]
        if self.traits is not None and self.details:
            same = equal_stems(*(self.traits.stems[side] for side in sides))
            ways.append([self.traits.rarity[s] * m for s, m in zip(sides, masks, strict=True)])
            details = [
                torch.stack([one.any(-1).float(), in_run(one).float(), ways[1][index]], -1)
                for index, one in enumerate((same, same.transpose(1, 2)))
            ]
            words = [torch.cat(both, -1) for both in zip(words, details, strict=True)]
        hidden = [self._convolve(w, m) for w, m in zip(words, masks, strict=True)]
        pooled = self._compare(hidden, masks)
        if self.kernels is not None:
            pooled.append(self.kernels(cosine, ways))
        if self.spelling is not None and self.traits is not None:
            told = [
                {**self.traits.of(side), "spelling": self.spelling(side), "vectors": own}
                for side, own in zip(sides, vectors, strict=True)
            ]
            pooled.append(coverage(*({**one, "mask": one["stems"] != 0} for one in told)))
        if self.characters is not None:
            pooled.append(self.characters(sides))
        return self.head(torch.cat(pooled, -1))

    def _convolve(self, words: Tensor, mask: Tensor) -> Tensor:
        found = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            # Keras's "same" puts the odd one of the padding at the end.
            padded = F.pad(words.transpose(1, 2), ((width - 1) // 2, width // 2))
            found.append(F.relu(convolution(padded)))
        return torch.cat(found, 1).transpose(1, 2) * mask[..., None]

    def _compare(self, hidden: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        plain = _compared(hidden, masks)
        if self.attend is None or self.compare is None:
            return plain
        keys = [self.attend(h) for h in hidden]
        pooled: list[Tensor] = []
        for own, other in ((0, 1), (1, 0)):
            weights = keys[own] @ keys[other].transpose(1, 2) / self.filters**0.5
            weights = weights.masked_fill(~masks[other][:, None, :], -1e4)
            found, h = weights.softmax(-1) @ hidden[other], hidden[own]
            seen = F.relu(self.compare(torch.cat([h, found, (h - found).abs(), h * found], -1)))
            pooled += _pools(seen, masks[own])
        return [*pooled, *plain[2:]]


def _pools(hidden: Tensor, mask: Tensor) -> list[Tensor]:
    inside = mask[..., None]
    highest = hidden.masked_fill(~inside, -1e4).amax(1) * mask.any(1, keepdim=True)
    return [highest, (hidden * inside).sum(1) / inside.sum(1).clamp_min(1)]


def _compared(hidden: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
    q, d = (torch.cat(_pools(h, m), -1) for h, m in zip(hidden, masks, strict=True))
    return [q, d, (q - d).abs(), q * d]


def _linear(kernel: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(*kernel.shape)
    made.weight = nn.Parameter(kernel.T.contiguous())
    made.bias = nn.Parameter(bias)
    return made


def _dense(weights: Weights, name: str) -> nn.Linear:
    return _linear(weights[f"{name}/kernel"], weights[f"{name}/bias"])


def _norm(weights: Weights, name: str) -> nn.LayerNorm:
    gamma = weights[f"{name}/gamma"]
    made = nn.LayerNorm(len(gamma), eps=1e-12)
    made.weight, made.bias = nn.Parameter(gamma), nn.Parameter(weights[f"{name}/beta"])
    return made


def _convolution(weights: Weights, name: str) -> nn.Conv1d:
    width, channels, filters = (kernel := weights[f"{name}/kernel"]).shape
    made = nn.Conv1d(channels, filters, width)
    made.weight = nn.Parameter(kernel.permute(2, 1, 0).contiguous())
    made.bias = nn.Parameter(weights[f"{name}/bias"])
    return made
