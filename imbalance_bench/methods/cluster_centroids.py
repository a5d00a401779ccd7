"""Under-sampling by cluster centroids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.methods.base import Method
from imbalance_bench.methods.shared.oversampling import with_made
from imbalance_bench.registry import METHODS


@METHODS.register("cluster_centroids")
@dataclass(frozen=True)
class ClusterCentroids(Method):
    """Cluster centroids (Yen & Lee, 2009), imbalanced-learn's: in place of every class but the smallest stand the
    centroids of its k-means clusters, as many as the smallest has rows."""

    reads = "vectors"

    def resample(self, task: Task, rows: Part) -> Part:
        from imblearn.under_sampling import ClusterCentroids as Sampler

        classes, counts = np.unique(rows.y, return_counts=True)
        larger = {int(c): int(counts.min()) for c, n in zip(classes, counts) if n > counts.min()}
        flat = rows.x.reshape(len(rows), -1)
        flat = flat.astype(np.float32) if flat.dtype == np.uint8 else flat
        sampler = Sampler(sampling_strategy=larger, voting="soft", random_state=task.seed % 2**32)
        x, y = sampler.fit_resample(flat, rows.y)
        made = np.isin(y, list(larger))
        return with_made(rows.take(~np.isin(rows.y, list(larger))), x[made], y[made])
