"""LMLE: an embedding with margins between clusters and between classes, learned from quintuplets."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.methods.shared.metric_learning import class_costs, unvalidated
from imbalance_bench.options import BelowOne, Count, Len, NonNegative
from imbalance_bench.registry import METHODS
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.running.models import State, Surroundings, kept

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.batches import Batch, Sampler
    from imbalance_bench.engine.loop import Training, TrainState
    from imbalance_bench.engine.stack import Stack

MEMBERS = 5


@METHODS.register("lmle")
@dataclass(frozen=True)
class LMLE(Method):
    """Large Margin Local Embedding (Huang et al., "Learning Deep Representation for Imbalanced Classification", CVPR
    2016).

    f(x) is the backbone's embedding scaled to length one, D squared Euclidean distance. Each class is cut into clusters
    by k-means on f. A quintuplet of an anchor x is p+, the farthest row of its cluster; p-, the nearest row of its
    class outside the cluster; p--, the farthest such row; n, the nearest row of another class. They are to lie in this
    order, with ``margins`` g1, g2, g3 between (the triple-header hinge). The mean over a batch's anchors is taken of

        w_y [ max(0, g1 + D(x, p+) - D(x, p-)) + max(0, g2 + D(x, p-) - D(x, p--)) + max(0, g3 + D(x, p--) - D(x, n)) ].

    Batches hold equally many anchors of each class (on average over a pass); costs w_c ∝ n_c^-``cost_power``, of mean
    one over classes.

    Decision (cluster-wise kNN, large margin local decision): φ(x) are the ``neighbours`` cluster centres nearest to
    f(x); a class's score is D from x to the nearest centre in φ(x) of another class less D to the farthest in φ(x) of
    its own, and the highest wins. See ``ClusterDecision`` for classes outside φ(x).

    What the public facts leave open, or a short schedule cannot follow, is chosen so:

    - Clusters: ``clusters`` in each class, so that a small class has as many centres as a large one.
    - First clusters: the paper starts from features of another model; here ``initial``, a share of trainer.epochs, is
      plain softmax training of the same network.
    - Refresh: clusters every ``refresh`` passes, quintuplets in each (the paper: every 5,000 iterations).
    - Pool: the four others are searched among ``pool`` random rows of each class, drawn with the clusters. The paper
      takes half of all rows, so that the very hardest do not rule. In the three passes that a short schedule has for it
      on MNIST, half of the rows left the loss at the sum of the margins, which is that of a constant f.
    - A pass has as many batches as one of another method and its batches as many images, a fifth of them anchors: every
      method sees as many images.
    - The head is not trained after ``initial``; the readout is the last epoch: validation would rank the head.
    """

    stages = True

    margins: Annotated[tuple[NonNegative, ...], Len(3, 3)]
    clusters: Count
    refresh: Count
    pool: Count
    initial: Annotated[BelowOne, "a share of trainer.epochs"]
    cost_power: Annotated[NonNegative, "0: no class costs"]
    neighbours: Count

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        import torch

        from imbalance_bench.methods.shared.decisions import DeepClassifier

        sets = [engine.rows_of(t) for t in tasks]
        for task, rows in zip(tasks, sets):
            if len(np.unique(rows.y)) < 2:
                raise BenchError(f"method=lmle needs training rows of two classes, and fold {task.fold} has one")
        epochs = engine.trainer.epochs
        training = engine.begin(self, unvalidated(tasks), backbone)
        initial = min(round(self.initial * epochs), epochs - 1)
        training.run(sets, initial, phase="softmax training")
        period = Period()
        # On the device once: a copy a step would be made in each.
        objective = partial(self.quintuplet_loss, torch.tensor(self.margins, dtype=engine.dtype).to(engine.device))
        loop = Loop("periods", -(-(epochs - initial) // self.refresh), training, period)
        for done in loop:
            epoch = done * self.refresh
            if not loop.inside:
                training.monitor.check()
                period.take([self.clustering(training, r, t, sets, epoch) for r, t in enumerate(tasks)])
            sampler = period.sampler([rows.y for rows in sets])
            length = min(self.refresh, epochs - initial - epoch)
            training.run(sets, length, objective, sampler, phase="quintuplet training")
        classifiers: list[Classifier] = []
        for r, made in enumerate(engine.classifiers(training.stack, training.monitor)):
            made.info |= resampling_info(tasks[r], sets[r])
            final = self.clustering(training, r, tasks[r], sets, epochs)
            if final is None:
                classifiers.append(made)
                continue
            decision = ClusterDecision(final.centres(), final.owner, self.neighbours, tasks[r].classes)
            classifiers.append(DeepClassifier(made, {"last": decision}, unit=True))
        return classifiers

    def clustering(
        self, training: Training, run: int, task: Task, sets: Sequence[Part], epoch: int
    ) -> Clustering | None:
        """The clusters of a run's rows under its present f; None where the run has diverged."""
        from imbalance_bench.methods.shared.decisions import directions

        if run not in training.monitor.alive:
            return None
        stack, stored, labels = training.stack, training.on_device(sets), sets[run].y
        x = stored.x[stored.offsets[run] :][: len(labels)]
        h = directions(stack.predict(stack.flat[run].detach(), x, "embed"))
        return Clustering(h, labels, self.clusters, self.pool, np.random.default_rng([task.seed, epoch]))

    def quintuplet_loss(self, margins: torch.Tensor, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        """The objective of batches of quintuplets (R, 5 b), one after the other."""
        from imbalance_bench.engine.losses import of_label
        from imbalance_bench.methods.shared.decisions import directions

        h = directions(stack(batch.x, "embed")).unflatten(1, (-1, MEMBERS))
        costs = of_label(class_costs(state.counts, self.cost_power), batch.y[:, ::MEMBERS])
        return (costs * triple_header(h, margins)).mean(1)


def triple_header(h: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """The sum of the three hinges (...) of quintuplets of unit embeddings (..., 5, d): anchor, p+, p-, p--, n; with
    ``margins`` (3,)."""
    squared = 2 - 2 * (h[..., :1, :] * h[..., 1:, :]).sum(-1)
    steps = squared[..., :-1] - squared[..., 1:]
    return (steps + margins).relu().sum(-1)


class Clustering:
    """Rows of one run cut into clusters of their classes, and a pool of them that quintuplets are made of.

    ``h``: unit embeddings (n, d); ``labels`` (n,); ``cluster`` (n,): the cluster of each row, ``owner``: the class of
    each cluster; ``pool``: at most ``pool`` rows of each class.
    """

    def __init__(self, h: torch.Tensor, labels: np.ndarray, clusters: int, pool: int, rng: np.random.Generator) -> None:
        import torch

        cluster, owner, pooled = np.empty(len(labels), np.int64), list[int](), []
        here = h.cpu().numpy()
        for c in np.unique(labels).tolist():
            rows = np.flatnonzero(labels == c)
            found = kmeans(here[rows], clusters, int(rng.integers(2**31)))
            cluster[rows] = found + len(owner)
            owner += [c] * (int(found.max()) + 1)
            pooled.append(rng.permutation(rows)[:pool])
        self.h = h
        self.labels, self.cluster, self.owner, self.pool = (
            torch.as_tensor(a).to(h.device, non_blocking=True)
            for a in (labels, cluster, np.array(owner), np.concatenate(pooled))
        )

    @property
    def parts(self) -> tuple[torch.Tensor, ...]:
        """Arrays that make the same one again, for ``of``."""
        return self.h, self.labels, self.cluster, self.owner, self.pool

    @classmethod
    def of(cls, parts: Sequence[torch.Tensor]) -> Clustering:
        made = cls.__new__(cls)
        made.h, made.labels, made.cluster, made.owner, made.pool = parts
        return made

    def centres(self) -> torch.Tensor:
        """Mean embeddings (m, d) of the clusters."""
        sums = self.h.new_zeros(len(self.owner), self.h.shape[1]).index_add_(0, self.cluster, self.h)
        return sums / self.cluster.bincount()[:, None]

    def quintuplets(self, anchors: torch.Tensor) -> torch.Tensor:
        """Rows (a, 5): anchors (a,), and p+, p-, p--, n of the pool. Where the pool has no row of the anchor's cluster,
        p+ is the anchor; where it has no other cluster of its class, p- and p-- are p+ (no gradient between them)."""
        import torch

        chunk = max(1, 2**23 // len(self.pool))
        return torch.cat([self._quintuplets(part) for part in anchors.to(self.h.device).split(chunk)])

    def _quintuplets(self, anchors: torch.Tensor) -> torch.Tensor:
        import torch

        cosines = self.h[anchors] @ self.h[self.pool].T
        own_class = self.labels[anchors][:, None] == self.labels[self.pool]
        own_cluster = self.cluster[anchors][:, None] == self.cluster[self.pool]
        beside = own_class & ~own_cluster
        inner = self.pool[cosines.masked_fill(~own_cluster, torch.inf).argmin(1)]
        inner = torch.where(own_cluster.any(1), inner, anchors)
        near = self.pool[cosines.masked_fill(~beside, -torch.inf).argmax(1)]
        far = self.pool[cosines.masked_fill(~beside, torch.inf).argmin(1)]
        near, far = (torch.where(beside.any(1), rows, inner) for rows in (near, far))
        other = self.pool[cosines.masked_fill(own_class, -torch.inf).argmax(1)]
        return torch.stack([anchors, inner, near, far, other], 1)


def kmeans(x: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Clusters (n,) of rows (n, d), numbered from 0 without gaps; fewer than asked for where rows are few or equal."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        found = KMeans(min(clusters, len(x)), n_init=1, max_iter=30, random_state=seed).fit_predict(x)
    return np.unique(found, return_inverse=True)[1]


class Period:
    """The passes between two looks at where rows are: the clusterings of the runs, None of those that diverged."""

    kept = ("clusterings",)

    def __init__(self) -> None:
        self.clusterings: list[tuple[torch.Tensor, ...] | None] = []

    def take(self, found: Sequence[Clustering | None]) -> None:
        self.clusterings = [None if one is None else one.parts for one in found]

    def sampler(self, labels: Sequence[np.ndarray]) -> Sampler:
        """Batches of each run in turn, with labels (n,), as an epoch asks for them."""
        found = [None if parts is None else Clustering.of(parts) for parts in self.clusterings]
        runs = cycle(zip(found, labels))
        return lambda _, batch_size, generator: quintuplet_batches(*next(runs), batch_size, generator)


def quintuplet_batches(
    clustering: Clustering | None, labels: np.ndarray, batch_size: int, generator: torch.Generator
) -> torch.Tensor:
    """A pass: (steps, 5 b) rows, b quintuplets a batch; equally many anchors of each class, which is traversed in
    shuffled passes. Of a run that has diverged: anchors alone."""
    import torch

    from imbalance_bench.engine.batches import stratified

    b = max(1, batch_size // MEMBERS)
    steps = -(-len(labels) // batch_size)
    y = torch.as_tensor(labels)
    classes = y.unique().tolist()
    anchors = stratified(y, dict.fromkeys(classes, -(-steps * b // len(classes))), 1, generator)[0]
    anchors = anchors[torch.randperm(len(anchors), generator=generator)][: steps * b]
    rows = anchors[:, None].expand(-1, MEMBERS) if clustering is None else clustering.quintuplets(anchors).cpu()
    return rows.reshape(steps, b * MEMBERS)


@kept("clusters")
class ClusterDecision:
    """The large margin local decision over cluster centres (m, d) of classes (m,).

    The score of class c is D(x, nearest centre of another class) - D(x, farthest centre of c in φ(x)), where φ(x) are
    the ``k`` nearest centres; log-probabilities are the log-softmax of the scores. For a class without a centre in φ(x)
    its nearest one counts, so that every class has a score; such a class cannot win. Where φ(x) is of one class, that
    wins.
    """

    def __init__(self, centres: torch.Tensor, owners: torch.Tensor, k: int, classes: int) -> None:
        self.centres, self.owners, self.k, self.classes = centres, owners, k, classes

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        import torch

        from imbalance_bench.methods.shared.decisions import LEAST

        squared = torch.cdist(features, self.centres, compute_mode="donot_use_mm_for_euclid_dist").square_().double()
        last = squared.topk(min(self.k, len(self.centres)), largest=False).values[:, -1:]
        least, most = (squared.new_full((len(features), self.classes), sign * torch.inf) for sign in (1, -1))
        owners = self.owners.expand_as(squared)
        least.scatter_reduce_(1, owners, squared, "amin")
        most.scatter_reduce_(1, owners, squared.masked_fill(squared > last, -torch.inf), "amax")
        own = torch.where(most.isfinite(), most, least)
        first, second = least.topk(2, largest=False).values.split(1, dim=1)
        other = torch.where(least == first, second, first)
        return (other - own).log_softmax(1).clamp_(min=np.log(LEAST)).cpu().numpy()

    def state(self) -> State:
        facts = {"k": self.k, "classes": self.classes}
        return State(facts, {"centres": self.centres, "owners": self.owners})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> ClusterDecision:
        return cls(**around.tensors(state), **state.facts)
