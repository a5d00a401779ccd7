"""What all backbones share: an embedding f and a classifier head g apart, and layers that need no global state."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Stage = Literal["logits", "embed", "head"]


class Network(nn.Module):
    """x → f(x) → g(f(x)). A subclass defines ``embed``; the head is the method's choice.

    Heads: ``linear`` (two classes: one log-odds z, given as logits [0, z]; C > 2: C logits; regression: one output) and
    ``cosine`` (C cosines of feature and class weight, no bias; LDAM, Section 3.2 of Cao et al. 2019).
    """

    def __init__(self, features: int, classes: int, head: str) -> None:
        super().__init__()
        self.classes, self.kind = classes, head
        outputs = classes if head == "cosine" else {0: 1, 2: 1}.get(classes, classes)
        self.head = nn.Linear(features, outputs, bias=head != "cosine")

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """f: features (n, d) of inputs (n, ...)."""
        raise NotImplementedError

    def classify(self, h: torch.Tensor) -> torch.Tensor:
        """g before its softmax: logits (..., C) (regression: (..., 1)) of features (..., d)."""
        if self.kind == "cosine":
            return F.normalize(h, dim=-1) @ F.normalize(self.head.weight, dim=-1).T
        return self.padded(self.head(h))

    def padded(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits of the head's outputs. Softmax over [0, z] is the sigmoid of z: two classes have one output, as the
        papers have it, and losses see C logits always."""
        return F.pad(outputs, (1, 0)) if self.classes == 2 and self.kind != "cosine" else outputs

    def forward(self, x: torch.Tensor, stage: Stage = "logits") -> torch.Tensor:
        """``logits``: g(f(x)); ``embed``: f(x); ``head``: g of features ``x``."""
        if stage == "head":
            return self.classify(x)
        h = self.embed(x)
        return h if stage == "embed" else self.classify(h)


class Dropout(nn.Module):
    """Dropout whose noise is a hash of (run, step, layer, unit), not a draw from the global generator.

    So what a run draws depends neither on the runs that are trained beside it nor on the device. The buffer ``key``
    starts from the run's seed and counts the training passes; it is a float so that it lies with the other state of
    the run, and stays below 2^24, up to where float32 holds every integer.
    """

    key: torch.Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("key", torch.randint(1 << 23, ()).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        self.key.add_(1)
        units = torch.arange(x.numel(), device=x.device)
        kept = _uniform(units, self.key.long()) >= self.p
        return x * kept.view(x.shape) / (1 - self.p)


def _uniform(counter: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) for int64 counters: the 32-bit finaliser of MurmurHash3, twice, keyed in between."""
    mask = 0xFFFFFFFF
    h = counter * 0x9E3779B1 & mask
    for salt in (key * 0x85EBCA6B & mask, key * 0xC2B2AE35 + 0x27D4EB2F & mask):
        h = h ^ salt
        h = (h ^ (h >> 16)) * 0x85EBCA6B & mask
        h = (h ^ (h >> 13)) * 0xC2B2AE35 & mask
        h = h ^ (h >> 16)
    return h.float() / 2**32


class BatchNorm(nn.Module):
    """Batch normalisation over (n, H, W) (Ioffe & Szegedy, 2015), as nn.BatchNorm2d; ``momentum`` is the weight of the
    new batch in the running statistics. Those are updated here and not by the fused kernel, which under torch.func.vmap
    updates copies of them."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        out, mean, inverse_sd = torch.native_batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps)
        with torch.no_grad():
            n = x.numel() // x.shape[1]
            variance = (inverse_sd**-2 - self.eps) * n / max(n - 1, 1)
            for running, new in ((self.running_mean, mean), (self.running_var, variance)):
                running.mul_(1 - self.momentum).add_(self.momentum * new.to(running))
        return out
