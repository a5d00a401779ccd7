"""Rows of all runs on the device, and the batches that each run draws from its own generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from imbalance_bench.data.base import Part
from imbalance_bench.engine.stack import Stack, as_input, lengths, stored
from imbalance_bench.errors import BenchError

Sampler = Callable[[torch.Tensor, int, torch.Generator], torch.Tensor]

POOL = 16  # batches whose texts are sorted by length together


def shuffled(n: int, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """An epoch of a shuffled set: (ceil(n / batch_size), batch_size) row numbers, -1 where the last batch is short."""
    steps = -(-n // batch_size)
    rows = torch.full((steps * batch_size,), -1, dtype=torch.int64)
    rows[:n] = torch.randperm(n, generator=generator)
    return rows.view(steps, batch_size)


def stratified(labels: torch.Tensor, sizes: dict[int, int], steps: int, generator: torch.Generator) -> torch.Tensor:
    """(steps, sum of sizes) row numbers with ``sizes[c]`` rows of class c in each batch. Each class is traversed in
    shuffled passes, so that all its rows come equally often."""
    columns = []
    for c, size in sizes.items():
        rows = torch.nonzero(labels == c).squeeze(1)
        passes = -(-steps * size // len(rows))
        drawn = torch.cat([rows[torch.randperm(len(rows), generator=generator)] for _ in range(passes)])
        columns.append(drawn[: steps * size].view(steps, size))
    return torch.cat(columns, 1)


def class_aware(labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """Batches of an epoch of n = len(labels) draws, equally many of each class (which classes have one more is drawn
    too), whose rows are traversed in shuffled passes."""
    classes = torch.unique(labels)
    classes = classes[torch.randperm(len(classes), generator=generator)].tolist()
    shares = torch.arange(len(labels)).tensor_split(len(classes))
    (drawn,) = stratified(labels, {c: len(s) for c, s in zip(classes, shares)}, 1, generator)
    plan = shuffled(len(labels), batch_size, generator)
    return torch.where(plan >= 0, drawn[plan], -1)


def bucketed(plan: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``plan`` (steps, batch), in which rows of one class have changed places within each ``POOL`` batches, so that a
    batch has texts of about one length; each class has as many rows in each batch as before. ``lengths``, ``labels``:
    of each row of the set. Which batches of a pool are the short ones is the same for all runs, whose texts are filled
    up to one length."""
    places = torch.arange(plan.numel()).view(plan.shape)
    order = [pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))] for pool in places.split(POOL)]
    places = torch.cat(order).flatten()
    rows = plan.flatten()[places]
    places, rows, pool = (a[rows >= 0] for a in (places, rows, places // (POOL * plan.shape[1])))
    group = pool * (1 + labels.max()) + labels[rows]  # within which rows change places
    shortest_first = lengths[rows].argsort(stable=True)
    sorted_rows = shortest_first[group[shortest_first].argsort(stable=True)]
    changed = plan.flatten().clone()
    changed[places[group.argsort(stable=True)]] = rows[sorted_rows]
    return changed.view(plan.shape)


def replay(plans: Sequence[torch.Tensor]) -> Sampler:
    """Sampler that replays plans drawn earlier, one per run, in the order of the runs."""
    left = iter(plans)
    return lambda labels, batch_size, generator: next(left)


Draw = Callable[[int, torch.Generator], torch.Tensor]
"""(n, generator) → what is drawn for n rows of a run, (n, ...)."""

Planned = Callable[["Batch", Sequence[torch.Generator], Draw], torch.Tensor]
"""As ``Batch.draw``."""


class Layout(NamedTuple):
    """The batches of an epoch, on the host: ``rows`` (S, R, B) of the store, ``sizes`` (S, R): how many each run
    really has, its first ones (the others are pads, the first row of its set: no other run's, which may have moved out
    of bounds); ``longest``: tokens of the longest text of each batch, for rows of texts."""

    rows: torch.Tensor
    sizes: torch.Tensor
    longest: list[int] | None

    def after(self, steps: int) -> Layout:
        """Without the first ``steps``."""
        return Layout(*(None if of_steps is None else of_steps[steps:] for of_steps in self))  # type: ignore[arg-type]

    @property
    def active(self) -> list[list[int] | None]:
        """The runs that have rows in each step, None = all R."""
        there = (self.sizes > 0).tolist()
        return [None if all(of_step) else [r for r, here in enumerate(of_step) if here] for of_step in there]


class Batch(NamedTuple):
    """One step of all runs: ``x`` (R, B, ...), ``y`` (R, B); ``weight`` (R, B) sums to one a run and is None where
    every run has a full batch; ``active``: the runs that have rows in this step, None = all R; ``rows`` (R, B): which
    rows of the store these are (pads: the first of the run's set, weight 0); ``offsets`` (R, 1): where each run's set
    begins in it; ``sizes``: how many rows each run really has, its first ones; ``planned``: what gives ``draw`` its
    numbers where those of an epoch are drawn before it."""

    x: torch.Tensor
    y: torch.Tensor
    rows: torch.Tensor
    weight: torch.Tensor | None
    active: list[int] | None
    offsets: torch.Tensor
    sizes: list[int]
    planned: Planned | None = None

    @property
    def own(self) -> torch.Tensor:
        """Which rows of its own set each run has here, (R, B) (pads: its first)."""
        return (self.rows - self.offsets).clamp(min=0)

    def among(self, alive: list[int]) -> list[int] | None:
        """The active runs that are still alive; None when that is every run."""
        if self.active is None:
            return None if len(alive) == len(self.y) else alive
        return [r for r in self.active if r in alive]

    def draw(self, generators: Sequence[torch.Generator], one: Draw) -> torch.Tensor:
        """(R, B, ...): what ``one(size, generator)`` draws for the rows that each run really has, zeros for pads: so a
        run's draws do not depend on the runs beside it."""
        if self.planned is not None:
            return self.planned(self, generators, one)
        drawn = [one(size, g) for size, g in zip(self.sizes, generators)]
        return torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True).to(self.x.device, non_blocking=True)

    def judged(self, stack: Stack) -> tuple[torch.Tensor, Batch]:
        """The stack's logits of the batch, and the labels and weights that a loss is of: of an ensemble
        (``Traits.loss_members``) each row comes once a member."""
        members = stack.traits.loss_members
        if members == 1:
            return stack.logits(self.x), self
        y, weight = self.y.repeat_interleave(members, 1), self.weight
        weight = None if weight is None else weight.repeat_interleave(members, 1) / members
        return stack(self.x, "members"), self._replace(y=y, weight=weight)

    def mean(self, losses: torch.Tensor) -> torch.Tensor:
        """Mean loss of each run, (R,), over the rows that it really has. Raises BenchError unless ``losses`` has one a
        row."""
        if getattr(losses, "shape", None) != self.y.shape:
            raise BenchError(
                "a loss gives one value a sample: logits (..., C) and labels (...) in, values (...) out, not their "
                f"mean or sum; for labels {tuple(self.y.shape)} this one gave {_shape(losses)}"
            )
        return losses.mean(1) if self.weight is None else (losses * self.weight).sum(1)


class Rows:
    """Training sets of R runs, each stored once on the device however many runs share it (the same ``Part`` object);
    images as bytes, of which only the batches become floats; token ids as ids, of which a batch has as many columns as
    its longest text, where ``pad`` says which id fills up the rest. A method may change features in place."""

    kept = ("x",)

    def __init__(self, sets: Sequence[Part], device: torch.device, dtype: torch.dtype, pad: int | None = None) -> None:
        distinct = list({id(s): s for s in sets}.values())
        starts, total = {}, 0
        for part in distinct:
            starts[id(part)] = total
            total += len(part)
        self.like = torch.empty(0, dtype=dtype, device=device)
        x = torch.cat([torch.as_tensor(p.x) for p in distinct])
        self.lengths = None if pad is None else lengths(x, pad)
        self.x = stored(x, self.like)
        self.y = torch.cat([torch.as_tensor(p.y) for p in distinct]).to(device)
        if self.y.is_floating_point():
            self.y = self.y.to(dtype)
        self.offsets = [starts[id(s)] for s in sets]
        self.begins = torch.tensor(self.offsets, device=device)[:, None]  # here, once: a copy holds up a GPU
        # Samplers run on the CPU: their generators give the same batches whatever the device.
        self.labels = [torch.as_tensor(s.y) for s in sets]

    def take(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (R, B, ...) and labels (R, B) of rows (R, B) of the store."""
        flat = rows.reshape(-1)
        x = self.x.index_select(0, flat).view(*rows.shape, *self.x.shape[1:])
        return as_input(x, self.like), self.y.index_select(0, flat).view(rows.shape)

    def epoch(
        self, sampler: Sampler, batch_size: int | Sequence[int], generators: Sequence[torch.Generator]
    ) -> Iterator[Batch]:
        """The batches of one epoch (``plans``), of texts of about one length."""
        return self.batches(self.plans(sampler, batch_size, generators))

    def plans(
        self, sampler: Sampler, batch_size: int | Sequence[int], generators: Sequence[torch.Generator]
    ) -> list[torch.Tensor]:
        """The batches of one epoch: each run's row numbers (steps, batch), -1 where a batch is short. ``batch_size``:
        of all runs, or one a run. Runs of fewer batches are inactive in the last steps."""
        batch_sizes = [batch_size] * len(self.labels) if isinstance(batch_size, int) else batch_size
        plans = [_checked(sampler(y, b, g), len(y)) for y, b, g in zip(self.labels, batch_sizes, generators)]
        if self.lengths is not None:
            lengths = [self.lengths[offset : offset + len(y)] for offset, y in zip(self.offsets, self.labels)]
            plans = [bucketed(*of_run) for of_run in zip(plans, lengths, self.labels)]
        return plans

    def layout(self, plans: Sequence[torch.Tensor]) -> Layout:
        """Runs' plans side by side."""
        steps = max(len(p) for p in plans)
        own = torch.full((steps, len(plans), max(p.shape[1] for p in plans)), -1, dtype=torch.int64)
        for r, plan in enumerate(plans):
            own[: len(plan), r, : plan.shape[1]] = plan
        real = own >= 0
        # A run without rows has no first one.
        begins = torch.tensor([offset if len(y) else 0 for offset, y in zip(self.offsets, self.labels)])
        rows = own.clamp_(min=0).add_(begins[:, None])
        # Known on the CPU: asking the device for it would hold up each step.
        longest = None if self.lengths is None else (self.lengths[rows] * real).amax((1, 2)).tolist()
        return Layout(rows, real.sum(2), longest)

    def batches(self, plans: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """The batches that plans describe. Pads have weight zero; columns that no run fills are cut off."""
        return self.laid_out(self.layout(plans))

    def laid_out(self, layout: Layout) -> Iterator[Batch]:
        """The batches of a layout."""
        sizes, longest = layout.sizes, layout.longest
        full = (sizes == sizes.amax(1, keepdim=True)).all(1).tolist()
        widths, counts, active = sizes.amax(1).tolist(), sizes.tolist(), layout.active
        rows = layout.rows.to(self.x.device, non_blocking=True)
        for s, width in enumerate(widths):
            chosen = rows[s, :, :width]
            x, y = self.take(chosen)
            if longest is not None:
                x = x[..., : longest[s]]
            if full[s]:
                yield Batch(x, y, chosen, None, None, self.begins, counts[s])
                continue
            weight = (torch.arange(width) < sizes[s][:, None]).to(self.like.dtype) / sizes[s].clamp(min=1)[:, None]
            yield Batch(x, y, chosen, weight.to(x.device, non_blocking=True), active[s], self.begins, counts[s])


def _checked(plan: torch.Tensor, n: int) -> torch.Tensor:
    """Returns ``plan``, which a sampler gave for ``n`` rows. Raises BenchError unless it is one."""
    right = isinstance(plan, torch.Tensor) and plan.dtype == torch.int64 and plan.ndim == 2
    if right and not n and not plan.numel():
        return plan  # a run without rows sits the epoch out
    right = right and bool(plan.numel())
    if not right or plan.min() < -1 or plan.max() >= n:
        raise BenchError(
            "a sampler gives the row numbers of an epoch's batches, int64 (steps, batch), -1 where one is short: of "
            f"{n} rows those from 0 to {n - 1}; this one gave {_shape(plan)}"
            + (f" from {plan.min()} to {plan.max()}" if right else "")
        )
    return plan


def _shape(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
