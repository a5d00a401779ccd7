"""Borderline-SMOTE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imbalance_bench.methods.shared.oversampling import NeighbourSampler
from imbalance_bench.options import Count
from imbalance_bench.registry import METHODS


@METHODS.register("borderline_smote")
@dataclass(frozen=True)
class BorderlineSMOTE(NeighbourSampler):
    """Borderline-SMOTE 1 (Han et al., 2005): SMOTE from the rows "in danger", those with at least half but not all of
    their ``m_neighbors`` nearest rows of another class. Where no row is in danger it adds nothing, as published."""

    m_neighbors: Count

    def make(self, targets: dict[int, int], seed: int) -> Any:
        from imblearn.over_sampling import BorderlineSMOTE as Sampler

        return Sampler(
            sampling_strategy=targets,
            k_neighbors=self.k_neighbors,
            m_neighbors=self.m_neighbors,
            random_state=seed,
            kind="borderline-1",
        )
