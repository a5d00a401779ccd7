"""Shared by under-samplers: rows are left out of the training set."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, Reads
from imbalance_bench.methods.shared.vectors import flat_vectors

log = logging.getLogger("imbalance_bench")


@dataclass(frozen=True)
class UnderSampler(Method):
    """Leaves out what an imbalanced-learn sampler leaves out; a subclass says which."""

    reads: ClassVar[Reads] = "vectors"

    @abstractmethod
    def make(self, seed: int) -> Any:
        """The imbalanced-learn sampler, which says what it kept by ``sample_indices_``."""

    def resample(self, task: Task, rows: Part) -> Part:
        self.check(task, rows)
        return kept(self.make(task.seed % 2**32), task, rows, self.name)


def kept(sampler: Any, task: Task, rows: Part, name: str) -> Part:
    """The ``rows`` that an imbalanced-learn sampler keeps, in their order; a class of which it keeps nothing is said.
    ``name``: of the method, for messages."""
    try:
        sampler.fit_resample(flat_vectors(rows.x), rows.y)
    except (ValueError, RuntimeError) as error:
        raise BenchError(f"method={name} could not resample fold {task.fold}: {error}") from error
    made = rows.take(np.sort(sampler.sample_indices_))
    for c in np.setdiff1d(rows.y, made.y):
        log.warning("method=%s, fold %d: every row of class %d was left out", name, task.fold, c)
    return made
