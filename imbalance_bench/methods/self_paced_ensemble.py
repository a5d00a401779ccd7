"""Self-paced Ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.methods.shared.allotted import allotted
from imbalance_bench.options import Count, Text
from imbalance_bench.registry import METHODS
from imbalance_bench.running import progress

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine
    from imbalance_bench.methods.shared.estimators import Recipe

Hardness = Literal["absolute", "squared", "cross_entropy"]


@METHODS.register("self_paced_ensemble")
@dataclass(frozen=True)
class SelfPacedEnsemble(Method):
    """Self-paced Ensemble (Liu et al., "Self-paced Ensemble for Highly Imbalanced Massive Data Classification", ICDE
    2020), Algorithm 1.

    f_0 is trained on the minority P and as many rows of the majority N at random. For i = 1 to n = ``members``, with
    F_i the mean of f_0, ..., f_(i-1): N is cut into k = ``bins`` bins of equal width by the hardness H(x, y, F_i) in
    [0, 1], h_l is the mean hardness of bin l, and from it a share of |P| rows in proportion to

        p_l = 1 / (h_l + α),  α = tan(i π / 2n),

    is drawn, on which with P f_i is trained. So easy rows come first, and at the end every bin counts the same. F is
    the mean of f_1, ..., f_n.

    H is |F(x) - y| (``absolute``), its square, or -log F_y (``cross_entropy``), which is divided by its largest value
    so as to lie in [0, 1]. What the paper leaves open: shares are whole numbers by largest remainder, and what a bin is
    too small for is divided among the others in the same proportions. Of more than two classes each but the smallest
    is a majority of its own, with H of its own label.

    ``estimator`` and ``options`` are of f: an import path and the options of its constructor, as of method=estimator.
    No network is trained.
    """

    reads = "vectors"

    members: Count
    bins: Count
    hardness: Hardness
    estimator: Annotated[Text, "the import path of a class"]
    options: Annotated[dict[str, Any], "of its constructor"]

    def __post_init__(self) -> None:
        self.recipe.check()

    @cached_property
    def recipe(self) -> Recipe:
        from imbalance_bench.methods.shared.estimators import Recipe

        return Recipe(self.estimator, self.options)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        from imbalance_bench.methods.shared.one_by_one import one_by_one

        return one_by_one(lambda task: self.fit_one(task, engine.rows_of(task)), tasks, engine)

    def fit_one(self, task: Task, rows: Part) -> Classifier:
        """One run; its history is one row."""
        from imbalance_bench.methods.shared import estimators

        known, y = np.unique(rows.y, return_inverse=True)
        counts = np.bincount(y)
        rare, x = int(counts.argmin()), estimators.doubles(rows.x)
        rng = np.random.default_rng(task.seed)
        info = resampling_info(task, rows)
        members: list[Any] = []
        sums = np.zeros((len(y), len(known)))  # of the probabilities of the members so far
        for i in range(self.members + 1) if len(known) > 1 else ():
            drawn = [np.flatnonzero(y == rare)]
            for c in np.delete(np.arange(len(known)), rare):
                own = np.flatnonzero(y == c)
                if i == 0:
                    drawn.append(rng.choice(own, counts[rare], replace=False))
                    continue
                bins, wanted = self.paced(sums[own, c] / i, i, counts[rare])
                drawn += [rng.choice(own[bins == place], n, replace=False) for place, n in enumerate(wanted) if n]
            subset = np.sort(np.concatenate(drawn))
            made = self.recipe.make(int(rng.integers(2**31)))
            info |= estimators.fitted(made, x[subset], y[subset], f"method={self.name}, fold {task.fold}")
            members.append(made)
            sums += np.exp(estimators.class_scores(made, x, len(known)))
            progress.report("members", i + 1, self.members + 1, "members")
        return estimators.described(
            estimators.EstimatorClassifier(members[1:], known, task.classes, info=info), task, rows
        )

    def paced(self, p: np.ndarray, i: int, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Majority rows with probability ``p`` (n,) of their own class by F_i: the bin (n,) of each, and how many of
        ``total`` rows to draw from each bin (k,)."""
        if self.hardness == "cross_entropy":
            h = -np.log(p)
            h /= max(h.max(), np.finfo(float).tiny)
        else:
            h = (1 - p) ** (2 if self.hardness == "squared" else 1)
        h = h.clip(0, 1)  # of rounding
        bins = np.minimum((h * self.bins).astype(int), self.bins - 1)
        sizes = np.bincount(bins, minlength=self.bins)
        means = np.bincount(bins, h, self.bins) / np.maximum(sizes, 1)
        return bins, shares(1 / (means + np.tan(i * np.pi / (2 * self.members))), sizes, total)


def shares(weights: np.ndarray, sizes: np.ndarray, total: int) -> np.ndarray:
    """``total`` (at most all there are) divided in proportion to ``weights`` (k,) among bins that hold ``sizes`` (k,):
    what one is too small for goes to the others in the same proportions."""
    counts = np.zeros_like(sizes)
    while counts.sum() < total:
        open_ = counts < sizes
        weight = np.log(weights, where=open_, out=np.full(len(weights), -np.inf))
        counts = np.minimum(counts + allotted(weight, int(total - counts.sum())), sizes)
    return counts
