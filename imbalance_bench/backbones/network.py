"""Base of all backbones: an embedding f and a classifier head g apart, and layers that need no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.errors import BenchError

Stage = Literal["logits", "embed", "head"]


class Network(nn.Module):
    """x → f(x) → g(f(x)). A subclass defines ``embed``; the head is the method's choice.

    Heads: ``linear`` (two classes: one log-odds z, given as logits [0, z]; C > 2: C logits; regression: one output),
    ``full`` (an output for each class, of two as well; CS-DMLP) and ``cosine`` (C cosines of feature and class weight,
    no bias; LDAM, Section 3.2 of Cao et al. 2019).

    ``pad``: for networks of token ids, the id that fills texts up on the right. It must not influence the output,
    and columns of padding alone are cut off before a batch gets here.
    """

    pad: int | None = None

    def __init__(self, features: int, classes: int, head: str) -> None:
        super().__init__()
        self.classes, self.kind = classes, head
        outputs = {0: 1, 2: 1}.get(classes, classes) if head == "linear" else classes
        self.head = nn.Linear(features, outputs, bias=head != "cosine")

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """f: features (n, d) of inputs (n, ...)."""
        raise NotImplementedError

    def classify(self, h: torch.Tensor) -> torch.Tensor:
        """g before its softmax: logits (..., C) (regression: (..., 1)) of features (..., d)."""
        if h.shape[-1] != self.head.in_features:
            raise BenchError(
                f"{type(self).__name__}.embed gives {h.shape[-1]} features a row, and its head was made for "
                f"{self.head.in_features}: the number in super().__init__(features, classes, head)"
            )
        if self.kind == "cosine":
            return F.normalize(h, dim=-1) @ F.normalize(self.head.weight, dim=-1).T
        return self.padded(self.head(h))

    def padded(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits of the head's outputs. Softmax over [0, z] is the sigmoid of z: a linear head has one output for two
        classes, as the papers have it, and losses see C logits always."""
        return F.pad(outputs, (1, 0)) if self.classes == 2 and self.kind == "linear" else outputs

    def forward(self, x: torch.Tensor, stage: Stage = "logits") -> torch.Tensor:
        """``logits``: g(f(x)); ``embed``: f(x); ``head``: g of features ``x``."""
        if stage == "head":
            return self.classify(x)
        h = self.embed(x)
        return h if stage == "embed" else self.classify(h)


class Unmapped(Network):
    """A network that torch.func.vmap cannot map over runs (a fused recurrence, code of others): runs are called one
    after the other. ``maps = False`` tells the engine of it, on the dataclass that builds one."""

    def batched(self, params: Mapping[str, torch.Tensor], x: torch.Tensor, stage: Stage = "logits") -> torch.Tensor:
        """``forward`` of R networks: parameters (R, ...), inputs (R, n, ...) → (R, n, C)."""
        call = torch.func.functional_call
        return torch.stack([call(self, {n: v[r] for n, v in params.items()}, (x[r], stage)) for r in range(len(x))])


