"""Runs that differ in their loss and their sampler as one program: a Trainable that is made of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, cycle

import torch

from imbalance_bench.data.base import Task
from imbalance_bench.engine.batches import Batch, Sampler
from imbalance_bench.engine.loop import TrainState
from imbalance_bench.engine.stack import Stack

Loss = Callable[[torch.Tensor, torch.Tensor, TrainState], torch.Tensor]
"""Loss of each sample (...) for logits (..., C), labels (...) and the state of its runs."""


class Joint:
    """Plain training of runs side by side: one forward pass of all, then to each its own loss of its slice of the
    logits. ``losses``: a loss and how many runs have it, in the order of the runs; ``samplers``: one a run."""

    name, stages = "several", False

    def __init__(self, head: str, losses: Sequence[tuple[Loss, int]], samplers: Sequence[Sampler]) -> None:
        self.head = head
        ends = accumulate(runs for _, runs in losses)
        self.losses = [(loss, slice(end - runs, end)) for (loss, runs), end in zip(losses, ends)]
        self._samplers = cycle(samplers)

    def sampler(self, labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        """Of the next run: an epoch asks for each, in their order."""
        return next(self._samplers)(labels, batch_size, generator)

    def batch_loss(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        logits = stack(batch.x)
        losses = [
            loss(logits[s], batch.y[s], replace(state, counts=state.counts[s], generators=state.generators[s]))
            for loss, s in self.losses
        ]
        return batch.mean(torch.cat(losses))

    def initialise(self, stack: Stack, tasks: Sequence[Task]) -> None:
        """The networks stay as their seeds have made them."""
