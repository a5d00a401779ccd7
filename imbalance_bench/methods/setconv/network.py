"""The network of SetConv: what its layer makes of each sample, of which a set's representative is the mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from imbalance_bench.backbones.network import Stage

SETS = 2  # the majority's and the minority's, in the order of the labels 0 and 1


@dataclass(frozen=True)
class SetConvNetwork:
    """The widths of ``SetConv``; built like a backbone."""

    hidden: int | None
    width: int
    output: int | None

    def build(self, shape: tuple[int, ...], classes: int, head: str = "") -> SetConv:
        return SetConv(math.prod(shape), self.hidden, self.width, self.output)


class SetConv(nn.Module):
    """The SetConv layer (Gao et al., 2020, Eqs. 2-4), between layers that the authors' code has and the paper has not.

    With g1 = MLP(Y - X) (N, d_o) and the columns of SoftMax(W, 0) (d, d_o), the kernel of Eq. 4 makes of a set X
    (N, d), for the anchor Y (d,),

        h_o = 1/N sum_i MLP(Y - X_i)_o <SoftMax(W)_o, X_i> = mean_i z_io,

    so that no kernel (N d, d_o) is ever built: each sample is given z_i, by two products, and a set is given the mean
    of its samples. A query is a set of one. The MLP is one linear layer; W starts as ones, a mean over features.

    ``hidden``: width of a linear layer and ReLU before, which samples and anchor go through alike (None: none);
    ``width``: d_o; ``output``: width of a linear layer without bias and ReLU after, of a set's mean (None: none).
    The anchor and the representatives of the two classes (see ``episodes``) are buffers.
    """

    def __init__(self, d: int, hidden: int | None, width: int, output: int | None) -> None:
        super().__init__()
        self.widths = [hidden, width, output]
        self.body = _linear(d, hidden) if hidden else None
        self.g1 = _linear(hidden or d, width)
        self.g2 = nn.Parameter(torch.ones(width, hidden or d))  # W, transposed
        self.head = nn.Linear(width, output, bias=False) if output else None
        if self.head is not None:
            nn.init.xavier_uniform_(self.head.weight)
        self.register_buffer("anchor", torch.zeros(d))
        self.register_buffer("representatives", torch.zeros(SETS, output or width))

    def batched(self, params: Mapping[str, torch.Tensor], x: torch.Tensor, stage: Stage = "logits") -> torch.Tensor:
        """R networks at once, on samples (R, n, ...): ``embed``: z (R, n, d_o); ``head``: what comes after, of means
        of z (R, m, d_o); ``logits``: dot products of each sample with both representatives (R, n, 2)."""
        if stage == "head":
            return self._after(params, x)
        z = self._each(params, x.flatten(2))
        return z if stage == "embed" else self._after(params, z) @ params["representatives"].mT

    def _each(self, params: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        anchor = params["anchor"][:, None]
        if self.body is not None:
            x, anchor = _affine(params, "body", torch.cat([x, anchor], 1)).relu().tensor_split([-1], 1)
        return _affine(params, "g1", anchor - x) * (params["g2"].softmax(-1) @ x.mT).mT

    def _after(self, params: Mapping[str, torch.Tensor], h: torch.Tensor) -> torch.Tensor:
        return h if self.head is None else (params["head.weight"] @ h.mT).mT.relu()


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """As the authors' code initialises its layers."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _affine(params: Mapping[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    """W X' and not X W': the gradient of W then lies in memory as W does, which saves a fifth of a step."""
    return torch.baddbmm(params[f"{name}.bias"][..., None], params[f"{name}.weight"], x.mT).mT
