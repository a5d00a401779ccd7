"""Multi-layer perceptron, with its batched form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import BACKBONES

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@BACKBONES.register("mlp")
@dataclass(frozen=True)
class MLPBackbone:
    """``hidden`` widths and ``activation`` of the body; the head is the method's choice."""

    hidden: tuple[int, ...]
    activation: Literal["relu", "tanh"]

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise BenchError(f"backbone.hidden={list(self.hidden)}: widths must be at least 1")

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> MLP:
        """An MLP for inputs (n, *shape) and ``classes`` classes (0: regression)."""
        return MLP(math.prod(shape), self.hidden, self.activation, classes, head)


class MLP(nn.Module):
    """d → hidden → head. Heads: ``linear`` (two classes: one log-odds z, given as logits [0, z]; C > 2: C logits;
    regression: one output) and ``cosine`` (C cosines of feature and class weight, no bias; LDAM, Section 3.2 of Cao
    et al. 2019)."""

    def __init__(self, d: int, hidden: tuple[int, ...], activation: str, classes: int, head: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.classes, self.kind = classes, head
        widths = [d, *hidden]
        self.body = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        outputs = classes if head == "cosine" else {0: 1, 2: 1}.get(classes, classes)
        self.head = nn.Linear(widths[-1], outputs, bias=head != "cosine")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, C) (regression: (n, 1)) of inputs (n, ...)."""
        h = x.flatten(1)
        for layer in self.body:
            h = self.activation(layer(h))
        if self.kind == "cosine":
            return F.normalize(h, dim=-1) @ F.normalize(self.head.weight, dim=-1).T
        return self._logits(self.head(h))

    def batched(self, params: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """The same for R networks at once: parameters (R, ...), inputs (R, n, ...) → (R, n, C)."""
        h = x.flatten(2)
        for i in range(len(self.body)):
            weight, bias = params[f"body.{i}.weight"], params[f"body.{i}.bias"]
            h = self.activation(torch.baddbmm(bias[:, None], h, weight.mT))
        weight = params["head.weight"]
        if self.kind == "cosine":
            return F.normalize(h, dim=-1) @ F.normalize(weight, dim=-1).mT
        return self._logits(torch.baddbmm(params["head.bias"][:, None], h, weight.mT))

    def _logits(self, outputs: torch.Tensor) -> torch.Tensor:
        # Softmax over [0, z] is the sigmoid of z: one output as the paper has it, and losses see C logits always.
        return F.pad(outputs, (1, 0)) if self.classes == 2 else outputs
