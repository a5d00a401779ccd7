"""Optimisers over the rows of a flat parameter buffer, so that each run has its own moments and step count; over some
of its columns where layers have rates of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch

from imbalance_bench.engine.stack import Stack

if TYPE_CHECKING:
    from imbalance_bench.config import Trainer

EVERY = slice(None)


class Adam:
    """Adam (Kingma & Ba, 2015) with coupled L2, as torch.optim.Adam computes it.

    Calls the fused kernel behind ``torch.optim.Adam(fused=True)`` directly: the class takes one step count for all
    rows of a tensor and needs a second of imports, the kernel takes one count a run.
    """

    def __init__(
        self, stack: Stack, lr: float, betas: Sequence[float], weight_decay: float = 0.0, columns: slice = EVERY
    ) -> None:
        self.lr, (self.beta1, self.beta2), self.weight_decay = lr, betas, weight_decay
        flat, grad = stack.weights[:, columns], stack.grad[:, columns]
        buffers = (flat, grad, torch.zeros_like(grad), torch.zeros_like(grad))  # the last: moments
        self.rows = [list(buffer.unbind(0)) for buffer in buffers]
        self.steps = [torch.zeros((), dtype=torch.float32, device=flat.device) for _ in flat]

    def step(self, active: Sequence[int] | None = None) -> None:
        """One step of the runs in ``active`` (None: all)."""
        lists = [*self.rows, self.steps]
        if active is not None:
            if not active:
                return
            lists = [[rows[r] for r in active] for rows in lists]
        parameters, gradients, first, second, steps = lists
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            parameters,
            gradients,
            first,
            second,
            [],
            steps,
            lr=self.lr,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=self.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


class SGD:
    """Gradient descent with momentum and coupled L2, as torch.optim.SGD computes it."""

    def __init__(
        self, stack: Stack, lr: float, momentum: float = 0.0, weight_decay: float = 0.0, columns: slice = EVERY
    ) -> None:
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.weights, self.grad = stack.weights[:, columns], stack.grad[:, columns]
        self.velocity = torch.zeros_like(self.grad)
        # Copied to the device once: a copy a step would hold up a GPU. (The device, not self: a cycle keeps memory.)
        device = self.grad.device
        self.indices = cache(lambda runs: torch.tensor(runs, device=device))

    @torch.no_grad()
    def step(self, active: Sequence[int] | None = None) -> None:
        weights, gradient, velocity = self.weights, self.grad, self.velocity
        if active is not None:
            if not active:
                return
            runs = self.indices(tuple(active))
            weights, gradient, velocity = weights[runs], gradient[runs], velocity[runs]
        if self.weight_decay:
            gradient = gradient.add(weights, alpha=self.weight_decay)
        # A velocity that starts at zero gives torch.optim.SGD's first step (dampening 0) as well.
        velocity.mul_(self.momentum).add_(gradient)
        weights.add_(velocity, alpha=-self.lr)
        if active is not None:
            self.weights[runs], self.velocity[runs] = weights, velocity


def optimiser(stack: Stack, trainer: Trainer, columns: slice = EVERY) -> Adam | SGD:
    """The optimiser that ``trainer.optimiser`` names, of these columns of the parameters."""
    if trainer.optimiser == "adam":
        return Adam(stack, trainer.lr, trainer.betas, trainer.weight_decay, columns)
    return SGD(stack, trainer.lr, trainer.momentum, trainer.weight_decay, columns)
