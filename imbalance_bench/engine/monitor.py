"""What is watched of runs in training: history, divergence, and the best epoch on validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from imbalance_bench import scoring
from imbalance_bench.data.base import Task
from imbalance_bench.engine.stack import Stack, stored

Step = tuple[list[int] | None, dict[str, torch.Tensor]]
"""The runs that took part in a step (None: all) and their losses, name → (R,)."""


class Monitor:
    """Watches runs train: history, divergence, and the epoch that scores best on validation."""

    def __init__(self, stack: Stack, tasks: Sequence[Task]) -> None:
        self.stack, self.tasks = stack, tasks
        self.history: list[list[dict[str, float]]] = [[] for _ in tasks]
        self.failures: list[str | None] = [None] * len(tasks)
        self.best = stack.flat.detach().clone()
        self.best_score = [-np.inf] * len(tasks)
        inputs = {id(t.valid): stored(t.valid.x, stack.flat) for t in tasks}
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
