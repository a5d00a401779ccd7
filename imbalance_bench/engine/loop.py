"""Training: a list of runs, epoch by epoch, as one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from imbalance_bench.config import OF_ALL
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.augment import augmentation
from imbalance_bench.engine.batches import Batch, Rows, Sampler
from imbalance_bench.engine.monitor import Monitor, Step
from imbalance_bench.engine.optim import optimiser
from imbalance_bench.engine.schedule import learning_rate
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from imbalance_bench.seeds import AUGMENTATION, OBJECTIVE, derived

if TYPE_CHECKING:
    from imbalance_bench.config import Trainer


@dataclass(frozen=True)
class TrainState:
    """State for an objective besides its batch: class counts of each run's training set (R, 1, C), the progress,
    and a CPU generator a run for what it draws (its own, apart from the one that shuffles)."""

    counts: torch.Tensor
    epoch: int
    epochs: int
    generators: Sequence[torch.Generator] = ()

    @classmethod
    def of(cls, sets: Sequence[Part], classes: int, epochs: int, like: torch.Tensor) -> TrainState:
        counts = np.stack([np.bincount(s.y.astype(np.int64), minlength=classes)[:classes] for s in sets])
        return cls(torch.as_tensor(counts).to(like)[:, None, :], 0, epochs)


class Trainable(Protocol):
    """The members of a method that the engine uses."""

    @property
    def name(self) -> str: ...

    @property
    def head(self) -> str: ...

    @property
    def stages(self) -> bool: ...

    def sampler(self, labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor: ...

    def batch_loss(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor: ...

    def initialise(self, stack: Stack, tasks: Sequence[Task]) -> None: ...


Objective = Callable[[Any, Batch, TrainState], torch.Tensor]
"""(stack, batch, state) → the loss of each run, (R,)."""


class Training:
    """Runs in training: their networks, optimiser, generators and what is watched. ``run`` may be called again, with
    other sets or another objective: all state is kept between calls.

    ``trainers``: the settings of each run. Rate, its schedule, decay, betas or momentum, and batch size are its own;
    the others (``OF_ALL``) are those of ``trainer``, the first."""

    def __init__(self, stack: Stack, method: Trainable, tasks: Sequence[Task], trainers: Sequence[Trainer]) -> None:
        self.stack, self.method, self.tasks, self.trainers = stack, method, tasks, trainers
        self.trainer = trainer = trainers[0]
        for key in OF_ALL:
            if len(values := {str(getattr(t, key)) for t in trainers}) > 1:
                raise BenchError(f"runs of one program need one trainer.{key}, and there are {sorted(values)}")
        self.augment = augmentation(trainer.augment, tasks)
        self.descent = optimiser(stack, trainers)
        self.shuffling = [torch.Generator().manual_seed(t.seed) for t in tasks]
        # Streams of their own: what is drawn for images or by an objective does not change who is in which batch.
        self.moving, self.drawing = (
            [torch.Generator().manual_seed(derived(t.seed, stream)) for t in tasks]
            for stream in (AUGMENTATION, OBJECTIVE)
        )
        self.monitor = Monitor(stack, tasks)
        self.sets: Sequence[Part] = ()
        self.rows: Rows | None = None
        self.epoch = 0
        # Of each run: the steps that it has taken, and its learning rate in the present one.
        self.steps, self.rates = [0] * len(tasks), [t.lr for t in trainers]
        self.falling = any(t.schedule == "inverse_time" for t in trainers)  # from step to step

    def run(
        self,
        sets: Sequence[Part],
        epochs: int,
        objective: Objective | None = None,
        sampler: Sampler | None = None,
        phase: str = "training",
    ) -> None:
        """``epochs`` passes over ``sets``, one set a run. ``objective`` and ``sampler``: the method's own unless given.
        Returns early when no run is left alive."""
        trainer, method = self.trainer, self.method
        rows = self.on_device(sets)
        state = TrainState.of(sets, self.tasks[0].classes, trainer.epochs, self.stack.flat)
        objective = objective or method.batch_loss
        batch_sizes = [t.batch_size for t in self.trainers]
        for _ in range(epochs):
            state = replace(state, epoch=self.epoch, generators=self.drawing)
            steps: list[Step] = []
            alive = self.monitor.alive
            if not alive:
                return
            for batch in rows.epoch(sampler or method.sampler, batch_sizes, self.shuffling):
                if self.augment is not None:
                    batch = self.augment(batch, self.moving)
                if self.falling or not steps:
                    self.rates = [learning_rate(t, self.epoch, s) for t, s in zip(self.trainers, self.steps)]
                with self.stack.attending(None if batch.weight is None else batch.sizes):
                    loss = objective(self.stack, batch, state)
                    if getattr(loss, "shape", None) != (len(self.stack),):
                        found = tuple(loss.shape) if hasattr(loss, "shape") else f"a {type(loss).__name__}"
                        raise BenchError(f"batch_loss gives one number a run, ({len(self.stack)},), and not {found}")
                    self.stack.backward(loss.sum())
                self.descent.step(batch.among(alive), self.rates)
                steps.append((batch.active, {"train_loss": loss.detach()}))
                # A shorter run sits steps out: its rate must not fall in them.
                self.steps = [step + (size > 0) for step, size in zip(self.steps, batch.sizes)]
            self.monitor.close(phase, self.epoch, trainer.epochs, steps, trainer.validate_every)
            self.epoch += 1

    def on_device(self, sets: Sequence[Part]) -> Rows:
        """``sets`` on the device, where the last ones stay for a method that trains on them in rounds."""
        if self.rows is None or any(new is not old for new, old in zip(sets, self.sets)):
            self.rows = None  # not two at a time
            self.rows = Rows(sets, self.stack.flat.device, self.stack.flat.dtype, self.stack.pad)
            self.sets = list(sets)
        return self.rows
