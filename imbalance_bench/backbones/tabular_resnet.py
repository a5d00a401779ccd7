"""The ResNet for tables of Gorishniy et al. (NeurIPS 2021, Section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import BatchNorm, Network
from imbalance_bench.backbones.tabular import dropout
from imbalance_bench.errors import BenchError
from imbalance_bench.options import BelowOne, Count, Positive
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("tabular_resnet")
@dataclass(frozen=True)
class TabularResNetBackbone(Backbone):
    """``blocks`` of ``width`` units with ``hidden`` · width between their two layers, of which ``dropout`` is dropped,
    and ``residual_dropout`` of what a block adds. One-hot columns are numbers like any other."""

    blocks: Count
    width: Count
    hidden: Positive
    dropout: BelowOne
    residual_dropout: BelowOne

    def __post_init__(self) -> None:
        if self.hidden * self.width < 1:
            raise BenchError(f"backbone.hidden={self.hidden} of backbone.width={self.width} leaves no unit: raise it")

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> TabularResNet:
        """The network for rows (n, *shape) and ``classes`` classes (0: regression)."""
        return TabularResNet(math.prod(shape), self, classes, head)


class TabularResNet(Network):
    """Linear → ``blocks`` × (x + dropout(Linear(dropout(ReLU(Linear(BN(x))))))) → f = ReLU(BN(x)) (n, width) → head."""

    def __init__(self, d: int, options: TabularResNetBackbone, classes: int, head: str) -> None:
        width, hidden = options.width, int(options.width * options.hidden)
        super().__init__(width, classes, head)
        self.first = nn.Linear(d, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Norm(width),
                nn.Linear(width, hidden),
                nn.ReLU(),
                dropout(options.dropout),
                nn.Linear(hidden, width),
                dropout(options.residual_dropout),
            )
            for _ in range(options.blocks)
        )
        self.norm = Norm(width)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = h + block(h)
        return F.relu(self.norm(h))


class Norm(BatchNorm):
    """Batch normalisation of rows (n, units)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x[..., None, None])[..., 0, 0]
