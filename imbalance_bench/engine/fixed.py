"""Epochs of a training as one step over buffers that stay where they are, for ``graph.Replayed``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch

from imbalance_bench.engine import graph
from imbalance_bench.engine.batches import Batch, Draw, Layout, Planned, Rows
from imbalance_bench.engine.optim import Optimiser
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError

Augmentation = Callable[[Batch, Sequence[torch.Generator]], Batch]

SHORTEST = 8  # tokens that the longest text of a batch is counted as at least


class Unfixed(Exception):
    """A step asks the host for what differs from step to step; why, as a clause."""


def gradient_of(
    stack: Stack, objective: Any, batch: Batch, state: Any, sizes: Sequence[int] | torch.Tensor | None
) -> torch.Tensor:
    """The loss of each run (R,), and its gradient into ``stack.grad``; ``sizes``: the real rows of each run where not
    all are full."""
    with stack.attending(sizes):
        loss = objective(stack, batch, state)
        if getattr(loss, "shape", None) != (len(stack),):
            found = tuple(loss.shape) if hasattr(loss, "shape") else f"a {type(loss).__name__}"
            raise BenchError(f"batch_loss gives one number a run, ({len(stack)},), and not {found}")
        stack.backward(loss)
    return loss.detach()


class Kind(NamedTuple):
    """Shape of steps that are one graph: how many rows a run has at most, whether all runs have as many,
    and how many tokens are read (None: rows are no texts)."""

    width: int
    full: bool
    tokens: int | None


class FixedBatch(Batch):
    """A batch whose numbers change under the same Python object."""

    @property
    def sizes(self) -> list[int]:  # type: ignore[override]
        raise Unfixed("its loss reads the sizes of a batch on the host")

    @property
    def active(self) -> list[int] | None:  # type: ignore[override]
        raise Unfixed("its loss reads on the host which runs have rows in a batch")


class Draws:
    """Draws of steps (``Batch.draw``): asked for once, then drawn for an epoch before it, run by run and step by step
    in the same order as by single steps, and read off by each step."""

    def __init__(self, counter: torch.Tensor) -> None:
        self.counter = counter
        self.asked: list[tuple[Sequence[torch.Generator], Draw]] = []
        self.buffers: list[torch.Tensor] = []
        self.place: int | None = None  # of the next one in a step; None: a first step asks for what will be drawn

    def __call__(self, batch: Batch, generators: Sequence[torch.Generator], one: Draw) -> torch.Tensor:
        runs, width = batch.y.shape
        if self.place is None:
            self.asked.append((generators, one))
            copies = [torch.Generator().set_state(g.get_state()) for g in generators]
            return torch.stack([one(width, g) for g in copies]).to(batch.x.device)
        buffer = self.buffers[self.place]
        self.place += 1
        return buffer.index_select(0, self.counter).squeeze(0)[:, :width]

    def draw(self, sizes: torch.Tensor, shape: tuple[int, int, int]) -> None:
        """The draws of an epoch, for batches of ``sizes`` (S, R) and buffers of a ``shape`` (S, R, B)."""
        if not self.asked:
            return
        drawn: list[torch.Tensor | None] = [None] * len(self.asked)
        for s, of_runs in enumerate(sizes.tolist()):
            for k, (generators, one) in enumerate(self.asked):
                for r, (size, generator) in enumerate(zip(of_runs, generators)):
                    numbers = one(size, generator)
                    buffer = drawn[k]
                    if buffer is None:
                        buffer = drawn[k] = numbers.new_zeros(*shape, *numbers.shape[1:])
                    buffer[s, r, :size] = numbers
        made = [numbers for numbers in drawn if numbers is not None]
        if not self.buffers:
            self.buffers = [torch.empty_like(numbers, device=self.counter.device) for numbers in made]
        for buffer, numbers in zip(self.buffers, made):
            buffer.copy_(numbers, non_blocking=True)


class FixedPlan:
    """The batches of an epoch in buffers, which hold no more steps, and batches of no more rows, than ``layout``
    has."""

    def __init__(self, rows: Rows, layout: Layout) -> None:
        self.rows, device = rows, rows.x.device
        self.places = torch.zeros(layout.rows.shape, dtype=torch.int64, device=device)
        self.sizes = torch.zeros(layout.sizes.shape, dtype=torch.int64, device=device)

    def fits(self, layout: Layout) -> bool:
        """Whether the buffers hold these batches."""
        return all(ours >= theirs for ours, theirs in zip(self.places.shape, layout.rows.shape))

    def put(self, layout: Layout) -> None:
        """These batches from now on."""
        steps, _, width = layout.rows.shape
        self.places[:steps, :, :width].copy_(layout.rows, non_blocking=True)
        self.sizes[:steps].copy_(layout.sizes, non_blocking=True)

    def batch(
        self, step: torch.Tensor, kind: Kind, planned: Planned | None = None
    ) -> tuple[Batch, torch.Tensor | None]:
        """The batch of a step, whose number (1,) lies on the device, and the runs' sizes (R,) where they differ."""
        rows = self.rows
        chosen = self.places.index_select(0, step).squeeze(0)[:, : kind.width]
        x, y = rows.take(chosen)
        if kind.tokens is not None:
            x = x[..., : kind.tokens]
        weight = sizes = None
        if not kind.full:
            sizes = self.sizes.index_select(0, step).squeeze(0)
            real = torch.arange(kind.width, device=x.device) < sizes[:, None]
            weight = real / sizes.clamp(min=1).to(rows.like)[:, None]
        return FixedBatch(x, y, chosen, weight, None, rows.begins, [], planned), sizes


