"""Episodic training: each step compares one query of each class with the representatives of two support sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import graph
from imbalance_bench.engine.batches import Rows
from imbalance_bench.engine.losses import cross_entropy
from imbalance_bench.engine.monitor import Monitor, Step
from imbalance_bench.engine.optim import optimiser
from imbalance_bench.engine.schedule import learning_rate
from imbalance_bench.engine.stack import Stack
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.seeds import POST_TRAINING, derived

if TYPE_CHECKING:
    from imbalance_bench.settings.config import Trainer


def shares(total: int, labels: torch.Tensor) -> tuple[int, int]:
    """How many of ``total`` rows are of class 0 and of class 1 (the smaller one), so that their ratio is that of labels
    (n,)."""
    minority = max(1, round(total * int(labels.sum()) / len(labels)))
    return total - minority, minority


def without_replacement(n: int, k: int, draws: int, generator: torch.Generator) -> torch.Tensor:
    """(draws, k): k different ones of 0..n-1, all subsets alike (Floyd's algorithm; see Bentley & Floyd, 1987)."""
    chosen = torch.empty(draws, k, dtype=torch.int64)
    for i, top in enumerate(range(n - k, n)):
        number = torch.randint(top + 1, (draws,), generator=generator)
        taken = (chosen[:, :i] == number[:, None]).any(1)
        chosen[:, i] = torch.where(taken, top, number)
    return chosen


def drawn(labels: torch.Tensor, support: int, episodes: int, generator: torch.Generator) -> torch.Tensor:
    """(episodes, support + 2) row numbers for labels (n,) of two classes: the support's rows of class 0, then those of
    class 1, at the ratio of the labels, then a query of class 0 and one of class 1.

    A query is not in its support where its class has another row. Where a class has fewer rows than the support asks
    for, each is in it equally often, but for one.
    """
    supports, queries = [], []
    for c, size in enumerate(shares(support, labels)):
        rows = torch.nonzero(labels == c).squeeze(1)
        query = torch.randint(len(rows), (episodes,), generator=generator)
        others = max(len(rows) - 1, 1)
        passes, rest = divmod(size, others)
        whole = torch.arange(others).repeat(passes).expand(episodes, -1)
        chosen = torch.cat([whole, without_replacement(others, rest, episodes, generator)], 1)
        if len(rows) > 1:
            chosen += chosen >= query[:, None]
        supports.append(rows[chosen])
        queries.append(rows[query, None])
    return torch.cat([*supports, *queries], 1)


class EpisodicTraining:
    """R runs in training, each of two classes, 1 the smaller one.

    ``nets``: a task a run, of whose training part only the labels count; ``sets``: its rows, stored once however many
    runs share a ``Part``; ``rates``: columns of the parameters and what their learning rate is multiplied by. A network
    has the stages of ``network`` and a buffer ``representatives`` (2, d_o), which is filled after every
    epoch from the first ``post_size`` rows of the post-training set.
    """

    def __init__(
        self,
        stack: Stack,
        nets: Sequence[Task],
        sets: Sequence[Part],
        trainer: Trainer,
        support: int,
        post_size: int,
        rates: Sequence[tuple[slice, float]],
    ) -> None:
        self.stack, self.trainer, self.support, self.post_size = stack, trainer, support, post_size
        self.rows = Rows(sets, stack.flat.device, stack.flat.dtype)
        self.labels = [torch.as_tensor(net.train.y) for net in nets]
        self.drawing = [torch.Generator().manual_seed(net.seed) for net in nets]
        self.descents = [(optimiser(stack, [trainer] * len(stack), columns), rate) for columns, rate in rates]
        self.monitor = Monitor(stack, nets)
        # What a set's mean is, as a product: (R, 2, support).
        self.means = stack.flat.new_zeros(len(nets), 2, support)
        self.supports = [shares(support, labels) for labels in self.labels]
        for means, (majority, minority) in zip(self.means, self.supports):
            means[0, :majority], means[1, majority:] = 1 / majority, 1 / minority
        # One order a class: a larger post-training set holds the smaller one. Rows of the store.
        self.orders = []
        for net, labels, offset in zip(nets, self.labels, self.rows.offsets):
            generator = torch.Generator().manual_seed(derived(net.seed, POST_TRAINING))
            rows = [torch.nonzero(labels == c).squeeze(1) for c in (0, 1)]
            orders = [r[torch.randperm(len(r), generator=generator)] + offset for r in rows]
            self.orders.append([order.to(stack.flat.device) for order in orders])

    def run(self, episodes: int) -> None:
        """``trainer.epochs`` epochs of so many episodes; nothing is done once no run is left alive."""
        trainer, device = self.trainer, self.stack.flat.device
        offsets = torch.tensor(self.rows.offsets)[:, None, None]
        fixed = None
        if graph.wanted(trainer.graph, device, trainer.epochs * episodes):
            fixed = FixedEpisodes(self, episodes)
            replayed = graph.Replayed(fixed, device, required=trainer.graph is True)
        descents = [descent for descent, _ in self.descents]
        for epoch in Loop("episodes", trainer.epochs, self.stack, descents, self.drawing, self.monitor):
            if not self.monitor.alive:
                continue
            plans = torch.stack([drawn(y, self.support, episodes, g) for y, g in zip(self.labels, self.drawing)])
            rates = [learning_rate(trainer, epoch, epoch * episodes + e, e / episodes) for e in range(episodes)]
            steps: list[Step] = []
            alive = self.monitor.alive
            if fixed is not None:
                fixed.begin(plans + offsets, rates, alive)
                replayed.run(episodes)
                steps = [(None, {"train_loss": losses}) for losses in fixed.losses]
            for plan, lr in () if fixed else zip((plans + offsets).to(device, non_blocking=True).unbind(1), rates):
                loss = self.loss(self.rows.take(plan)[0])
                self.stack.backward(loss)
                for descent, rate in self.descents:
                    descent.step(None if len(alive) == len(self.stack) else alive, [rate * lr] * len(self.stack))
                steps.append((None, {"train_loss": loss.detach()}))
            for run in alive:
                self.stack.buffers["representatives"][run] = self.representatives(run, self.post_size)
            self.monitor.close("training", epoch, trainer.epochs, steps, trainer.validate_every)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the queries, their mean a run (R,), for samples x (R, support + 2, ...) as ``drawn``."""
        z = self.stack(x, "embed")
        h = self.stack(torch.cat([self.means @ z[:, : self.support], z[:, self.support :]], 1), "head")
        representatives, queries = h.split(2, 1)
        labels = torch.arange(2, device=x.device).expand(len(x), -1)
        return cross_entropy(queries @ representatives.mT, labels).mean(1)

    def post_rows(self, run: int, size: int) -> tuple[int, int]:
        """How many rows of class 0 and of class 1 a post-training set of ``size`` rows has; no more than there are."""
        return shares(min(size, len(self.labels[run])), self.labels[run])

    def representatives(self, run: int, size: int) -> torch.Tensor:
        """h (2, d_o) of a run's classes as its network is now, from a post-training set of ``size`` rows."""
        flat, means = self.stack.flat[run].detach(), []
        for order, share in zip(self.orders[run], self.post_rows(run, size)):
            means.append(self.stack.predict(flat, self.rows.x.index_select(0, order[:share]), "embed").mean(0))
        return self.stack.predict(flat, torch.stack(means), "head")


class FixedEpisodes:
    """An episode over buffers that stay where they are, for ``graph.Replayed``: of which, a counter says."""

    def __init__(self, training: EpisodicTraining, episodes: int) -> None:
        self.stack, self.rows, self.loss = training.stack, training.rows, training.loss
        self.descents = training.descents
        device, runs = self.stack.flat.device, len(self.stack)
        self.plan = torch.zeros(episodes, runs, training.support + 2, dtype=torch.int64, device=device)
        self.losses = torch.zeros(episodes, runs, dtype=self.stack.flat.dtype, device=device)
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)
        self.tables: list[torch.Tensor] = []

    def begin(self, plans: torch.Tensor, rates: Sequence[float], alive: Sequence[int]) -> None:
        """An epoch: ``plans`` (R, episodes, support + 2), the rate of each episode, and the runs that move."""
        self.plan.copy_(plans.transpose(0, 1), non_blocking=True)
        moving = torch.tensor([r in alive for r in range(len(self.stack))]).expand(len(rates), -1)
        of_runs = torch.tensor(rates, dtype=torch.float64)[:, None].expand(moving.shape)
        device = self.counter.device
        tables = [descent.plan(rate * of_runs.to(device), moving.to(device)) for descent, rate in self.descents]
        self.tables = self.tables or [torch.empty_like(table) for table in tables]
        for mine, new in zip(self.tables, tables):
            mine.copy_(new)
        self.counter.zero_()

    def __call__(self) -> None:
        loss = self.loss(self.rows.take(self.plan.index_select(0, self.counter).squeeze(0))[0])
        self.stack.backward(loss)
        for (descent, _), table in zip(self.descents, self.tables):
            descent.move(table.index_select(0, self.counter).squeeze(0))
        self.losses.index_copy_(0, self.counter, loss.detach()[None])
        self.counter.add_(1)
