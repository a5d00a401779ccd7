"""Made-up rows of each kind, and components of conf/ without Hydra."""

from __future__ import annotations

from typing import Any

import numpy as np

from imbalance_bench.bench import texts
from imbalance_bench.bench.compare import option
from imbalance_bench.data.base import Part, Task
from imbalance_bench.registry import BACKBONES, METHODS


def table(counts: tuple[int, ...], d: int, seed: int = 0) -> Task:
    """counts[c] training rows of class c around a corner of its own, and a third as many for validation."""
    rng = np.random.default_rng(seed)
    corners = np.random.default_rng(7).normal(size=(len(counts), d))

    def part(sizes: list[int]) -> Part:
        y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
        return Part((corners[y] + rng.normal(size=(len(y), d))).astype(np.float32), y, np.arange(len(y)))

    valid = [max(4, n // 3) for n in counts]
    minority = tuple(range(1, len(counts)))
    train, rest = part(list(counts)), part(valid)
    return Task(train, rest, None, len(counts), "classification", 0, 0, seed, minority_classes=minority)


def pictures(n: int, shape: tuple[int, ...], seed: int = 0) -> Task:
    """n images of bytes of ten classes, whose brightness tells a class; four classes have lost nine tenths."""
    rng = np.random.default_rng(seed)
    share = np.array([1.0] * 6 + [0.1] * 4)

    def part(n: int) -> Part:
        y = np.concatenate([np.arange(10), rng.choice(10, n - 10, p=share / share.sum())])
        x = rng.integers(0, 128, (n, *shape)) + 12 * y.reshape(-1, *[1] * len(shape))
        return Part(x.astype(np.uint8), y, np.arange(n))

    return Task(part(n), part(max(10, n // 10)), None, 10, "classification", 0, 0, seed, minority_classes=(6, 7, 8, 9))


def words(n: int, mean: int, seed: int = 0) -> Task:
    """n texts of token ids."""
    return texts.setting(n, mean, seed)


def method(label: str, **changed: Any) -> Any:
    return METHODS.build(option("method", label) | changed)


def backbone(label: str = "mlp", **changed: Any) -> Any:
    return BACKBONES.build(option("backbone", label) | changed)
