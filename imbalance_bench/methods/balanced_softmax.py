"""Balanced softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.loop import TrainState


@METHODS.register("balanced_softmax")
@dataclass(frozen=True)
class BalancedSoftmax(Method):
    """Balanced softmax (Ren et al., 2020, eq. 4): -log(n_y e^z_y / Σ_j n_j e^z_j), so that the logits z are those of
    evenly distributed classes; decisions are made by z alone."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine.losses import cross_entropy, log_prior

        return cross_entropy(logits + log_prior(state.counts), labels)
