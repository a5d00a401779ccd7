"""KMeans-SMOTE."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from imbalance_bench.methods.shared.allotted import allotted
from imbalance_bench.methods.shared.oversampling import OverSampler
from imbalance_bench.options import Count, NonNegative, Positive
from imbalance_bench.registry import METHODS

log = logging.getLogger("imbalance_bench")


@METHODS.register("kmeans_smote")
@dataclass(frozen=True)
class KMeansSMOTE(OverSampler):
    """KMeans-SMOTE (Last et al., "Oversampling for Imbalanced Learning Based on K-Means and SMOTE", 2017), by the rules
    of the authors' package.

    All rows are put into ``clusters`` clusters (mini-batch k-means). A cluster with m rows of the class that is filled
    up and o others is kept where (o + 1) / (m + 1) < ``threshold`` and m > 1. The rows to make are divided among the
    kept clusters in proportion to their sparsity d^e / m, with d the mean distance between two of the m rows and e =
    ``exponent`` (null: the number of features), and made by SMOTE among the m, with ``k_neighbors`` or, in a smaller
    cluster, m - 1 neighbours. Where no cluster is kept, the class is one cluster: SMOTE, or copies of a row that is
    alone. So it fails nowhere, as imbalanced-learn's version does under its own rule for clusters.

    Sparsities are compared by their logarithms (d^1024 is not a float64), clusters of equal points count as infinitely
    dense, and counts are exact: by largest remainder instead of rounding each. Left out: the package's rule for the
    number of clusters, a third of all rows and more, where the paper tries 2 to 500.
    """

    reads = "vectors"

    clusters: Count
    k_neighbors: Count
    threshold: Positive
    exponent: Annotated[NonNegative | None, "null: the number of features"]

    def make(self, targets: dict[int, int], seed: int) -> Any:
        return ClusterSampler(self, targets, seed)


class ClusterSampler:
    """Fills classes up to ``targets``, class → rows; with the interface of imbalanced-learn's samplers."""

    def __init__(self, options: KMeansSMOTE, targets: dict[int, int], seed: int) -> None:
        self.options, self.targets, self.seed = options, targets, seed

    def fit_resample(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, d) and labels (n,), and what was made after them."""
        from sklearn.cluster import MiniBatchKMeans

        options = self.options
        exponent = x.shape[1] if options.exponent is None else options.exponent
        clusters = MiniBatchKMeans(min(options.clusters, len(x)), random_state=self.seed).fit_predict(x)
        rng = np.random.default_rng(self.seed)
        made, labels = [x], [y]
        for c, wanted in self.targets.items():
            own = np.flatnonzero(y == c)
            groups = kept_clusters(y == c, clusters, options.threshold)
            log.info(
                "KMeans-SMOTE: class %d is filled up in %d clusters%s", c, len(groups), "" if groups else ": SMOTE"
            )
            groups = groups or [own]
            weights = np.array([log_sparsity(x[rows], exponent) for rows in groups] if len(groups) > 1 else [0.0])
            for rows, count in zip(groups, allotted(weights, wanted - len(own))):
                made.append(interpolated(x[rows], count, options.k_neighbors, rng))
            labels.append(np.full(wanted - len(own), c, y.dtype))
        return np.concatenate(made), np.concatenate(labels)


def kept_clusters(own: np.ndarray, clusters: np.ndarray, threshold: float) -> list[np.ndarray]:
    """The rows of a class (``own``: which are, (n,)) in each cluster that is kept (``clusters``: whose each is)."""
    kept = []
    for cluster in np.unique(clusters):
        inside = clusters == cluster
        rows = np.flatnonzero(inside & own)
        if len(rows) > 1 and (inside.sum() - len(rows) + 1) / (len(rows) + 1) < threshold:
            kept.append(rows)
    return kept


def log_sparsity(points: np.ndarray, exponent: float) -> float:
    """log(d^exponent / m) for points (m, ...) at the mean distance d; -inf where all are equal."""
    from scipy.spatial.distance import pdist

    distance = pdist(points).mean()
    if exponent == 0:
        return -float(np.log(len(points)))
    return exponent * float(np.log(distance)) - float(np.log(len(points))) if distance > 0 else -np.inf


def interpolated(points: np.ndarray, count: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` points on segments from points (m, d) to one of their k (at most m - 1) nearest others; copies of a
    point that is alone."""
    from sklearn.neighbors import NearestNeighbors

    first = rng.integers(len(points), size=count)
    k = min(k, len(points) - 1)
    if k == 0:
        return points[first]
    near = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    second = near[first, rng.integers(k, size=count)]
    along = rng.random((count, 1)).astype(points.dtype)
    return points[first] + along * (points[second] - points[first])
