"""Residual networks for small images.

Version 1: He, Zhang, Ren & Sun (2016a), "Deep residual learning for image recognition", Section 4.2. Version 2:
``resnet_v2`` of the Keras CIFAR-10 example, after He et al. (2016b), "Identity mappings in deep residual networks";
the family of SelectNet's public code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.images import image_shape
from imbalance_bench.backbones.network import BatchNorm, Network
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count
from imbalance_bench.registry import BACKBONES

BLOCK_LAYERS = {1: 6, 2: 9}  # layers that one block more in each of the three stages adds

KerasNorm = partial(BatchNorm, momentum=0.01, eps=1e-3)  # Keras's defaults: it calls 1 - momentum the momentum


@BACKBONES.register("resnet")
@dataclass(frozen=True)
class ResNetBackbone(Backbone):
    """``depth`` = 6n + 2 layers in ``version`` 1, 9n + 2 in version 2."""

    depth: Count
    version: Literal[1, 2]

    def __post_init__(self) -> None:
        each = BLOCK_LAYERS[self.version]
        if self.depth < each + 2 or (self.depth - 2) % each:
            below = max(1, (self.depth - 2) // each) * each + 2
            raise BenchError(
                f"backbone.depth={self.depth}: backbone.version={self.version} has the depths {each}n + 2 (nearest: "
                f"{below}, {below + each}); version 1 has 20, 32, 44, 56, 110, version 2 has 20, 56, 110"
            )

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> ResNetV1 | ResNetV2:
        """A ResNet for images (n, *shape), shape (channels, H, W), and ``classes`` classes (0: regression)."""
        channels, *_ = image_shape(shape, "resnet")
        blocks = (self.depth - 2) // BLOCK_LAYERS[self.version]
        return (ResNetV1 if self.version == 1 else ResNetV2)(channels, blocks, classes, head)


class ResNetV1(Network):
    """3x3 convolution → three stages of ``blocks`` basic blocks with 16, 32, 64 filters, the last two of which halve
    the image → global average, f (n, 64) → head. Kaiming-normal weights. 0.27 / 0.46 / 0.85 M parameters for depth
    20 / 32 / 56, as the paper has it (Table 6)."""

    def __init__(self, channels: int, blocks: int, classes: int, head: str) -> None:
        super().__init__(64, classes, head)
        layers: list[nn.Module] = [_conv(channels, 16, 3), BatchNorm(16), nn.ReLU()]
        inputs = 16
        for stage, filters in enumerate((16, 32, 64)):
            for block in range(blocks):
                layers.append(BasicBlock(inputs, filters, stride=2 if stage and not block else 1))
                inputs = filters
        self.body = nn.Sequential(*layers)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).mean((2, 3))


class BasicBlock(nn.Module):
    """relu(x + F(x)), F = two 3x3 convolutions with batch normalisation. Where the block halves the image, the shortcut
    is option A of the paper, without parameters: every second pixel of x, and channels of zeros on both sides up to the
    new number. (The public code of the class-balanced loss averages 2x2 pixels instead.)"""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.stride, self.zeros = stride, (filters - inputs) // 2
        self.residual = nn.Sequential(
            _conv(inputs, filters, 3, stride),
            BatchNorm(filters),
            nn.ReLU(),
            _conv(filters, filters, 3),
            BatchNorm(filters),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.residual(x)
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.zeros, self.zeros))
        return F.relu(x + residual)


class ResNetV2(Network):
    """3x3 convolution with 16 filters, batch normalisation, ReLU → three stages of ``blocks`` bottlenecks, 16 → 64, 64
    → 128 and 128 → 256 filters, the last two of which halve the image → batch normalisation, ReLU, global average, f
    (n, 256) → head. He-normal weights as Keras draws them (cut off at two standard deviations).

    Keras's convolutions have biases and these have none: each is taken out again by the batch normalisations that its
    sum flows into, so it has no effect and no gradient and stays at zero. Hence 568,410 parameters and 3,488 running
    statistics at depth 20 for ten classes, where Keras, with 2,192 biases, counts 574,090.
    """

    def __init__(self, channels: int, blocks: int, classes: int, head: str) -> None:
        super().__init__(256, classes, head)
        layers: list[nn.Module] = [_conv(channels, 16, 3), KerasNorm(16), nn.ReLU()]
        inputs = 16
        for stage, (width, filters) in enumerate(((16, 64), (64, 128), (128, 256))):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(inputs, width, filters, stride, activate=bool(stage or block)))
                inputs = filters
        self.body = nn.Sequential(*layers, KerasNorm(256), nn.ReLU())
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                fan_in = layer.weight[0].numel()
                sd = (2 / fan_in) ** 0.5 / 0.87962566  # the sd of a standard normal cut off at -2 and 2
                nn.init.trunc_normal_(layer.weight, std=sd, a=-2 * sd, b=2 * sd)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).mean((2, 3))


class Bottleneck(nn.Module):
    """x + F(x), F = 1x1 (with the stride), 3x3 and 1x1 convolutions, each after batch normalisation and ReLU
    (``activate`` false: not so the first); the shortcut is a 1x1 convolution where the number of filters changes."""

    def __init__(self, inputs: int, width: int, filters: int, stride: int, activate: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *([KerasNorm(inputs), nn.ReLU()] if activate else []),
            _conv(inputs, width, 1, stride),
            KerasNorm(width),
            nn.ReLU(),
            _conv(width, width, 3),
            KerasNorm(width),
            nn.ReLU(),
            _conv(width, filters, 1),
        )
        self.shortcut = nn.Identity() if inputs == filters else _conv(inputs, filters, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.residual(x)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
