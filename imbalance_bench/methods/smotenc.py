"""SMOTE-NC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalance_bench.data.base import Task
from imbalance_bench.methods.shared.oversampling import NeighbourSampler
from imbalance_bench.registry import METHODS


@METHODS.register("smotenc")
@dataclass(frozen=True)
class SMOTENC(NeighbourSampler):
    """SMOTE-NC (Chawla et al., 2002, Section 6.1), imbalanced-learn's: as SMOTE between rows of a class, and of each
    category a made row has the value that most of the ``k_neighbors`` have.

    Which columns are one-hot codes of a category the data set says (``Task.categories``): they are put together to one
    column and taken apart again. In distances, two rows that differ in a category are one median apart in it, that of
    the standard deviations of the class's other columns. Where every column is of a category it is SMOTE-N (Section
    6.2).
    """

    def declines(self, task: Task) -> str | None:
        if reason := super().declines(task):
            return reason
        return (
            None if task.categories else "the data set has no categories that it names: SMOTE-NC is method=smote there"
        )

    def make(self, targets: dict[int, int], seed: int, categories: int = 0, columns: int = 0) -> Any:
        """``categories``: how many of the ``columns`` are, the last ones."""
        from imblearn.over_sampling import SMOTEN
        from imblearn.over_sampling import SMOTENC as Sampler

        options: dict[str, Any] = {"sampling_strategy": targets, "k_neighbors": self.k_neighbors, "random_state": seed}
        if categories == columns:
            return SMOTEN(**options)
        return Sampler(categorical_features=list(range(columns - categories, columns)), **options)

    def sampled(
        self, task: Task, x: np.ndarray, y: np.ndarray, targets: dict[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        inside = np.zeros(x.shape[1], bool)
        values, codes = [], []  # of each category: its values as the columns have them, and which each row has
        for start, end in task.categories:
            inside[start:end] = True
            known, code = np.unique(
                -x[:, start:end], axis=0, return_inverse=True
            )  # the value of the first column first
            values.append(-known)
            codes.append(code.reshape(-1, 1))
        whole = np.hstack([x[:, ~inside], *codes]).astype(np.float64)
        sampler = self.make(targets, task.seed % 2**32, len(codes), whole.shape[1])
        found, labels = sampler.fit_resample(whole, y)
        out = np.empty((len(found), x.shape[1]), x.dtype)
        out[:, ~inside] = found[:, : whole.shape[1] - len(codes)]
        for (start, end), known, code in zip(task.categories, values, found[:, whole.shape[1] - len(codes) :].T):
            out[:, start:end] = known[code.astype(np.int64)]
        return out, labels
