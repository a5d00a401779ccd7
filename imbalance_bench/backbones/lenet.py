"""LeNet-like networks: DOS (Table 4 of Ando & Huang, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.images import image_shape
from imbalance_bench.backbones.network import Network
from imbalance_bench.options import Count, Len
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("lenet")
@dataclass(frozen=True)
class LeNetBackbone(Backbone):
    """``conv``: the filters of the two convolutions, ``kernel`` their size; ``hidden``: units of the two layers above.

    Table 4 prints filters and units only (e.g. C6, C16, F400, F120). Kernels, pooling and what is the embedding are
    LeNet's: see ``LeNet``.
    """

    conv: Annotated[tuple[Count, ...], Len(2, 2)]
    hidden: Annotated[tuple[Count, ...], Len(2, 2)]
    kernel: Count

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> LeNet:
        """A LeNet for images (n, *shape), shape (channels, H, W), and ``classes`` classes (0: regression)."""
        shape = image_shape(shape, "lenet", 3 * self.kernel + 1)  # what leaves one pixel after the second pooling
        return LeNet(shape, self.conv, self.hidden, self.kernel, classes, head)


class LeNet(Network):
    """(convolution without padding → 2x2 max-pooling → ReLU) twice → two hidden layers with ReLU → head. f (n,
    hidden[1]) is the last hidden layer, g the head."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        conv: tuple[int, ...],
        hidden: tuple[int, ...],
        kernel: int,
        classes: int,
        head: str,
    ) -> None:
        super().__init__(hidden[1], classes, head)
        channels, *sides = shape
        height, width = (((side - kernel + 1) // 2 - kernel + 1) // 2 for side in sides)
        self.body = nn.Sequential(
            # The ReLU of the largest is the largest ReLU: pooled first, there is a quarter of them to compute.
            nn.Conv2d(channels, conv[0], kernel),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(conv[0], conv[1], kernel),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(conv[1] * height * width, hidden[0]),
            nn.ReLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
        )

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)
