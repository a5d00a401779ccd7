"""Optimisers over the rows of a flat parameter buffer, so that each run has its own moments, step count and settings;
over some of its columns where layers have rates of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch

from imbalance_bench.engine.stack import Stack

if TYPE_CHECKING:
    from imbalance_bench.settings.config import Trainer

EVERY = slice(None)
EPS = 1e-8

OfRuns = float | Sequence[float]
"""One number for all runs, or one for each."""


class Optimiser:
    """Shared by Adam and SGD: a step of some runs or of all, each run at its own rate.

    ``step`` is asked by the host, run by run where settings differ. ``plan`` and ``move`` are the same steps where
    nothing of a step may depend on the host: what differs between runs and steps is a table on the device.
    """

    kept = ("state",)
    state: dict[str, torch.Tensor]
    """Its moments and counts, by name, a row a run: changed in place, and what a continued training needs."""

    def __init__(self, stack: Stack, lr: OfRuns, weight_decay: OfRuns, columns: slice, **others: OfRuns) -> None:
        runs = len(stack)
        self.weights, self.grad = stack.weights[:, columns], stack.grad[:, columns]
        self.rates = _each(lr, runs)
        self.settings = list(zip(_each(weight_decay, runs), *(_each(values, runs) for values in others.values())))
        self.alike = len(set(self.settings)) == 1
        # Copied to the device once: a copy a step would hold up a GPU. (The device, not self: a cycle keeps memory.)
        device, dtype = self.grad.device, self.grad.dtype
        self._chosen = cache(lambda runs: torch.tensor(runs, device=device))
        decays = [settings[0] for settings in self.settings]
        self.decay = torch.tensor(decays, dtype=dtype, device=device)[:, None] if any(decays) else None

    def step(self, runs: Sequence[int] | None = None, rates: Sequence[float] | None = None) -> None:
        """One step of ``runs`` (None: all) at ``rates`` (R,) (None: those it was made with)."""
        rates = self.rates if rates is None else rates
        if self.alike and rates.count(rates[0]) == len(rates):
            if runs is None or runs:
                self._step(runs, rates[0], *self.settings[0])
            return
        groups: dict[tuple[float, ...], list[int]] = {}
        for r in range(len(rates)) if runs is None else runs:
            groups.setdefault((rates[r], *self.settings[r]), []).append(r)
        for settings, members in groups.items():
            self._step(members if len(members) < len(rates) else None, *settings)

    def _step(self, runs: Sequence[int] | None, lr: float, weight_decay: float, *others: float) -> None:
        raise NotImplementedError

    def plan(self, rates: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """The table (S, k, R, 1) of the next S steps, in which run r takes part where ``present`` (S, R) says so, at
        ``rates`` (S, R); all on the device. The steps count as taken: ``move`` each of them once."""
        raise NotImplementedError

    def move(self, table: torch.Tensor) -> None:
        """One step of all runs, a row (k, R, 1) of the table; runs that sit it out stay where they are."""
        raise NotImplementedError

    def _decayed(self) -> torch.Tensor:
        """The gradient (R, P) with the coupled L2 of each run."""
        return self.grad if self.decay is None else self.grad.addcmul(self.weights, self.decay)


class Adam(Optimiser):
    """Adam (Kingma & Ba, 2015) with coupled L2, as torch.optim.Adam computes it.

    ``step`` calls the fused kernel behind ``torch.optim.Adam(fused=True)`` directly: the class takes one step count for
    all rows of a tensor and needs a second of imports, the kernel takes one count a run.
    """

    def __init__(
        self,
        stack: Stack,
        lr: OfRuns,
        betas: Sequence[float] | Sequence[Sequence[float]],
        weight_decay: OfRuns = 0.0,
        columns: slice = EVERY,
    ) -> None:
        pairs = list(betas) if isinstance(betas[0], Sequence) else [betas] * len(stack)
        self.betas: list[tuple[float, ...]] = [tuple(pair) for pair in pairs]  # type: ignore[arg-type]
        first, second = zip(*self.betas)
        super().__init__(stack, lr, weight_decay, columns, beta1=first, beta2=second)
        self.first, self.second = torch.zeros_like(self.grad), torch.zeros_like(self.grad)
        self.steps = torch.zeros(len(stack), dtype=torch.float32, device=self.grad.device)
        self.state = {"first": self.first, "second": self.second, "steps": self.steps}
        buffers = (self.weights, self.grad, self.first, self.second, self.steps)
        self._rows = [list(buffer.unbind(0)) for buffer in buffers]

    def _step(self, runs: Sequence[int] | None, lr: float, weight_decay: float, *others: float) -> None:
        lists = self._rows
        if runs is None:
            self.steps.add_(1)
        else:
            lists = [[rows[r] for r in runs] for rows in lists]
            torch._foreach_add_(lists[-1], 1)
        parameters, gradients, first, second, steps = lists
        torch._fused_adam_(
            parameters,
            gradients,
            first,
            second,
            [],
            steps,
            lr=lr,
            beta1=others[0],
            beta2=others[1],
            weight_decay=weight_decay,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )

    def plan(self, rates: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        counts = (self.steps + present.cumsum(0)).double().clamp_(min=1)  # of a run before its first step: not 0 / 0
        self.steps.add_(present.sum(0))
        beta1, beta2 = torch.tensor(self.betas, dtype=torch.float64, device=counts.device).unbind(1)
        roots = (1 - beta2**counts).sqrt_()
        # m / (1 - β₁ᵗ) over √(v / (1 - β₂ᵗ)) + ε, with √(1 - β₂ᵗ) taken out of the fraction.
        rows = ((1 - beta1) * present, (1 - beta2) * present, -rates * roots / (1 - beta1**counts) * present)
        return torch.stack([*rows, EPS * roots], 1).to(self.grad.dtype)[..., None]

    @torch.no_grad()
    def move(self, table: torch.Tensor) -> None:
        new_first, new_second, rate, eps = table.unbind(0)
        gradient = self._decayed()
        self.first.lerp_(gradient, new_first)
        self.second.lerp_(gradient.square(), new_second)
        self.weights.addcdiv_(self.first * rate, self.second.sqrt().add_(eps))


class AdamW(Adam):
    """Adam with decoupled decay (Loshchilov & Hutter, ICLR 2019), as torch.optim.AdamW computes it: weights lose the
    share rate · decay before each step. A parameter may have an attribute ``decay``, a factor on that share."""

    def __init__(
        self,
        stack: Stack,
        lr: OfRuns,
        betas: Sequence[float] | Sequence[Sequence[float]],
        weight_decay: OfRuns = 0.0,
        columns: slice = EVERY,
    ) -> None:
        super().__init__(stack, lr, betas, 0.0, columns)
        self.decays = _each(weight_decay, len(stack))
        factors = torch.cat([torch.full((p.numel(),), getattr(p, "decay", 1.0)) for p in stack.module.parameters()])
        self.factors = factors[columns].to(self.grad)
        # Copied to the device once a rate.
        device, dtype = self.grad.device, self.grad.dtype
        self._shares = cache(lambda shares: torch.tensor(shares, dtype=dtype, device=device)[:, None])

    def step(self, runs: Sequence[int] | None = None, rates: Sequence[float] | None = None) -> None:
        if any(self.decays):
            now = enumerate(zip(self.rates if rates is None else rates, self.decays))
            self._shrink(self._shares(tuple(lr * d if runs is None or r in runs else 0.0 for r, (lr, d) in now)))
        super().step(runs, rates)

    @torch.no_grad()
    def _shrink(self, shares: torch.Tensor) -> None:
        """``shares`` (R, 1): what the weights of each run lose."""
        self.weights.mul_(1 - shares * self.factors)

    def plan(self, rates: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        decays = torch.tensor(self.decays, dtype=torch.float64, device=rates.device)
        shares = (rates * decays * present).to(self.grad.dtype)
        return torch.cat([super().plan(rates, present), shares[:, None, :, None]], 1)

    def move(self, table: torch.Tensor) -> None:
        if any(self.decays):
            self._shrink(table[-1])
        super().move(table[:-1])


class SGD(Optimiser):
    """Gradient descent with momentum and coupled L2, as torch.optim.SGD computes it."""

    def __init__(
        self,
        stack: Stack,
        lr: OfRuns,
        momentum: OfRuns = 0.0,
        weight_decay: OfRuns = 0.0,
        columns: slice = EVERY,
    ) -> None:
        super().__init__(stack, lr, weight_decay, columns, momentum=momentum)
        self.momentum = _each(momentum, len(stack))
        self.velocity = torch.zeros_like(self.grad)
        self.state = {"velocity": self.velocity}

    @torch.no_grad()
    def _step(self, runs: Sequence[int] | None, lr: float, weight_decay: float, *others: float) -> None:
        weights, gradient, velocity = self.weights, self.grad, self.velocity
        if runs is not None:
            chosen = self._chosen(tuple(runs))
            weights, gradient, velocity = weights[chosen], gradient[chosen], velocity[chosen]
        if weight_decay:
            gradient = gradient.add(weights, alpha=weight_decay)
        # A velocity that starts at zero gives torch.optim.SGD's first step (dampening 0) as well.
        velocity.mul_(others[0]).add_(gradient)
        weights.add_(velocity, alpha=-lr)
        if runs is not None:
            self.weights[chosen], self.velocity[chosen] = weights, velocity

    def plan(self, rates: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        momentum = torch.tensor(self.momentum, dtype=torch.float64, device=present.device)
        kept = torch.where(present, momentum, torch.ones_like(momentum))
        return torch.stack([kept, present.double(), -rates * present], 1).to(self.grad.dtype)[..., None]

    @torch.no_grad()
    def move(self, table: torch.Tensor) -> None:
        kept, new, rate = table.unbind(0)
        self.velocity.mul_(kept).addcmul_(self._decayed(), new)
        self.weights.addcmul_(self.velocity, rate)


def optimiser(stack: Stack, trainers: Sequence[Trainer], columns: slice = EVERY) -> Optimiser:
    """The optimiser that ``trainer.optimiser`` names, the same for all runs, of these columns of the parameters; with
    the rate, decay, betas and momentum of each run's trainer."""
    rates, decays = [t.lr for t in trainers], [t.weight_decay for t in trainers]
    if trainers[0].optimiser == "adam":
        return Adam(stack, rates, [t.betas for t in trainers], decays, columns)
    if trainers[0].optimiser == "adamw":
        return AdamW(stack, rates, [t.betas for t in trainers], decays, columns)
    return SGD(stack, rates, [t.momentum for t in trainers], decays, columns)


def _each(value: OfRuns, runs: int) -> list[float]:
    return list(value) if isinstance(value, Sequence) else [value] * runs
