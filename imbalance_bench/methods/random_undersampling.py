"""Random under-sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS


@METHODS.register("random_undersampling")
@dataclass(frozen=True)
class RandomUnderSampling(Method):
    """RUS: every class is cut to the size of the smallest, without replacement."""

    def resample(self, task: Task, rows: Part) -> Part:
        rng = np.random.default_rng(task.seed)
        classes, counts = np.unique(rows.y, return_counts=True)
        kept = [rng.choice(np.flatnonzero(rows.y == c), counts.min(), replace=False) for c in classes]
        return rows.take(np.sort(np.concatenate(kept)))
