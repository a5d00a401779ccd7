"""Shared by over-samplers: rows are added to the training set; the loss stays cross-entropy.

Two amounts: ``doubled`` adds as many rows to each class but the largest as it has (the Explicit Gradient paper gives
every over-sampler "the same number of generated samples", which its own c = 1 makes the minority's size), never past
the majority; ``balanced`` fills every class up to the majority.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, Reads
from imbalance_bench.options import Count

log = logging.getLogger("imbalance_bench")

Amount = Literal["doubled", "balanced"]


def target_counts(labels: np.ndarray, amount: Amount) -> dict[int, int]:
    """Rows that each class but the largest shall have, class → count; classes that need none are left out."""
    classes, counts = np.unique(labels, return_counts=True)
    most = counts.max()
    wanted = counts * 0 + most if amount == "balanced" else np.minimum(2 * counts, most)
    return {int(c): int(w) for c, n, w in zip(classes, counts, wanted) if w > n}


def with_made(rows: Part, x: np.ndarray, y: np.ndarray) -> Part:
    """``rows``, and after them the made rows ``x`` (m, d) of classes ``y`` (m,); bytes are rounded."""
    made = x.reshape(-1, *rows.x.shape[1:])
    if made.dtype != rows.x.dtype and rows.x.dtype == np.uint8:
        made = np.rint(made)
    return Part(
        np.concatenate([rows.x, made.astype(rows.x.dtype)]),
        np.concatenate([rows.y, y]),
        np.concatenate([rows.ids, np.full(len(made), -1)]),
    )


@cache
def warn_of_fractions(method: str, categories: tuple[tuple[int, int], ...]) -> None:
    """Once a process: what interpolation makes of one-hot columns."""
    columns = sum(end - start for start, end in categories)
    log.warning(
        "method=%s interpolates, and %d columns are one-hot codes of %d categories: the rows that it makes have "
        "fractions of several values of one (method=smotenc makes whole values)",
        *(method, columns, len(categories)),
    )


@dataclass(frozen=True)
class OverSampler(Method):
    """Adds what an imbalanced-learn sampler makes; a subclass says which. For one that ``reads`` vectors, images of
    bytes become numbers first, and what it makes is rounded to bytes again."""

    amount: Amount

    @abstractmethod
    def make(self, targets: dict[int, int], seed: int) -> Any:
        """The imbalanced-learn sampler for ``sampling_strategy`` = targets."""

    def resample(self, task: Task, rows: Part) -> Part:
        targets = target_counts(rows.y, self.amount)
        if not targets:
            return rows
        self.check(task, rows)
        flat = rows.x.reshape(len(rows), -1)
        if self.reads == "vectors" and flat.dtype == np.uint8:
            flat = flat.astype(np.float32)
        try:
            x, y = self.sampled(task, flat, rows.y, targets)
        except (ValueError, RuntimeError) as error:
            raise BenchError(f"method={self.name} could not resample fold {task.fold}: {error}") from error
        # imbalanced-learn keeps the given rows first and in order, and appends.
        return with_made(rows, x[len(rows) :], y[len(rows) :])

    def sampled(
        self, task: Task, x: np.ndarray, y: np.ndarray, targets: dict[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, d) and labels (n,), and after them what was made of them."""
        if task.categories and self.reads == "vectors":
            warn_of_fractions(self.name, task.categories)
        found: tuple[np.ndarray, np.ndarray] = self.make(targets, task.seed % 2**32).fit_resample(x, y)
        return found


@dataclass(frozen=True)
class NeighbourSampler(OverSampler):
    """An over-sampler that interpolates between ``k_neighbors`` nearest rows of a class."""

    reads: ClassVar[Reads] = "vectors"

    k_neighbors: Count

    def check(self, task: Task, rows: Part) -> None:
        counts = np.bincount(rows.y)
        fewest = min(target_counts(rows.y, self.amount), key=lambda c: counts[c], default=None)
        if fewest is not None and counts[fewest] <= self.k_neighbors:
            fewer = f"set method.k_neighbors={counts[fewest] - 1}, " if counts[fewest] > 1 else ""
            raise BenchError(
                f"method={self.name} needs at least k_neighbors+1 = {self.k_neighbors + 1} rows of each class that "
                f"it fills up, and fold {task.fold} has {counts[fewest]} of class {fewest}: {fewer}choose a lower "
                "ratio, or fewer protocol.folds"
            )
