"""The oracle: each run alone, one nn.Module, torch.optim. Same batches, same starts, same history as the stacked loop.

It is kept for tests and for ``make bench``; ``trainer.backend=sequential`` runs it from the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.batches import Rows
from imbalance_bench.engine.loop import Monitor, Step, TrainState
from imbalance_bench.engine.stack import Stack

if TYPE_CHECKING:
    from imbalance_bench.config import Trainer
    from imbalance_bench.methods.base import Method


def train_sequential(
    stack: Stack, method: Method, tasks: Sequence[Task], sets: Sequence[Part], trainer: Trainer
) -> Monitor:
    """As ``loop.train``, one run after the other."""
    whole = Monitor(stack, tasks)
    for r, (task, part) in enumerate(zip(tasks, sets)):
        monitor = _train_one(stack, r, method, task, part, trainer)
        whole.history[r], whole.failures[r] = monitor.history[0], monitor.failures[0]
        whole.best[r], whole.best_score[r] = monitor.best[0], monitor.best_score[0]
    return whole


def _train_one(stack: Stack, r: int, method: Method, task: Task, part: Part, trainer: Trainer) -> Monitor:
    module = stack.module
    torch.nn.utils.vector_to_parameters(stack.flat[r].detach().clone(), module.parameters())
    if trainer.optimiser == "adam":
        optimiser: torch.optim.Optimizer = torch.optim.Adam(
            module.parameters(),
            lr=trainer.lr,
            betas=(trainer.betas[0], trainer.betas[1]),
            weight_decay=trainer.weight_decay,
        )
    else:
        optimiser = torch.optim.SGD(
            module.parameters(), lr=trainer.lr, momentum=trainer.momentum, weight_decay=trainer.weight_decay
        )
    generator = torch.Generator().manual_seed(task.seed)
    rows = Rows([part], stack.flat.device, stack.flat.dtype)
    start = TrainState.of([part], task.classes, trainer.epochs, stack.flat)
    single = _One(stack, r)
    monitor = Monitor(single, [task])  # type: ignore[arg-type]
    for epoch in range(trainer.epochs):
        state = start.at(epoch)
        steps: list[Step] = []
        for batch in rows.epoch(method.sampler, trainer.batch_size, [generator]):
            loss = method.loss(module(batch.x[0])[None], batch.y, state).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.append((None, {"train_loss": loss.detach()[None]}))
        stack.flat[r] = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
        if not monitor.close("training", epoch, trainer.epochs, steps, trainer.validate_every):
            break
    return monitor


class _One:
    """One run of a stack, seen as a stack of one."""

    def __init__(self, stack: Stack, r: int) -> None:
        self.flat = stack.flat[r : r + 1]
        self.predict = stack.predict
