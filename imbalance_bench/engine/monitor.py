"""Watches runs in training: history, divergence, and the best epoch on validation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from imbalance_bench.data.base import Task
from imbalance_bench.engine.stack import Stack
from imbalance_bench.engine.validation import OnDevice, OnHost
from imbalance_bench.running import progress

Step = tuple[list[int] | None, dict[str, torch.Tensor]]
"""The runs that took part in a step (None: all) and their losses, name → (R,)."""

LOOKED_AT = 256  # training rows of a run by whose outputs it is seen whether it came to anything
ADVICE = "lower trainer.lr (or the step sizes of the method)"


class Monitor:
    """Watches runs train: history, divergence, and the epoch that scores best on validation."""

    kept = ("history", "failures", "best", "best_score")

    def __init__(self, stack: Stack, tasks: Sequence[Task]) -> None:
        self.stack, self.tasks = stack, tasks
        self.history: list[list[dict[str, float]]] = [[] for _ in tasks]
        self.failures: list[str | None] = [None] * len(tasks)
        self.best = stack.flat.detach().clone()
        self.best_score = [-np.inf] * len(tasks)
        self.at_once = False

    @cached_property
    def validation(self) -> OnHost | OnDevice:
        """On a CPU run by run, but for runs of several cells (``at_once``): a stacked forward pass rounds otherwise,
        and stacked convolutions are slower there."""
        many = isinstance(self.stack, Stack) and (self.at_once or self.stack.flat.device.type != "cpu")
        return OnDevice(self.stack, self.tasks) if many else OnHost(self.stack, self.tasks)

    @property
    def alive(self) -> list[int]:
        return [r for r, failure in enumerate(self.failures) if failure is None]

    def close(self, phase: str, epoch: int, epochs: int, steps: Sequence[Step], validate_every: int) -> bool:
        """Ends an epoch: history, divergence, and a look at the validation part when it is due. False when no run is
        left to go on with."""
        due = (epoch + 1) % validate_every == 0 or epoch + 1 == epochs
        self.end_epoch(phase, epoch, steps, due and any(len(t.valid) for t in self.tasks))
        progress.report(phase, epoch + 1, epochs, numbers=self.latest, runs=self.of_runs)
        return bool(self.alive)

    def latest(self) -> dict[str, float]:
        """The numbers of the last epoch, means over the living runs."""
        rows = [self.history[r][-1] for r in self.alive if self.history[r]]
        names = [name for name in (rows[0] if rows else {}) if name != "epoch"]
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

    def of_runs(self) -> list[tuple[Task, dict[str, float]]]:
        """The numbers of the last epoch of each living run."""
        return [(self.tasks[r], self.history[r][-1]) for r in self.alive if self.history[r]]

    def end_epoch(self, phase: str, epoch: int, steps: Sequence[Step], validate: bool = False) -> None:
        """Writes one epoch into the history, ends the runs that diverged in it, and (``validate``) scores the others on
        validation and keeps the parameters of their best epochs so far. What an epoch waits for on a GPU is one copy,
        of its losses and scores."""
        names, n = list(steps[0][1]), len(steps)
        present = np.ones((n, len(self.tasks)), dtype=bool)
        for s, (active, _) in enumerate(steps):
            if active is not None:
                present[s] = np.isin(np.arange(len(self.tasks)), active)
        values = torch.stack([losses[name] for name in names for _, losses in steps])
        if validate and isinstance(self.validation, OnDevice):
            values = torch.cat([values.double(), self.validation.scores()[None]])
        host = values.cpu().double().numpy()
        for i, name in enumerate(names):
            self.write(phase, epoch, name, host[i * n :][:n], present)
        if validate:
            self.keep(self.validation.scores(self.alive) if isinstance(self.validation, OnHost) else host[-1])

    def write(self, phase: str, epoch: int, name: str, values: np.ndarray, present: np.ndarray) -> None:
        """Losses (steps, R) of an epoch, of runs that were ``present`` (steps, R)."""
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
                    + f": {ADVICE}"
                )

    def check(self) -> None:
        """Ends the runs whose networks, as they are now, give outputs of their training rows that are not finite. A
        loss is one of before its step, so that no loss shows what the last step came to: for the end of a training, and
        for what else is made of a network. One wait for the device. Each run is looked at by the same rows whichever
        runs are beside it: those of shorter parts are filled up with their own first row."""
        if not self.alive:
            return
        n = min(LOOKED_AT, max(len(t.train) for t in self.tasks))
        rows = [np.where(np.arange(n) < len(t.train), np.arange(n), 0) for t in self.tasks]
        outputs = self.stack.predict_all(torch.stack([torch.as_tensor(t.train.x[r]) for t, r in zip(self.tasks, rows)]))
        finite = outputs.isfinite().flatten(1).all(1).tolist()
        for r in self.alive:
            if not finite[r]:
                last = self.history[r][-1] if self.history[r] else {}
                losses = [f"; the last {name} was {last[name]:.4g}" for name in last if name.endswith("loss")][:1]
                after = f" of epoch {last['epoch']:.0f}" if last else ""
                self.failures[r] = f"outputs are not finite after the last step{after}{''.join(losses)}: {ADVICE}"

    def keep(self, scores: np.ndarray) -> None:
        """Writes the validation scores (R,) of living runs, and keeps the parameters of those never better."""
        better = [False] * len(self.tasks)
        for r in self.alive:
            if not len(self.tasks[r].valid):
                continue
            score = self.history[r][-1]["valid_score"] = float(scores[r])
            if score > self.best_score[r]:
                self.best_score[r], better[r] = score, True
        if any(better):
            chosen = torch.tensor(better).to(self.best.device, non_blocking=True)
            torch.where(chosen[:, None], self.stack.flat.detach(), self.best, out=self.best)
