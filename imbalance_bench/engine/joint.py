"""Runs that differ in their loss and their sampler as one program: a Trainable that is made of theirs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate, cycle
from typing import Protocol

import torch

from imbalance_bench.data.base import Task
from imbalance_bench.engine.batches import Batch, Sampler
from imbalance_bench.engine.loop import SameInEveryEpoch, TrainState
from imbalance_bench.engine.stack import Stack


class OfSamples(Protocol):
    """The members of a method of plain training that this uses."""

    @property
    def graphed(self) -> bool: ...

    @property
    def logit_scale(self) -> float: ...

    def change_fresh(self, params: Mapping[str, torch.Tensor], task: Task) -> None: ...

    def phase(self, state: TrainState) -> Hashable: ...

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor: ...


class Joint:
    """Plain training of runs side by side: one forward pass of all, then to each its own loss of its slice of the
    logits. ``methods``, of one ``logit_scale``: each, and how many runs have its loss, in the order of the runs;
    ``samplers``: one a run; ``cross_entropy``: whether the loss of all is that, whose gradient is at hand."""

    name, stages = "several", False

    def __init__(
        self,
        head: str,
        methods: Sequence[tuple[OfSamples, int]],
        samplers: Sequence[Sampler],
        cross_entropy: bool = False,
    ) -> None:
        self.cross_entropy = cross_entropy
        self.head = head
        ends = accumulate(runs for _, runs in methods)
        self.methods = [(method, slice(end - runs, end)) for (method, runs), end in zip(methods, ends)]
        self.graphed = all(one.graphed for one, _ in methods)
        self._samplers = cycle(samplers)

    def sampler(self, labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        """Of the next run: an epoch asks for each, in their order."""
        return next(self._samplers)(labels, batch_size, generator)

    def batch_loss(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        if self.cross_entropy and stack.traits.loss_members == 1:
            return stack.mean_cross_entropy(batch.x, batch.y, batch.weight)
        logits, batch = batch.judged(stack)
        losses = []
        for one, runs in self.methods:
            own = state.of_runs(runs)
            if batch.planned is not None and one.phase(own) is None:
                own = SameInEveryEpoch(**vars(own))
            losses.append(one.loss(logits[runs], batch.y[runs], own))
        return batch.mean(torch.cat(losses))

    def initialise(self, stack: Stack, tasks: Sequence[Task]) -> None:
        """Each run begins as its own method has it."""
        stack.scale = self.methods[0][0].logit_scale
        for one, runs in self.methods:
            for run in range(len(tasks))[runs]:
                one.change_fresh(stack.of_run(run), tasks[run])

    def phase(self, state: TrainState) -> Hashable:
        phases = tuple(one.phase(state) for one, _ in self.methods)
        return None if set(phases) == {None} else phases
