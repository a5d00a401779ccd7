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
    try:
        return params["head.weight"], params["head.bias"]
    except KeyError:
        raise BenchError(
            f"method={method} changes the last layer of the network and found no linear layer `head`: choose a "
            "backbone that is an imbalance_bench.backbones.network.Network"
        ) from None
