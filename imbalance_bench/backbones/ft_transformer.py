"""FT-Transformer (Gorishniy et al., NeurIPS 2021, Section 3.3): a transformer over the columns of a row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import Network
from imbalance_bench.backbones.tabular import Categories, dropout, numeric, uniform
from imbalance_bench.errors import BenchError
from imbalance_bench.options import BelowOne, Count, Positive
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("ft_transformer")
@dataclass(frozen=True)
class FTTransformerBackbone(Backbone):
    """``blocks`` of ``heads`` heads on tokens of ``width`` numbers, with ``hidden`` · width units between the two
    layers of each. Dropout: ``attention_dropout`` of what a token looks at, ``dropout`` of the units,
    ``residual_dropout`` of what each half of a block adds.

    Columns are taken as the data set scales them; the paper makes each normal by its quantiles.
    """

    categorical: ClassVar[bool] = True

    blocks: Count
    width: Count
    heads: Count
    hidden: Positive
    attention_dropout: BelowOne
    dropout: BelowOne
    residual_dropout: BelowOne

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise BenchError(f"backbone.width={self.width} must be a multiple of backbone.heads={self.heads}")
        if self.hidden * self.width < 1:
            raise BenchError(f"backbone.hidden={self.hidden} of backbone.width={self.width} leaves no unit: raise it")

    def build(
        self, shape: tuple[int, ...], classes: int, head: str = "linear", categories: Categories = ()
    ) -> FTTransformer:
        """The network for rows (n, *shape) and ``classes`` classes (0: regression)."""
        return FTTransformer(math.prod(shape), self, classes, head, categories)


class Tokens(nn.Module):
    """x (n, d) → tokens (n, 1 + t, width), [CLS] first: b_j + x_j w_j of a number (Section 3.3, T_j); of a category b_j
    plus the row of a table that its one-hot columns choose (b_j alone where they are all zero: a category that no
    training row has). Numbers first, then the categories."""

    def __init__(self, d: int, width: int, categories: Categories) -> None:
        super().__init__()
        self.numbers, self.categories = numeric(d, categories), categories
        self.cls = uniform(width, fan_in=width)
        self.weight = uniform(d, width, fan_in=width)
        self.bias = uniform(len(self.numbers) + len(categories), width, fan_in=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.cls.expand(len(x), 1, -1)]
        of_numbers = len(self.numbers)
        if of_numbers:
            given, weight = (x, self.weight) if not self.categories else (x[:, self.numbers], self.weight[self.numbers])
            parts.append(torch.addcmul(self.bias[:of_numbers], given[..., None], weight))
        for bias, (first, end) in zip(self.bias[of_numbers:], self.categories):
            parts.append((x[:, first:end] @ self.weight[first:end] + bias)[:, None])
        return torch.cat(parts, 1)


class Attention(nn.Module):
    """softmax(q kᵀ / √(width / heads)) v of each head: queries (n, a, width), others (n, b, width) → (n, a, width)."""

    def __init__(self, width: int, heads: int, p: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.q, self.k, self.v, self.out):
            nn.init.zeros_(layer.bias)
        self.dropout = dropout(p)

    def forward(self, x: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, of in ((self.q, x), (self.k, others), (self.v, others))
        )
        shares = self.dropout(torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1))
        return self.out((shares @ v).transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """x + Attention(LN(x)), then x + Linear(ReGLU(Linear(LN(x)))), ReGLU(a, b) = a ∘ ReLU(b); the first block's
    attention is of x itself, not of LN(x)."""

    def __init__(self, options: FTTransformerBackbone, first: bool) -> None:
        super().__init__()
        width, hidden = options.width, int(options.width * options.hidden)
        self.attention = Attention(width, options.heads, options.attention_dropout)
        self.norm = nn.Identity() if first else nn.LayerNorm(width)
        self.inner_norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)
        self.dropout = dropout(options.dropout)
        self.residual_dropouts = nn.ModuleList(dropout(options.residual_dropout) for _ in range(2))

    def forward(self, x: torch.Tensor, queries: int | None = None) -> torch.Tensor:
        """The first ``queries`` tokens of (n, t, width); None: all."""
        normal = self.norm(x)
        x = x[:, :queries] + self.residual_dropouts[0](self.attention(normal[:, :queries], normal))
        a, b = self.inner(self.inner_norm(x)).chunk(2, -1)
        return x + self.residual_dropouts[1](self.outer(self.dropout(a * F.relu(b))))


class FTTransformer(Network):
    """Tokens → blocks → f = ReLU(LN([CLS])) (n, width) → head. The last block computes [CLS] alone, which is all that
    is read of it. Weights start as those of nn.Linear; biases of attention at zero. Weight decay
    (trainer.optimiser=adamw) leaves out tokens, the blocks' normalisations and biases."""

    def __init__(self, d: int, options: FTTransformerBackbone, classes: int, head: str, categories: Categories) -> None:
        super().__init__(options.width, classes, head)
        self.tokens = Tokens(d, options.width, categories)
        self.row_vectors = 1 + len(self.tokens.bias)
        self.blocks = nn.ModuleList(Block(options, first=i == 0) for i in range(options.blocks))
        self.norm = nn.LayerNorm(options.width)
        for name, parameter in self.named_parameters():
            if name.startswith("tokens.") or (name.startswith("blocks.") and "norm." in name) or name.endswith(".bias"):
                parameter.decay = 0.0  # type: ignore[attr-defined]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        h = self.tokens(x.flatten(1))
        for block in self.blocks[:-1]:
            h = block(h)
        return F.relu(self.norm(self.blocks[-1](h, 1)[:, 0]))
