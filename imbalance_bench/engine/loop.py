"""The training loop: a list of runs, epoch by epoch, as one program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from imbalance_bench import scoring
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.batches import Rows
from imbalance_bench.engine.optim import optimiser
from imbalance_bench.engine.stack import Stack

if TYPE_CHECKING:
    from imbalance_bench.config import Trainer
    from imbalance_bench.methods.base import Method


@dataclass(frozen=True)
class TrainState:
    """What a loss may know besides its batch: class counts of each run's training set (R, 1, C), and the progress."""

    counts: torch.Tensor
    epoch: int
    epochs: int

    @classmethod
    def of(cls, sets: Sequence[Part], classes: int, epochs: int, like: torch.Tensor) -> TrainState:
        counts = np.stack([np.bincount(s.y.astype(np.int64), minlength=classes)[:classes] for s in sets])
        return cls(torch.as_tensor(counts).to(like)[:, None, :], 0, epochs)

    def at(self, epoch: int) -> TrainState:
        return TrainState(self.counts, epoch, self.epochs)


Step = tuple[list[int] | None, dict[str, torch.Tensor]]
"""The runs that took part in a step (None: all) and their losses, name → (R,)."""


class Monitor:
    """What is watched while runs train: history, divergence, and the iterate that scores best on validation."""

    def __init__(self, stack: Stack, tasks: Sequence[Task]) -> None:
        self.stack, self.tasks = stack, tasks
        self.history: list[list[dict[str, float]]] = [[] for _ in tasks]
        self.failures: list[str | None] = [None] * len(tasks)
        self.best = stack.flat.detach().clone()
        self.best_score = [-np.inf] * len(tasks)
        device, dtype = stack.flat.device, stack.flat.dtype
        inputs = {id(t.valid): torch.as_tensor(t.valid.x).to(device, dtype) for t in tasks}
        self._valid = [inputs[id(t.valid)] for t in tasks]

    @property
    def alive(self) -> list[int]:
        return [r for r, failure in enumerate(self.failures) if failure is None]

    def close(self, phase: str, epoch: int, epochs: int, steps: Sequence[Step], validate_every: int) -> bool:
        """Ends an epoch: history, divergence, and a look at the validation part when it is due. False when no run is
        left to go on with."""
        self.end_epoch(phase, epoch, steps)
        if (epoch + 1) % validate_every == 0 or epoch + 1 == epochs:
            self.validate()
        return bool(self.alive)

    def end_epoch(self, phase: str, epoch: int, steps: Sequence[Step]) -> None:
        """Writes one epoch into the history, and ends the runs that diverged in it."""
        present = np.ones((len(steps), len(self.tasks)), dtype=bool)
        for s, (active, _) in enumerate(steps):
            if active is not None:
                present[s] = np.isin(np.arange(len(self.tasks)), active)
        for name in steps[0][1]:
            values = torch.stack([losses[name] for _, losses in steps]).cpu().double().numpy()
            for r in self.alive:
                run = values[present[:, r], r]
                if not self.history[r] or self.history[r][-1]["epoch"] != epoch + 1:
                    self.history[r].append({"epoch": epoch + 1})
                self.history[r][-1][name] = float(run.mean())
                bad = np.flatnonzero(~np.isfinite(run))
                if len(bad):
                    earlier = [run[bad[0] - 1]] if bad[0] else [h[name] for h in self.history[r][-2:-1] if name in h]
                    self.failures[r] = (
                        f"{name} is {run[bad[0]]} at {phase} epoch {epoch + 1} step {bad[0] + 1}; "
                        + (f"the last finite value was {earlier[0]:.4g}" if earlier else "no value was finite")
                        + ": lower trainer.lr (or the step sizes of the method)"
                    )

    def validate(self) -> None:
        """Scores every living run on its validation part and keeps the parameters of the best epoch so far."""
        for r in self.alive:
            task = self.tasks[r]
            if not len(task.valid):
                continue
            outputs = self.stack.predict(self.stack.flat[r].detach(), self._valid[r]).double()
            if task.kind == "classification":
                outputs = outputs.log_softmax(-1)
            score = scoring.selection_score(task.valid.y, outputs.cpu().numpy(), task.kind)
            self.history[r][-1]["valid_score"] = score
            if score > self.best_score[r]:
                self.best_score[r] = score
                self.best[r] = self.stack.flat[r].detach()


def train(stack: Stack, method: Method, tasks: Sequence[Task], sets: Sequence[Part], trainer: Trainer) -> Monitor:
    """Minimises ``method.loss`` over each run's set for ``trainer.epochs`` epochs; ``stack`` ends at the last one."""
    rows = Rows(sets, stack.flat.device, stack.flat.dtype)
    descent = optimiser(stack, trainer)
    generators = [torch.Generator().manual_seed(t.seed) for t in tasks]
    start = TrainState.of(sets, tasks[0].classes, trainer.epochs, stack.flat)
    monitor = Monitor(stack, tasks)
    for epoch in range(trainer.epochs):
        state = start.at(epoch)
        steps: list[Step] = []
        alive = monitor.alive
        for batch in rows.epoch(method.sampler, trainer.batch_size, generators):
            loss = batch.mean(method.loss(stack(batch.x), batch.y, state))
            stack.backward(loss.sum())
            descent.step(batch.among(alive))
            steps.append((batch.active, {"train_loss": loss.detach()}))
        if not monitor.close("training", epoch, trainer.epochs, steps, trainer.validate_every):
            break
    return monitor
