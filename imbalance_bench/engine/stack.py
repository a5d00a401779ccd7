"""R copies of one backbone as one program: every parameter carries a leading run axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

Params = dict[str, torch.Tensor]


class Stack:
    """Parameters of R runs of one architecture, initialised each from its own seed.

    ``flat`` (R, P) holds every parameter; ``params`` are views into it, name → (R, *shape), leaves that require
    gradients; ``backward`` writes those into ``grad`` (R, P). A module with a method ``batched(params, x)`` runs all R
    at once through it; another module is mapped over runs by ``torch.func.vmap``, or called plainly when R = 1.
    """

    def __init__(self, module: nn.Module, flat: torch.Tensor) -> None:
        self.module = module
        self.flat = flat
        self.grad = torch.zeros_like(flat)
        self.params = self.views(flat)
        for p in self.params.values():
            p.requires_grad_()

    @classmethod
    def create(
        cls, build: Callable[[], nn.Module], seeds: Sequence[int], device: torch.device, dtype: torch.dtype
    ) -> Stack:
        """R fresh copies of what ``build`` makes, each initialised from its own seed."""
        modules = []
        for seed in seeds:
            # The global generator is what nn.init draws from: fork it, so that a run's start depends on its seed only.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                modules.append(build())
        rows = [torch.cat([p.detach().reshape(-1) for p in m.parameters()]) for m in modules]
        return cls(modules[0].to(device, dtype), torch.stack([r.to(device, dtype) for r in rows]))

    def twin(self) -> Stack:
        """A second buffer of parameters for the same networks, e.g. for a step that looks ahead."""
        return Stack(self.module, self.flat.detach().clone())

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
        batched = getattr(self.module, "batched", None)
        if batched is not None:
            return batched(params, x)
        call = torch.func.functional_call
        if len(x) == 1:
            return call(self.module, {n: p[0] for n, p in params.items()}, (x[0],))[None]
        return torch.func.vmap(lambda p, x: call(self.module, p, (x,)), randomness="different")(params, x)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward(self.params, x)

    def backward(self, loss: torch.Tensor) -> None:
        """Writes the gradient of a scalar, the sum of the runs' losses, into ``grad``: no run sees another's loss."""
        gradients = torch.autograd.grad(loss, list(self.params.values()))
        # One copy; .backward() would clear the buffer and then add to it.
        torch.cat([g.reshape(len(self), -1) for g in gradients], 1, out=self.grad)

    @torch.no_grad()
    def predict(self, flat_row: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, C) of one run with parameters (P,) on inputs (n, ...), in chunks that fit the cache."""
        params = self.views(flat_row[None])
        return torch.cat([self.forward(params, chunk[None])[0] for chunk in x.split(8192)])