class FixedStep:
    """One step of R runs by the counter: everything that it reads lies in buffers (``FixedPlan``)."""

    def __init__(
        self,
        stack: Stack,
        descent: Optimiser,
        rows: Rows,
        objective: Any,
        state: Any,
        layout: Layout,
        augment: Augmentation | None = None,
        moving: Sequence[torch.Generator] = (),
    ) -> None:
        self.stack, self.descent, self.objective, self.state = stack, descent, objective, state
        self.augment, self.moving = augment, moving
        self.plan = FixedPlan(rows, layout)
        self.losses = stack.flat.new_zeros(layout.sizes.shape)
        self.table: torch.Tensor | None = None
        self.counter = torch.zeros(1, dtype=torch.int64, device=stack.flat.device)
        self.draws = Draws(self.counter)

    def batch(self, kind: Kind) -> tuple[Batch, torch.Tensor | None]:
        """The batch that the counter is at, and the runs' sizes (R,) where they differ."""
        batch, sizes = self.plan.batch(self.counter, kind, self.draws)
        return batch if self.augment is None else self.augment(batch, self.moving), sizes

    def __call__(self, kind: Kind) -> None:
        self.draws.place = 0
        batch, sizes = self.batch(kind)
        loss = gradient_of(self.stack, self.objective, batch, self.state, sizes)
        assert self.table is not None
        self.descent.move(self.table.index_select(0, self.counter).squeeze(0))
        self.losses.index_copy_(0, self.counter, loss[None])
        self.counter.add_(1)

    def try_out(self, kind: Kind) -> None:
        """Asks the objective for what it draws. Raises Unfixed where it reads what a fixed step has not; nothing is
        changed by it."""
        before = self.stack.flat.detach().clone()
        batch, sizes = self.batch(kind)
        try:
            with self.stack.attending(sizes):
                self.objective(self.stack, batch, self.state)
        finally:
            self.stack.forget()
            self.stack.flat.data.copy_(before)
        self.draws.place = 0


class Graphs:
    """``step(kind)`` taken in several kinds, each a graph; ``required``: as ``Replayed`` has it."""

    def __init__(self, step: Callable[[Any], None], device: torch.device, required: bool = False) -> None:
        self.step, self.device, self.required = step, device, required
        self.pool = torch.cuda.graph_pool_handle() if graph.capturable(device) else None
        self.made: dict[Hashable, graph.Replayed] = {}

    def run(self, kinds: Sequence[Hashable]) -> None:
        """Steps of these kinds, one after another."""
        for kind, same in groupby(kinds):
            if kind not in self.made:
                self.made[kind] = graph.Replayed(partial(self.step, kind), self.device, self.pool, self.required)
            self.made[kind].run(len(list(same)))


class FixedEpochs:
    """Epochs of a ``FixedStep``; ``required``: as ``Replayed`` has it."""

    def __init__(self, step: FixedStep, layout: Layout, required: bool = False) -> None:
        self.step, self.graphs = step, Graphs(step, step.counter.device, required)
        step.plan.put(layout)
        step.try_out(kinds_of(layout, step.plan.rows)[0])

    def fits(self, layout: Layout) -> bool:
        """Whether the buffers hold these batches."""
        return self.step.plan.fits(layout)

    def run(self, layout: Layout, present: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """An epoch: ``present`` (S, R): which runs move in each step, ``rates`` (S, R): how far. Returns the losses
        (S, R), which the next epoch overwrites."""
        step, steps = self.step, len(layout.rows)
        step.plan.put(layout)
        step.draws.draw(layout.sizes, tuple(step.plan.places.shape))  # type: ignore[arg-type]
        there = (t.to(step.counter.device, non_blocking=True) for t in (rates, present))
        table = step.descent.plan(*there)
        if step.table is None:
            step.table = table.new_zeros(len(step.losses), *table.shape[1:])
        step.table[:steps].copy_(table)
        step.counter.zero_()
        self.graphs.run(kinds_of(layout, step.plan.rows))
        return step.losses[:steps]


def kinds_of(layout: Layout, rows: Rows) -> list[Kind]:
    """The kind of each step of an epoch. Texts are rounded up to 8, 16, 32, ... tokens: a graph a length would be too
    many."""
    widths = layout.sizes.amax(1)
    full = (layout.sizes == widths[:, None]).all(1).tolist()
    if layout.longest is None:
        return [Kind(width, whole, None) for width, whole in zip(widths.tolist(), full)]
    most = rows.x.shape[-1]
    tokens = [min(max(SHORTEST, 1 << (longest - 1).bit_length()), most) for longest in layout.longest]
    return [Kind(*of_step) for of_step in zip(widths.tolist(), full, tokens)]
