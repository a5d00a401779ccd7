"""Under-sampling by instance hardness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.options import Count, Ge
from imbalance_bench.registry import METHODS


@METHODS.register("iht")
@dataclass(frozen=True)
class IHT(Method):
    """Instance hardness threshold (Smith et al., 2014), imbalanced-learn's: every class but the smallest is cut to its
    size by leaving out the rows that are hardest to classify.

    The hardness of a row of class y is 1 - p(y | x), p from random forests of ``trees`` trees cross-fitted in ``folds``
    folds. Rows with p at or above a percentile stay; p of a forest is a share of trees, and as many rows as are tied
    there stay too: more than asked for, which ``fitted_counts`` in the record shows. On classes that are easily told
    apart (p = 1 for most rows) little is cut.
    """

    reads = "vectors"

    trees: Count
    folds: Annotated[int, Ge(2)]

    def resample(self, task: Task, rows: Part) -> Part:
        from imblearn.under_sampling import InstanceHardnessThreshold
        from sklearn.ensemble import RandomForestClassifier

        from imbalance_bench.methods.shared.vectors import flat_vectors

        self.check(task, rows)
        # Probabilities are looked up by label: without gaps, whichever classes have rows.
        labels = np.unique(rows.y, return_inverse=True)[1]
        sampler = InstanceHardnessThreshold(
            estimator=RandomForestClassifier(self.trees), cv=self.folds, random_state=task.seed % 2**32
        )
        sampler.fit_resample(flat_vectors(rows.x), labels)
        return rows.take(np.sort(sampler.sample_indices_))

    def check(self, task: Task, rows: Part) -> None:
        fewest = np.unique(rows.y, return_counts=True)[1].min()
        if fewest < self.folds:
            fewer = f"set method.folds={fewest}, or " if fewest > 1 else ""
            raise BenchError(
                f"method={self.name} needs at least folds = {self.folds} rows of each class, and fold {task.fold} has "
                f"{fewest} of one: {fewer}choose a lower ratio"
            )
