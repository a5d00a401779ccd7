"""Convolutions of several runs: one after the other, grouped, and as products of unfolded images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from imbalance_bench.bench.compare import compare, show
from imbalance_bench.running.devices import choose_device

RUNS = 10
# Of LeNet (C6, C16, batches of 60) and of the Keras CNN (32 and 64 filters, batches of 32): images (rows, channels,
# side, side) and filters (out, channels, side, side).
LAYERS = {
    "LeNet 1": ((60, 1, 28), (6, 5)),
    "LeNet 2": ((60, 6, 12), (16, 5)),
    "Keras 2": ((32, 32, 32), (32, 3)),
    "Keras 4": ((32, 64, 15), (64, 3)),
}

Convolution = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def in_turn(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Images (R, n, c, h, w) and filters (R, o, c, k, k) → (R, n, o, h', w'), run by run."""
    return torch.stack([F.conv2d(images, filters) for images, filters in zip(x, weight)])


def grouped(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As ``in_turn``, by one convolution of R groups of channels: what torch.func.vmap makes of it."""
    runs, n = x.shape[:2]
    out = F.conv2d(x.transpose(0, 1).flatten(1, 2), weight.flatten(0, 1), groups=runs)
    return out.unflatten(1, (runs, -1)).transpose(0, 1)


def unfolded(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As ``in_turn``, by a product of filters and of the patches of images, which are written out."""
    runs, n, _, height, width = x.shape
    side = weight.shape[-1]
    patches = F.unfold(x.flatten(0, 1), side).unflatten(0, (runs, n))  # (R, n, c k k, places)
    out = weight.flatten(2)[:, None] @ patches
    return out.unflatten(-1, (height - side + 1, width - side + 1))


WAYS: dict[str, Convolution] = {"in turn": in_turn, "grouped": grouped, "unfolded": unfolded}


def operands(layer: str, runs: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and filters of a layer of ``LAYERS``, which require gradients."""
    (n, channels, side), (filters, kernel) = LAYERS[layer]
    generator = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(like).requires_grad_()
        for shape in ((runs, n, channels, side, side), (runs, filters, channels, kernel, kernel))
    )
    return x, weight


def step(way: Convolution, x: torch.Tensor, weight: torch.Tensor) -> int:
    """Forward and back of all runs; how many images."""
    torch.autograd.grad(way(x, weight).sum(), (x, weight))
    return x.shape[0] * x.shape[1]


def speeds(layer: str, runs: int, device: torch.device, rounds: int) -> dict[str, float]:
    """Images a second, forward and back."""
    x, weight = operands(layer, runs, torch.empty(0, device=device))
    return compare({name: partial(step, way, x, weight) for name, way in WAYS.items()}, rounds)


def main(rounds: int) -> None:
    """Prints the comparison."""
    device = choose_device("auto")
    found = {layer: speeds(layer, RUNS, device, rounds) for layer in LAYERS}
    show(f"Convolutions of {RUNS} runs, forward and back: images a second", found)
