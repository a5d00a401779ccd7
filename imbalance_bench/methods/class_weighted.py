"""Class weights: cross-entropy weighted by inverse class frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.loop import TrainState


@METHODS.register("class_weighted")
@dataclass(frozen=True)
class ClassWeighted(Method):
    """Cross-entropy times n / (C n_y): inverse class frequency, mean one over the training set. The batch mean is
    taken over samples, not divided by the batch's sum of weights."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine.losses import cross_entropy, inverse_frequency_weights, of_label

        return of_label(inverse_frequency_weights(state.counts), labels) * cross_entropy(logits, labels)