class Dropout(nn.Module):
    """Dropout whose noise is a hash of (run, step, layer, unit), not a draw from the global generator.

    So the draws of a run depend neither on the runs trained beside it nor on the device. The buffer ``key``
    starts from the run's seed and counts the training passes; it is a float so that it lies with the other state of
    the run, and stays below 2^24, up to where float32 holds every integer.

    Units are numbered in the order of a batch, of which only the first axis may vary. ``by_place``: by a hash of their
    place on each axis, for batches of texts, which are as long as the longest text of any run.
    """

    key: torch.Tensor

    def __init__(self, p: float, by_place: bool = False) -> None:
        super().__init__()
        self.p, self.by_place = p, by_place
        self.register_buffer("key", torch.randint(1 << 23, ()).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        self.key.add_(1)
        if self.by_place:
            units = torch.zeros((), dtype=torch.int32, device=x.device)
            for axis, size in enumerate(x.shape):
                # A power of it, as 32 bits have it: products of int32 wrap around, constants of a compiler do not.
                factor = _signed(pow(0x01000193, x.ndim - 1 - axis, 2**32))
                units = units[..., None] + factor * torch.arange(size, dtype=torch.int32, device=x.device)
        else:
            units = torch.arange(x.numel(), dtype=torch.int32, device=x.device)
        return x * _kept(units, self.key.int(), self.p).view(x.shape) / (1 - self.p)


def _kept(counter: torch.Tensor, key: torch.Tensor, p: float) -> torch.Tensor:
    """Which int32 counters are kept, with probability 1 - ``p``: MurmurHash3's 32-bit finaliser, twice, keyed by an
    int32 scalar in between. Products wrap around, as torch's do."""
    h = counter * _signed(0x9E3779B1)
    for salt in (key * _signed(0x85EBCA6B), key * _signed(0xC2B2AE35) + 0x27D4EB2F):
        h = h ^ salt
        h.bitwise_xor_((h >> 16) & 0xFFFF).mul_(_signed(0x85EBCA6B))
        h.bitwise_xor_((h >> 13) & 0x7FFFF).mul_(_signed(0xC2B2AE35))
        h.bitwise_xor_((h >> 16) & 0xFFFF)
    return h.bitwise_and_(0x7FFFFFFF) >= int(p * 2**31)


def _signed(word: int) -> int:
    """A 32-bit word as the int32 of the same bits."""
    return word - 2**32 if word >= 2**31 else word


class BatchNorm(nn.Module):
    """Batch normalisation over (n, H, W) (Ioffe & Szegedy, 2015), as nn.BatchNorm2d; ``momentum`` is the weight of the
    new batch in the running statistics. Those are updated here and not by the fused kernel, which under torch.func.vmap
    updates copies of them.

    Runs trained together may have batches of different length, filled up with rows that must not count: where
    ``ragged`` is set, only the first ``rows`` samples make the statistics.

    ``deferred``: whether the running statistics are left to ``settle``, which updates those of all layers at once.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    rows: torch.Tensor
    seen: tuple[torch.Tensor, torch.Tensor]
    count: int

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("rows", torch.zeros(()))
        self.ragged = self.deferred = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        pixels = x.shape[2] * x.shape[3]
        if self.ragged:
            n = (self.rows * pixels).clamp(min=1)
            real = (torch.arange(len(x), device=x.device) < self.rows).view(-1, 1, 1, 1)
            mean = (x * real).sum((0, 2, 3)) / n
            centred = x - mean.view(-1, 1, 1)
            biased = (centred.square() * real).sum((0, 2, 3)) / n
            scale = self.weight * (biased + self.eps).rsqrt()
            out = centred * scale.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
            spread = unbiased(biased.detach(), n)
        else:
            out, mean, spread = torch.native_batch_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps)
            self.count = len(x) * pixels
        if self.deferred:  # and only then: torch.compile takes what a module keeps for an output
            self.seen = (mean.detach(), spread.detach())  # the variance where ragged, else 1 / √(biased variance + ε)
            return out
        with torch.no_grad():
            variance = spread if self.ragged else unbiased(spread**-2 - self.eps, self.count)
            for running, new in ((self.running_mean, mean), (self.running_var, variance)):
                running.mul_(1 - self.momentum).add_(self.momentum * new.to(running))
        return out

    @staticmethod
    def alike(layers: Sequence[BatchNorm]) -> bool:
        """Whether ``settle`` can do for these layers."""
        return len({(layer.momentum, layer.eps) for layer in layers}) == 1

    @staticmethod
    @torch.no_grad()
    def settle(
        layers: Sequence[BatchNorm], seen: Sequence[tuple[torch.Tensor, torch.Tensor]], running: torch.Tensor
    ) -> None:
        """Updates the running statistics of all layers, ``running`` (R, 2 C): the means of one layer after the other,
        then the variances. ``seen``: each layer's ``seen``, with an axis of runs. Ten kernels in all and not a layer,
        and the same numbers."""
        first, channels = layers[0], running.shape[1] // 2
        new = torch.cat([of_layer[i] for i in (0, 1) for of_layer in seen], 1).to(running)
        if not first.ragged:
            counts = _counts(tuple((layer.count, len(layer.weight)) for layer in layers), running.dtype, running.device)
            spread = new[:, channels:]
            spread.pow_(-2).sub_(first.eps).mul_(counts[0]).div_(counts[1])
        running.mul_(1 - first.momentum).add_(new.mul_(first.momentum))


def unbiased(variance: torch.Tensor, n: float | torch.Tensor) -> torch.Tensor:
    """Of a variance of ``n`` numbers; of one number as it is."""
    return variance * n / (n - 1 + (n == 1))


@cache  # a copy a step would hold up a GPU
def _counts(layers: tuple[tuple[int, int], ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(2, C) for (count, channels) of each layer: what ``unbiased`` multiplies by, and what it divides by."""
    n = torch.tensor([count for count, channels in layers for _ in range(channels)], dtype=dtype)
    return torch.stack([n, n - 1 + (n == 1).to(n)]).to(device)
