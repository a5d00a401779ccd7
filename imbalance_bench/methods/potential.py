"""The upper bound: withdrawn minority rows given back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS


@METHODS.register("potential")
@dataclass(frozen=True)
class Potential(Method):
    """The Explicit Gradient paper's upper bound (Section 5): the minority doubled with real rows that the ratio had
    withdrawn. An oracle: it sees data that no method has. Test rows are the same as everyone's."""

    def declines(self, task: Task) -> str | None:
        if reason := super().declines(task):
            return reason
        if task.withdrawn is None or not (task.withdrawn.y == task.minority).any():
            return "no minority rows were withdrawn: potential needs an induced ratio, e.g. ratio=ir_50"
        return None

    def resample(self, task: Task, rows: Part) -> Part:
        assert task.withdrawn is not None
        pool = np.flatnonzero(task.withdrawn.y == task.minority)
        wanted = min(int((rows.y == task.minority).sum()), len(pool))
        chosen = np.random.default_rng(task.seed).choice(pool, wanted, replace=False)
        return rows.join(task.withdrawn.take(np.sort(chosen)))
