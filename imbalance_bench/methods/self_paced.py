"""Self-paced training with an unlabelled pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imbalance_bench.methods.shared.self_training import Predicted, SelfTraining
from imbalance_bench.options import NonNegative
from imbalance_bench.registry import METHODS


@METHODS.register("self_paced")
@dataclass(frozen=True)
class SelfPaced(SelfTraining):
    """Self-paced training as Section 4.2 of the SelectNet paper compares it: unlabelled samples that are predicted as
    a minority class with a loss below ``loss_threshold`` are added (Eq. 2). That loss is -log of the largest
    probability, so that this selects by confidence."""

    loss_threshold: NonNegative

    def choose(self, predicted: Predicted) -> np.ndarray:
        return predicted.minor & ~predicted.labelled & (predicted.losses("predicted") < self.loss_threshold)
