"""Training: a list of runs, epoch by epoch, as one program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import graph
from imbalance_bench.engine.augment import augmentation
from imbalance_bench.engine.batches import Batch, Layout, Rows, Sampler
from imbalance_bench.engine.fixed import FixedEpochs, FixedStep, Unfixed, gradient_of
from imbalance_bench.engine.monitor import Monitor, Step
from imbalance_bench.engine.optim import optimiser
from imbalance_bench.engine.schedule import learning_rate
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.seeds import AUGMENTATION, OBJECTIVE, derived
from imbalance_bench.settings.config import OF_ALL

if TYPE_CHECKING:
    from imbalance_bench.settings.config import Trainer

log = logging.getLogger("imbalance_bench")


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
        return cls(torch.as_tensor(counts).to(like, non_blocking=True)[:, None, :], 0, epochs)

    def of_runs(self, runs: slice) -> TrainState:
        """The state of some runs."""
        own = vars(self) | {"counts": self.counts[runs], "generators": self.generators[runs]}
        return type(self)(**own)


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

    @property
    def graphed(self) -> bool: ...

    def phase(self, state: TrainState) -> Hashable: ...


class SameInEveryEpoch(TrainState):
    """The state of steps that are the same in every epoch."""

    def __getattribute__(self, name: str) -> Any:
        if name == "epoch":
            raise Unfixed("its loss depends on the epoch, and its ``phase`` does not say how")
        return super().__getattribute__(name)


Objective = Callable[[Any, Batch, TrainState], torch.Tensor]
"""(stack, batch, state) → the loss of each run, (R,)."""


class Training:
    """Runs in training: their networks, optimiser, generators and what is watched. ``run`` may be called again, with
    other sets or another objective: all state is kept between calls.

    ``trainers``: the settings of each run. Rate, its schedule, decay, betas or momentum, and batch size are its own;
    the others (``OF_ALL``) are those of ``trainer``, the first."""

    kept = (
        "stack", "descent", "monitor", "shuffling", "moving", "drawing", "epoch", "steps", "rates", "layout", "taken",
    )  # fmt: skip

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
        # Of the present epoch: its batches, and the steps that were taken one by one.
        self.layout: Layout | None = None
        self.taken: list[Step] = []
        self.told = ("", "")
        self._fixed: tuple[tuple[Rows, Objective, Hashable], FixedEpochs | None] | None = None
        self.falling = any(t.schedule == "inverse_time" for t in trainers)  # from step to step

    def run(
        self,
        sets: Sequence[Part],
        epochs: int,
        objective: Objective | None = None,
        sampler: Sampler | None = None,
        phase: str = "training",
        ends: bool = False,
    ) -> None:
        """``epochs`` passes over ``sets``, one set a run. ``objective`` and ``sampler``: the method's own unless given;
        an objective that keeps something from step to step says what (``kept``). ``ends``: networks and monitor are all
        that is needed of it afterwards. Nothing is done once no run is left alive."""
        trainer, method = self.trainer, self.method
        rows = self.on_device(sets)
        state = TrainState.of(sets, self.tasks[0].classes, trainer.epochs, self.stack.flat)
        objective = objective or method.batch_loss
        batch_sizes = [t.batch_size for t in self.trainers]
        keeps = [one for one in (self, objective) if hasattr(one, "kept")]
        loop = Loop(phase, epochs, *keeps, leaves=(self.stack, self.monitor) if ends else None)
        for _ in loop:
            state = replace(state, epoch=self.epoch, generators=self.drawing)
            alive = self.monitor.alive
            if not alive:
                continue
            if self.layout is None:
                self.layout = rows.layout(rows.plans(sampler or method.sampler, batch_sizes, self.shuffling))
            layout, steps = Layout(*self.layout), self.taken
            size = f"{len(self.tasks)} runs × {len(layout.rows):,} steps"
            if (phase, size) != self.told:  # of rounds only the first
                self.told = (phase, size)
                log.info("%s: %d epochs of %s", phase, epochs, size)
            if fixed := None if steps else self.fixed(rows, objective, layout, state):
                steps = self.replayed(fixed, layout, alive)
            for batch in () if fixed else rows.laid_out(layout.after(len(steps))):
                if self.augment is not None:
                    batch = self.augment(batch, self.moving)
                if self.falling or not steps:
                    self.rates = self.present_rates()
                loss = gradient_of(self.stack, objective, batch, state, None if batch.weight is None else batch.sizes)
                self.descent.step(batch.among(alive), self.rates)
                steps.append((batch.active, {"train_loss": loss}))
                # A shorter run sits steps out: its rate must not fall in them.
                self.steps = [step + (size > 0) for step, size in zip(self.steps, batch.sizes)]
                progress.report(phase, self.epoch + len(steps) / len(layout.rows), trainer.epochs, size=size)
                loop.point()
            self.layout, self.taken = None, []
            self.monitor.close(phase, self.epoch, trainer.epochs, steps, trainer.validate_every)
            self.epoch += 1

    def present_rates(self) -> list[float]:
        return [learning_rate(t, self.epoch, step) for t, step in zip(self.trainers, self.steps)]

    def fixed(self, rows: Rows, objective: Objective, layout: Layout, state: TrainState) -> FixedEpochs | None:
        """The steps of an epoch as graphs, where ``trainer.graph`` wants them and the method can have them; those of
        the last call where they are the same."""
        choice, device, method = self.trainer.graph, self.stack.flat.device, self.method
        if not graph.wanted(choice, device, self.trainer.epochs * len(layout.rows)):
            return None
        if not method.graphed:
            graph.check(choice, device, f"the steps of method={method.name} need the host")
            return None
        phase = method.phase(state)
        if self._fixed is not None and self._fixed[0] == (rows, objective, phase):
            made = self._fixed[1]
            if made is None or made.fits(layout):
                return made
        self._fixed = made = None  # not two at a time
        if phase is None:
            state = SameInEveryEpoch(**vars(state))
        try:
            step = FixedStep(self.stack, self.descent, rows, objective, state, layout, self.augment, self.moving)
            made = FixedEpochs(step, layout, required=choice is True)
        except Unfixed as reason:
            graph.check(choice, device, f"method={method.name} cannot have them: {reason}")
            log.info("no CUDA graphs for method=%s: %s", method.name, reason)
        self._fixed = ((rows, objective, phase), made)
        return made

    def replayed(self, fixed: FixedEpochs, layout: Layout, alive: list[int]) -> list[Step]:
        """Takes the steps of an epoch; runs that are not alive stay where they are."""
        present = layout.sizes > 0
        rates: list[list[float]] = []
        for there in present.tolist():
            if self.falling or not rates:
                self.rates = self.present_rates()
            rates.append(self.rates)
            self.steps = [step + here for step, here in zip(self.steps, there)]
        moving = present & torch.tensor([r in alive for r in range(len(self.tasks))])
        losses = fixed.run(layout, moving, torch.tensor(rates, dtype=torch.float64))
        return [(runs, {"train_loss": of_runs}) for runs, of_runs in zip(layout.active, losses)]

    def on_device(self, sets: Sequence[Part]) -> Rows:
        """``sets`` on the device, where the last ones stay for a method that trains on them in rounds."""
        if self.rows is None or any(new is not old for new, old in zip(sets, self.sets)):
            self.rows = None  # not two at a time
            self.rows = Rows(sets, self.stack.flat.device, self.stack.flat.dtype, self.stack.pad)
            self.sets = list(sets)
        return self.rows
