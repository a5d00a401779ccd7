"""Multi-layer perceptron, with its batched form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.by_hand import Pass
from imbalance_bench.backbones.network import Network, Stage
from imbalance_bench.options import Count
from imbalance_bench.registry import BACKBONES

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@BACKBONES.register("mlp")
@dataclass(frozen=True)
class MLPBackbone(Backbone):
    """``hidden`` widths and ``activation`` of the body; the head is the method's choice."""

    hidden: tuple[Count, ...]
    activation: Literal["relu", "tanh"]

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear") -> MLP:
        """An MLP for inputs (n, *shape) and ``classes`` classes (0: regression)."""
        return MLP(math.prod(shape), self.hidden, self.activation, classes, head)


class MLP(Network):
    """d → hidden → head; f is the last hidden layer."""

    def __init__(self, d: int, hidden: tuple[int, ...], activation: str, classes: int, head: str) -> None:
        widths = [d, *hidden]
        body = [nn.Linear(a, b) for a, b in zip(widths, widths[1:])]  # drawn before the head, from the input up
        super().__init__(widths[-1], classes, head)
        self.activation, self.named = ACTIVATIONS[activation], activation
        self.body = nn.ModuleList(body)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        h = x.flatten(1)
        for layer in self.body:
            h = self.activation(layer(h))
        return h

    def batched(self, params: Mapping[str, torch.Tensor], x: torch.Tensor, stage: Stage = "logits") -> torch.Tensor:
        """``forward`` of R networks at once: parameters (R, ...), inputs (R, n, ...) → (R, n, C)."""
        h = x
        if stage != "head":
            h = x.flatten(2)
            for i in range(len(self.body)):
                weight, bias = params[f"body.{i}.weight"], params[f"body.{i}.bias"]
                h = self.activation(torch.baddbmm(bias[:, None], h, weight.mT))
            if stage == "embed":
                return h
        weight, lead = params["head.weight"], h.shape[1:-1]
        h = h.flatten(1, -2)  # the head may be asked about several vectors a sample
        if self.kind == "cosine":
            outputs = F.normalize(h, dim=-1) @ F.normalize(weight, dim=-1).mT
        else:
            outputs = self.padded(torch.baddbmm(params["head.bias"][:, None], h, weight.mT))
        return outputs.unflatten(1, lead)

    def passed(self, params: Mapping[str, torch.Tensor], x: torch.Tensor) -> Pass | None:
        """``batched`` for logits, with derivatives by hand; None for a class that may change what they are of."""
        if type(self) is not MLP:
            return None
        return Pass(params, x, len(self.body), self.named, padded=self.classes == 2 and self.kind == "linear")
