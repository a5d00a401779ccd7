"""Optimisers over the rows of a flat parameter buffer, so that each run has its own moments and step count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from imbalance_bench.config import Trainer


class Adam:
    """Adam (Kingma & Ba, 2015) with coupled L2, as torch.optim.Adam computes it.

    Calls the fused kernel behind ``torch.optim.Adam(fused=True)`` directly: the class takes one step count for all
    rows of a tensor and needs a second of imports, the kernel takes one count a run.
    """

    def __init__(self, flat: torch.Tensor, grad: torch.Tensor, trainer: Trainer) -> None:
        self.trainer = trainer
        self.rows = [list(t.unbind(0)) for t in (flat, grad, torch.zeros_like(flat), torch.zeros_like(flat))]
        self.steps = [torch.zeros((), dtype=torch.float32, device=flat.device) for _ in flat]

    def step(self, active: Sequence[int] | None = None) -> None:
        """One step of the runs in ``active`` (None: all)."""
        lists = [*self.rows, self.steps]
        if active is not None:
            if not active:
                return
            lists = [[rows[r] for r in active] for rows in lists]
        torch._foreach_add_(lists[4], 1)
        torch._fused_adam_(
            *lists[:4],
            [],
            lists[4],
            lr=self.trainer.lr,
            beta1=self.trainer.betas[0],
            beta2=self.trainer.betas[1],
            weight_decay=self.trainer.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


class SGD:
    """Gradient descent with momentum and coupled L2, as torch.optim.SGD computes it."""

    def __init__(self, flat: torch.Tensor, grad: torch.Tensor, trainer: Trainer) -> None:
        self.flat, self.grad, self.trainer = flat, grad, trainer
        self.velocity = torch.zeros_like(flat)

    @torch.no_grad()
    def step(self, active: Sequence[int] | None = None) -> None:
        runs = slice(None) if active is None else torch.as_tensor(active, device=self.flat.device)
        gradient = self.grad[runs]
        if self.trainer.weight_decay:
            gradient = gradient + self.trainer.weight_decay * self.flat[runs]
        # A velocity that starts at zero gives torch.optim.SGD's first step (dampening 0) as well.
        self.velocity[runs] = self.trainer.momentum * self.velocity[runs] + gradient
        self.flat[runs] -= self.trainer.lr * self.velocity[runs]


OPTIMISERS = {"adam": Adam, "sgd": SGD}
