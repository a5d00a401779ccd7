"""Context data: self-paced training that takes labelled samples too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imbalance_bench.methods.shared.self_training import ContextTraining, Predicted
from imbalance_bench.options import NonNegative
from imbalance_bench.registry import METHODS


@METHODS.register("context_data")
@dataclass(frozen=True)
class ContextData(ContextTraining):
    """Sections 3.2 and 4.2 of the SelectNet paper: samples that are predicted as a minority class with a loss below
    ``loss_threshold`` are added (Eq. 4), unlabelled and labelled ones.

    Readings (``loss_of``): against the given label, as in the released code, a labelled sample predicted wrongly has a
    loss above log 2, so that a threshold below it only ever duplicates minority samples predicted rightly; against the
    predicted label, those of other classes predicted with confidence come in, with their given label.
    """

    loss_threshold: NonNegative

    def choose(self, predicted: Predicted) -> np.ndarray:
        return predicted.minor & (predicted.losses(self.loss_of) < self.loss_threshold)
