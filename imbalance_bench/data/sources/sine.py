"""The sine task of the Explicit Gradient paper (Section 4, Figure 1): regression on a handful of points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import ArrayEncoder
from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, Interval, Seed
from imbalance_bench.registry import DATASETS

# Where a sine has digits left to it.
Moderate = Annotated[float, Interval(ge=-1e6, le=1e6)]


@DATASETS.register("sine")
@dataclass(frozen=True)
class SineSource(Source):
    """y = amplitude · sin(frequency · x + phase), x uniform on [low, high]: ``train`` and ``valid`` points of it, a
    grid of ``grid`` points for testing, and ``synthetic`` start points off the curve, y uniform on ±amplitude."""

    train: Count
    valid: Count
    synthetic: Count
    grid: Count
    amplitude: Moderate
    frequency: Moderate
    phase: Moderate
    low: Moderate
    high: Moderate
    seed: Seed

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise BenchError(f"dataset.low={self.low} must be below dataset.high={self.high}")

    def load(self, folder: Path) -> Dataset:
        # A stream for each kind of point: more of one kind does not move the others.
        train, valid, synthetic = (np.random.default_rng([self.seed, i]) for i in range(3))
        x = np.concatenate(
            [
                train.uniform(self.low, self.high, self.train),
                valid.uniform(self.low, self.high, self.valid),
                np.linspace(self.low, self.high, self.grid),
            ]
        )[:, None]
        start_x = synthetic.uniform(self.low, self.high, (self.synthetic, 1)).astype(np.float32)
        start_y = synthetic.uniform(-abs(self.amplitude), abs(self.amplitude), self.synthetic)
        own = self.train + self.valid
        return Dataset(
            "sine",
            x,
            self.amplitude * np.sin(self.frequency * x[:, 0] + self.phase),
            class_names=(),
            encode=ArrayEncoder("none"),
            kind="regression",
            valid_rows=np.arange(self.train, own),
            test_rows=np.arange(own, own + self.grid),
            synthetic=(start_x, start_y),
        )

    def facts(self) -> Facts:
        return Facts(self.train + self.valid + self.grid, (1,), 0, None, "a formula")
