"""Random over-sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imbalance_bench.methods.shared.oversampling import OverSampler
from imbalance_bench.registry import METHODS


@METHODS.register("random_oversampling")
@dataclass(frozen=True)
class RandomOverSampling(OverSampler):
    """ROS: rows of the smaller classes are drawn again with replacement."""

    def make(self, targets: dict[int, int], seed: int) -> Any:
        from imblearn.over_sampling import RandomOverSampler

        return RandomOverSampler(sampling_strategy=targets, random_state=seed)
