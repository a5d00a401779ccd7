"""Shared by methods that treat the classifier apart from the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imbalance_bench.errors import BenchError

if TYPE_CHECKING:
    import torch


def head_of(params: Mapping[str, torch.Tensor], method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (R, outputs, d) and biases (R, outputs) of the last layers among the parameters of a stack; without the
    first axis those of a run."""
    return _found("head.weight", params, method), biases_of(params, method)


def biases_of(params: Mapping[str, torch.Tensor], method: str) -> torch.Tensor:
    """Biases (..., outputs) of the last layers, of an ensemble those of its members too."""
    return _found("head.bias", params, method)


def _found(name: str, params: Mapping[str, torch.Tensor], method: str) -> torch.Tensor:
    if name not in params:
        raise BenchError(
            f"method={method} changes the last layer of the network and found no linear layer `head` (tabm has one a "
            "member of its ensemble): choose another backbone that is an imbalance_bench.backbones.network.Network, "
            "such as backbone=mlp"
        )
    return params[name]
