"""SMOTE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imbalance_bench.methods.shared.oversampling import NeighbourSampler
from imbalance_bench.registry import METHODS


@METHODS.register("smote")
@dataclass(frozen=True)
class SMOTE(NeighbourSampler):
    """SMOTE (Chawla et al., 2002): points on the segments between a minority row and one of its ``k_neighbors``
    nearest minority rows, uniformly."""

    def make(self, targets: dict[int, int], seed: int) -> Any:
        from imblearn.over_sampling import SMOTE as Sampler

        return Sampler(sampling_strategy=targets, k_neighbors=self.k_neighbors, random_state=seed)
