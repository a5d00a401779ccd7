"""The CNN of the Keras CIFAR-10 example, the "simple net" of SelectNet (Liu et al., 2019, Section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.images import image_shape
from imbalance_bench.backbones.network import Dropout, Network
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("keras_cnn")
@dataclass(frozen=True)
class KerasCNNBackbone(Backbone):
    """No choices: 1,250,858 parameters for 3x32x32 images of ten classes."""

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> KerasCNN:
        """The CNN for images (n, *shape), shape (channels, H, W), and ``classes`` classes (0: regression)."""
        return KerasCNN(image_shape(shape, "keras_cnn", 10), classes, head)  # 10 leave one pixel after the last pooling


class KerasCNN(Network):
    """(3x3 convolution with padding → 3x3 convolution without → 2x2 max-pooling → dropout 1/4) with 32 and with 64
    filters → 512 units → dropout 1/2 → head; ReLU after each layer, Glorot-uniform weights and biases of zero. f
    (n, 512) is the layer of 512 units, dropped out in training; g the head."""

    def __init__(self, shape: tuple[int, int, int], classes: int, head: str) -> None:
        super().__init__(512, classes, head)
        channels, *sides = shape
        height, width = (((side - 2) // 2 - 2) // 2 for side in sides)
        self.body = nn.Sequential(
            *_block(channels, 32),
            *_block(32, 64),
            nn.Flatten(),
            nn.Linear(64 * height * width, 512),
            nn.ReLU(),
            Dropout(0.5),
        )
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    # Pooled before the second ReLU, which gives the same with a quarter of the work.
    convolutions = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3)]
    return [*convolutions, nn.MaxPool2d(2), nn.ReLU(), Dropout(0.25)]
