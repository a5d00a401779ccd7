"""Meta-Weight-Net: sample weights by a small network of the loss, trained so that a balanced meta set is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.options import Count, NonNegative
from imbalance_bench.registry import METHODS
from imbalance_bench.seeds import META, derived

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.batches import Batch, Rows
    from imbalance_bench.engine.loop import Training, TrainState
    from imbalance_bench.engine.stack import Stack

PLANNED = 64  # meta batches that are drawn at a time


@METHODS.register("meta_weight_net")
@dataclass(frozen=True)
class MetaWeightNet(Method):
    """Meta-Weight-Net (Shu et al., 2019), Algorithm 1: V(L; Θ), a perceptron 1 → ``hidden`` → 1 with a sigmoid, weighs
    each sample by its loss L_i(w) (cross-entropy). A step with a batch and a balanced meta batch:

        ŵ(Θ) = w - α ∇_w Σ_i v_i L_i(w)      v_i = V(L_i; Θ) / Σ_k V(L_k; Θ), L_i in V taken as a number  (eq. 3)
        Θ ← Θ - β ∇_Θ mean L^meta(ŵ(Θ))                                                                   (eq. 4)
        w ← a step of the trainer's optimiser by ∇_w Σ_i v_i L_i(w), v_i of the new Θ                     (eq. 5)

    α is the present learning rate; Θ is moved by SGD (``meta_lr`` β, ``meta_momentum``, ``meta_weight_decay``) in
    every ``meta_every``-th step. Weights sum to one over the batch, and the settings are those of the authors' script
    for imbalanced classes (its momentum is Nesterov's, ours is not). Running statistics that the network with ŵ
    computes are discarded.

    The meta set is taken out of the training part: ``meta_per_class`` rows a class, at most half of them. A meta batch
    holds equally many rows of each class, up to ``trainer.batch_size`` in all.

    history.csv: ``vnet_gradient``, the mean norm of ∇_Θ, and the mean of B v_i over samples of the minority and the
    other classes (1: as without weights).
    """

    meta_per_class: Count
    meta_every: Count
    hidden: Count
    meta_lr: NonNegative
    meta_momentum: NonNegative
    meta_weight_decay: NonNegative

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        engine.check_uncompiled(self)
        metas, sets = zip(*(self.split(t, engine.rows_of(t)) for t in tasks))
        training = engine.begin(self, tasks, backbone)
        weighing = Weighing(self, training, metas)
        training.run(sets, engine.trainer.epochs, weighing)
        weighing.tell(training.monitor.history)
        classifiers = engine.classifiers(training.stack, training.monitor)
        for classifier, task, meta, rows in zip(classifiers, tasks, metas, sets):
            counts = np.bincount(meta.y, minlength=task.classes).tolist()
            classifier.info |= resampling_info(task, rows) | {"meta_counts": counts}
            classifier.artifacts["meta_ids"] = meta.ids
        return list(classifiers)

    def split(self, task: Task, rows: Part) -> tuple[Part, Part]:
        """The meta set and what is left to train on."""
        rng = np.random.default_rng(derived(task.seed, META))
        chosen = []
        for c in np.unique(rows.y):
            own = np.flatnonzero(rows.y == c)
            if len(own) < 2:
                raise BenchError(
                    f"method=meta_weight_net takes rows of each class out of the training part and needs at least 2, "
                    f"and fold {task.fold} has {len(own)} of class {c}: choose a lower ratio, or fewer protocol.folds"
                )
            chosen.append(rng.choice(own, min(self.meta_per_class, len(own) // 2), replace=False))
        is_meta = np.isin(np.arange(len(rows)), np.concatenate(chosen))
        return rows.take(np.flatnonzero(is_meta)), rows.take(np.flatnonzero(~is_meta))


class Weighing:
    """The objective Σ_i v_i L_i(w) (R,) for ``Training.run``, and the V-nets of R runs that it trains on the way."""

    kept = ("vnet", "descent", "batches", "moving", "taken", "sums")

    def __init__(self, options: MetaWeightNet, training: Training, metas: Sequence[Part]) -> None:
        import torch

        from imbalance_bench.backbones.mlp import MLP
        from imbalance_bench.engine.batches import Rows
        from imbalance_bench.engine.optim import SGD
        from imbalance_bench.engine.stack import Stack

        self.training, self.every = training, options.meta_every
        tasks, like = training.tasks, training.stack.flat
        seeds = [derived(t.seed, META) for t in tasks]
        self.vnet = Stack.create(lambda: MLP(1, (options.hidden,), "relu", 0, "linear"), seeds, like.device, like.dtype)
        self.descent = SGD(self.vnet, options.meta_lr, options.meta_momentum, options.meta_weight_decay)
        meta = Rows(metas, like.device, like.dtype, training.stack.pad)
        each = min(options.meta_per_class, max(1, training.trainer.batch_size // tasks[0].classes))
        drawing, self.moving = ([torch.Generator().manual_seed(s + k) for s in seeds] for k in (0, 1))
        self.batches = MetaBatches(meta, each, drawing)
        self.rare = torch.zeros(len(tasks), tasks[0].classes, dtype=torch.bool, device=like.device)
        for r, task in enumerate(tasks):
            self.rare[r, list(task.minority_classes)] = True
        self.taken = [0] * len(tasks)
        self.rates, self.learned = Sent(like), Sent(like)
        # Epoch → (R, 6): what the columns of ``tell`` are means of, and over how many.
        self.sums: dict[int, torch.Tensor] = {}

    def __call__(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        import torch

        from imbalance_bench.engine.losses import cross_entropy

        losses = cross_entropy(stack(batch.x), batch.y)
        # Each run counts its own steps: it may sit some out.
        due = [r for r, size in enumerate(batch.sizes) if size and self.taken[r] % self.every == 0]
        self.taken = [taken + (size > 0) for taken, size in zip(self.taken, batch.sizes)]
        if due:
            self.learn(stack, batch, losses, due)
        with torch.no_grad():
            weights = self.weights(losses, batch)
            self.watch(weights, batch, state.epoch, due)
        return (weights * losses).sum(1)

    def weights(self, losses: torch.Tensor, batch: Batch) -> torch.Tensor:
        """v (R, B) of losses (R, B), which are taken as numbers; sums to one over the rows that a run really has."""
        v = self.vnet(losses.detach()[..., None]).squeeze(-1).sigmoid()
        if batch.weight is not None:
            v = v * (batch.weight > 0)
        return v / v.sum(1, keepdim=True).clamp(min=1e-30)

    def learn(self, stack: Stack, batch: Batch, losses: torch.Tensor, due: list[int]) -> None:
        """A step of Θ for the runs in ``due``.

        ŵ depends on Θ only through the v_i, so with u = ∇_ŵ L^meta the chain rule gives
        ∇_Θ L^meta = -α ∇_Θ ⟨∇_w Σ_i v_i L_i, u⟩: exact, and the meta batch is not differentiated twice.
        """
        import torch

        inner = (self.weights(losses, batch) * losses).sum()
        gradients = torch.autograd.grad(inner, list(stack.params.values()), create_graph=True)
        rates = self.rates(self.training.rates)
        ahead = {
            n: (p - rates.view(-1, *[1] * (g.dim() - 1)) * g).detach()
            for (n, p), g in zip(stack.params.items(), gradients)
        }
        u = self.meta_gradient(stack, ahead, due, ragged=batch.weight is not None)
        along = torch.stack([(g * u_n).flatten(1).sum(1) for g, u_n in zip(gradients, u)]).sum(0)
        self.vnet.backward(-(rates * along).sum())
        self.descent.step(due)

    def meta_gradient(
        self, stack: Stack, params: dict[str, torch.Tensor], due: list[int], ragged: bool
    ) -> Sequence[torch.Tensor]:
        """The gradient of the mean loss of a meta batch with respect to parameters, each (R, ...); only runs in
        ``due`` draw one. ``ragged``: the stack attends to the sizes of a training batch."""
        import torch

        from imbalance_bench.engine.losses import cross_entropy

        meta = self.batches.next(due)
        if self.training.augment is not None:
            meta = self.training.augment(meta, self.moving)
        for p in params.values():
            p.requires_grad_()
        with stack.attending(meta.sizes if ragged or meta.weight is not None else None):
            buffers = {n: b.clone() for n, b in stack.buffers.items()}
            outer = meta.mean(cross_entropy(stack.forward(buffers | params, meta.x), meta.y))
        return torch.autograd.grad(outer.sum(), list(params.values()))

    def watch(self, weights: torch.Tensor, batch: Batch, epoch: int, due: list[int]) -> None:
        import torch

        real = torch.ones_like(weights) if batch.weight is None else (batch.weight > 0).to(weights)
        relative = weights * real.sum(1, keepdim=True)
        rare = self.rare.gather(1, batch.y) * real
        new = torch.zeros(len(weights), 6, dtype=weights.dtype, device=weights.device)
        if due:
            learned = self.learned([r in due for r in range(len(weights))])
            new[:, 0], new[:, 1] = learned * self.vnet.grad.norm(dim=1), learned
        for column, group in ((2, rare), (4, real - rare)):
            new[:, column], new[:, column + 1] = (relative * group).sum(1), group.sum(1)
        self.sums[epoch] = self.sums[epoch] + new if epoch in self.sums else new

    def tell(self, history: Sequence[list[dict[str, float]]]) -> None:
        """Adds the means over an epoch to its row in each run's history."""
        import torch

        names = ("vnet_gradient", "weight_minority", "weight_majority")
        if not self.sums:
            return
        for epoch, sums in zip(self.sums, torch.stack(list(self.sums.values())).tolist()):
            for rows, values in zip(history, sums):
                if epoch < len(rows):
                    pairs = zip(names, values[::2], values[1::2])
                    rows[epoch] |= {name: total / n for name, total, n in pairs if n}


class Sent:
    """Numbers of runs (R,) on the device, sent there when they change."""

    def __init__(self, like: torch.Tensor) -> None:
        self.like, self.values = like, list[float]()

    def __call__(self, values: Sequence[float]) -> torch.Tensor:
        import torch

        if self.values != list(values):
            self.values = list(values)
            self.there = torch.tensor(self.values, dtype=self.like.dtype).to(self.like.device, non_blocking=True)
        return self.there


class MetaBatches:
    """The meta batches of R runs, ``each`` rows of every class; ``PLANNED`` are sent to the device at a time."""

    kept = ("plans", "ahead", "there", "used", "longest")

    def __init__(self, rows: Rows, each: int, generators: Sequence[torch.Generator]) -> None:
        import torch

        self.rows, runs = rows, len(generators)
        self.plans = [Endless(labels, each, g) for labels, g in zip(rows.labels, generators)]
        self.sizes = [each * len(torch.unique(labels)) for labels in rows.labels]
        # The next ones of each run, (PLANNED, size) here and (R, PLANNED, B) there, of which so many are used.
        self.ahead = [torch.zeros(PLANNED, size, dtype=torch.int64) for size in self.sizes]
        self.there, self.used = torch.zeros(0, dtype=torch.int64, device=rows.x.device), [PLANNED] * runs
        self.longest: list[list[int]] = []
        self.offsets = torch.tensor(rows.offsets, device=rows.x.device)[:, None]
        real = (torch.arange(max(self.sizes)) < torch.tensor(self.sizes)[:, None]).to(rows.like)
        self.weight = real / real.sum(1, keepdim=True)
        self.due = Sent(rows.like)

    def next(self, due: Sequence[int]) -> Batch:
        """A batch of the runs in ``due``; the others have no rows in it and stay where they are."""
        import torch

        from imbalance_bench.engine.batches import Batch

        if any(self.used[r] == PLANNED for r in due):
            self._look_ahead()
        if len(set(self.used)) == 1:
            rows = self.there[:, self.used[0]]
        else:
            at = torch.tensor(self.used).clamp_(max=PLANNED - 1).to(self.there.device, non_blocking=True)
            rows = self.there.gather(1, at[:, None, None].expand(-1, 1, self.there.shape[2])).squeeze(1)
        among = [r in due for r in range(len(self.used))]
        self.used = [used + mine for used, mine in zip(self.used, among)]
        full = all(among) and len(set(self.sizes)) == 1
        weight = None if full else self.weight * self.due(among)[:, None]
        sizes = [size if mine else 0 for size, mine in zip(self.sizes, among)]
        x, y = self.rows.take(rows)
        if self.longest:
            x = x[..., : max(self.longest[r][self.used[r] - 1] for r in due)]
        return Batch(x, y, rows, weight, None if all(among) else list(due), self.offsets, sizes)

    def _look_ahead(self) -> None:
        """Each run's next ``PLANNED`` batches, with those that it has not used."""
        import torch

        runs = zip(self.ahead, self.used, self.plans)
        self.ahead = [torch.cat([ahead[used:], plan.next(used)]) for ahead, used, plan in runs]
        self.used = [0] * len(self.ahead)
        rows = [ahead + offset for ahead, offset in zip(self.ahead, self.rows.offsets)]
        if self.rows.lengths is not None:
            self.longest = [self.rows.lengths[of_run].amax(1).tolist() for of_run in rows]
        widest = max(self.sizes)
        padded = [torch.nn.functional.pad(of_run, (0, widest - of_run.shape[1])) for of_run in rows]  # pads read row 0
        self.there = torch.stack(padded).to(self.rows.x.device, non_blocking=True)


class Endless:
    """Batches of row numbers with ``each`` rows of every class, in shuffled passes."""

    kept = ("left", "generator")

    def __init__(self, labels: torch.Tensor, each: int, generator: torch.Generator) -> None:
        import torch

        self.labels, self.generator = labels, generator
        self.sizes = dict.fromkeys(torch.unique(labels).tolist(), each)
        self.left = torch.zeros(0, sum(self.sizes.values()), dtype=torch.int64)

    def next(self, n: int) -> torch.Tensor:
        """The next ``n`` batches, (n, classes · each)."""
        import torch

        from imbalance_bench.engine.batches import stratified

        while len(self.left) < n:
            drawn = stratified(self.labels, self.sizes, PLANNED, self.generator)
            self.left = torch.cat([self.left, drawn])
        batches, self.left = self.left.split([n, len(self.left) - n])
        return batches
