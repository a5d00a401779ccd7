"""R copies of one backbone as one program: every parameter carries a leading run axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

Params = dict[str, torch.Tensor]


class Stack:
    """Parameters of R runs of one architecture, initialised each from its own seed.

    ``flat`` (R, P) holds every parameter; ``params`` are views into it, name → (R, *shape), leaves that require
    gradients; ``grad`` (R, P) receives their gradients. A module with a method ``batched(params, x)`` runs all R at
    once through it; another module is mapped over runs by ``torch.func.vmap``, or called plainly when R = 1.
    """

    def __init__(
        self, build: Callable[[], nn.Module], seeds: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> None:
        modules = []
        for seed in seeds:
            # The global generator is what nn.init draws from: fork it, so that a run's start depends on its seed only.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                modules.append(build())
        self.module = modules[0].to(device, dtype)
        rows = [torch.cat([p.detach().reshape(-1) for p in m.parameters()]) for m in modules]
        self.flat = torch.stack([r.to(device, dtype) for r in rows])
        self.grad = torch.zeros_like(self.flat)
        self.params = self.views(self.flat)
        for p, g in zip(self.params.values(), self.views(self.grad).values()):
            p.requires_grad_().grad = g

    def __len__(self) -> int:
        return len(self.flat)

    def views(self, flat: torch.Tensor) -> Params:
        """The parameters, name → (R, *shape), that lie in a buffer (R, P)."""
        views, start = {}, 0
        for name, p in self.module.named_parameters():
            views[name] = flat[:, start : start + p.numel()].view(len(flat), *p.shape)
            start += p.numel()
        return views

    def forward(self, params: Params, x: torch.Tensor) -> torch.Tensor:
        """Logits (R, B, C) of inputs (R, B, ...) under parameters with a leading run axis."""
        if hasattr(self.module, "batched"):
            return self.module.batched(params, x)
        call = torch.func.functional_call
        if len(x) == 1:
            return call(self.module, {n: p[0] for n, p in params.items()}, (x[0],))[None]
        return torch.func.vmap(lambda p, x: call(self.module, p, (x,)), randomness="different")(params, x)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward(self.params, x)

    @torch.no_grad()
    def predict(self, flat_row: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, C) of one run with parameters (P,) on inputs (n, ...), in chunks that fit the cache."""
        params = self.views(flat_row[None])
        return torch.cat([self.forward(params, chunk[None])[0] for chunk in x.split(8192)])

    def load(self, rows: Sequence[torch.Tensor]) -> None:
        """Sets the parameters of each run, R × (P,)."""
        with torch.no_grad():
            self.flat.copy_(torch.stack(list(rows)))
