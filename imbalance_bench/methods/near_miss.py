"""NearMiss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.shared.undersampling import UnderSampler
from imbalance_bench.options import Count
from imbalance_bench.registry import METHODS


@METHODS.register("near_miss")
@dataclass(frozen=True)
class NearMiss(UnderSampler):
    """NearMiss (Mani & Zhang, 2003), imbalanced-learn's: every class is cut to the size of the smallest, and those rows
    stay whose mean distance to their ``neighbours`` nearest (``version`` 1) or farthest (2) rows of that class is
    least. Version 3 first keeps the ``neighbours`` nearest of each row of the smallest class, then those farthest
    from it."""

    version: Literal[1, 2, 3]
    neighbours: Count

    def make(self, seed: int) -> Any:
        from imblearn.under_sampling import NearMiss as Sampler

        return Sampler(version=self.version, n_neighbors=self.neighbours, n_neighbors_ver3=self.neighbours)

    def check(self, task: Task, rows: Part) -> None:
        fewest = np.unique(rows.y, return_counts=True)[1].min()
        if fewest < self.neighbours:
            raise BenchError(
                f"method={self.name} needs neighbours = {self.neighbours} rows of each class, and fold {task.fold} has "
                f"{fewest} of one: set method.neighbours={fewest}, or choose a lower ratio"
            )
