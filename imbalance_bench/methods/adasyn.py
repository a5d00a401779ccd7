"""ADASYN."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.shared.oversampling import NeighbourSampler
from imbalance_bench.methods.smote import SMOTE
from imbalance_bench.registry import METHODS

log = logging.getLogger("imbalance_bench")


@METHODS.register("adasyn")
@dataclass(frozen=True)
class ADASYN(NeighbourSampler):
    """ADASYN (He et al., 2008): as SMOTE, but more points for rows with more foreign neighbours. The number of points
    is rounded a row, so counts are approximate. Where no minority row has a foreign neighbour (or rounding leaves no
    point to make) the densities are undefined: then every row counts the same, which is SMOTE."""

    def make(self, targets: dict[int, int], seed: int) -> Any:
        from imblearn.over_sampling import ADASYN as Sampler

        return Sampler(sampling_strategy=targets, n_neighbors=self.k_neighbors, random_state=seed)

    def resample(self, task: Task, rows: Part) -> Part:
        try:
            return super().resample(task, rows)
        except BenchError as error:
            # imbalanced-learn raises for these two cases (its issues #510 and #529).
            if not any(cause in str(error) for cause in ("No samples will be generated", "Not any neigbours")):
                raise
            log.info("fold %d: ADASYN's densities are undefined here, so SMOTE made the rows (%s)", task.fold, error)
            return SMOTE(amount=self.amount, k_neighbors=self.k_neighbors).resample(task, rows)
