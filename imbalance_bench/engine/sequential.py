"""The oracle: each run alone, one nn.Module, torch.optim. Same batches, same starts, same history as the stacked loop.

It is kept for tests and for ``make bench``; ``trainer.backend=sequential`` runs it from the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.augment import augmentation
from imbalance_bench.engine.batches import Rows
from imbalance_bench.engine.loop import Trainable, TrainState
from imbalance_bench.engine.monitor import Monitor, Step
from imbalance_bench.engine.schedule import learning_rate
from imbalance_bench.engine.stack import Stack
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.seeds import AUGMENTATION, OBJECTIVE, derived

if TYPE_CHECKING:
    from imbalance_bench.settings.config import Trainer


def train_sequential(
    stack: Stack, method: Trainable, tasks: Sequence[Task], sets: Sequence[Part], trainer: Trainer
) -> Monitor:
    """As ``Training.run``, one run after the other."""
    whole = Monitor(stack, tasks)
    for r in Loop("runs", len(tasks), whole, stack, runs=True):
        monitor = _train_one(stack, r, method, tasks[r], sets[r], trainer)
        whole.history[r], whole.failures[r] = monitor.history[0], monitor.failures[0]
        whole.best[r], whole.best_score[r] = monitor.best[0], monitor.best_score[0]
    return whole


def _train_one(stack: Stack, r: int, method: Trainable, task: Task, part: Part, trainer: Trainer) -> Monitor:
    module = stack.module
    single = _One(stack, r)
    single.load()
    if trainer.optimiser in ("adam", "adamw"):
        kind = torch.optim.Adam if trainer.optimiser == "adam" else torch.optim.AdamW
        factors = [getattr(p, "decay", 1.0) if trainer.optimiser == "adamw" else 1.0 for p in module.parameters()]
        optimiser: torch.optim.Optimizer = kind(
            [
                {"params": [p], "weight_decay": trainer.weight_decay * factor}
                for p, factor in zip(module.parameters(), factors)
            ],
            lr=trainer.lr,
            betas=(trainer.betas[0], trainer.betas[1]),
        )
    else:
        optimiser = torch.optim.SGD(
            module.parameters(), lr=trainer.lr, momentum=trainer.momentum, weight_decay=trainer.weight_decay
        )
    generator = torch.Generator().manual_seed(task.seed)
    rows = Rows([part], stack.flat.device, stack.flat.dtype, stack.pad)
    start = TrainState.of([part], task.classes, trainer.epochs, stack.flat)
    monitor = Monitor(single, [task])  # type: ignore[arg-type]
    drawing, moving = (
        torch.Generator().manual_seed(derived(task.seed, stream)) for stream in (OBJECTIVE, AUGMENTATION)
    )
    augment = augmentation(trainer.augment, [task])
    step = 0
    for epoch in range(trainer.epochs):
        state = replace(start, epoch=epoch, generators=[drawing])
        steps: list[Step] = []
        for batch in rows.epoch(method.sampler, trainer.batch_size, [generator]):
            if augment is not None:
                batch = augment(batch, [moving])
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(trainer, epoch, step)
            loss = method.batch_loss(single, batch, state).sum()  # type: ignore[arg-type]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.append((None, {"train_loss": loss.detach()[None]}))
            step += 1
        single.store()
        if not monitor.close("training", epoch, trainer.epochs, steps, trainer.validate_every):
            break
    return monitor


class _One:
    """One run of a stack, seen as a stack of one, whose parameters are those of an ordinary module."""

    def __init__(self, stack: Stack, r: int) -> None:
        self.module = stack.module
        self.flat = stack.flat[r : r + 1]
        self.views = {name: view[0] for name, view in stack.views(self.flat).items()}
        self.predict, self.traits = stack.predict, stack.traits

    def __call__(self, x: torch.Tensor, stage: str = "logits") -> torch.Tensor:
        self.module.train()
        return (self.module(x[0]) if stage == "logits" else self.module(x[0], stage))[None]

    logits, mean_cross_entropy = __call__, Stack.mean_cross_entropy

    def passed(self, x: torch.Tensor) -> None:
        """No derivatives by hand: an oracle has autograd's."""

    @torch.no_grad()
    def load(self) -> None:
        """The run's parameters and buffers into the module."""
        for name, tensor in self.module.state_dict(keep_vars=True).items():
            tensor.copy_(self.views[name])

    @torch.no_grad()
    def store(self) -> None:
        """And back."""
        for name, tensor in self.module.state_dict(keep_vars=True).items():
            self.views[name].copy_(tensor)
