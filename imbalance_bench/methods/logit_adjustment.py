"""Logit adjustment, after training or in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from imbalance_bench.data.base import Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.methods.base import Method
from imbalance_bench.options import NonNegative
from imbalance_bench.registry import METHODS
from imbalance_bench.running.models import State, Surroundings, kept, restored, state_of

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.loop import TrainState


@METHODS.register("logit_adjustment")
@dataclass(frozen=True)
class LogitAdjustment(Method):
    """Logit adjustment (Menon et al., 2021) with the class shares π of the rows that were trained on.

    ``mode`` posthoc: plain training, decisions by z_j - τ log π_j (the best epoch is chosen by z); loss: cross-entropy
    of z_j + τ log π_j, decisions by z. With τ = 1 that is the balanced softmax.
    """

    tau: NonNegative
    mode: Literal["posthoc", "loss"]

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine.losses import cross_entropy, log_prior

        shift = self.tau * log_prior(state.counts) if self.mode == "loss" else 0
        return cross_entropy(logits + shift, labels)

    def posthoc(self, classifier: Classifier, task: Task) -> Classifier:
        import torch

        from imbalance_bench.engine.losses import log_prior

        if self.mode == "loss":
            return classifier
        counts = torch.tensor(classifier.info["fitted_counts"], dtype=torch.float64)
        return Shifted(classifier, -self.tau * log_prior(counts).numpy())


@kept("shifted")
class Shifted(Classifier):
    """A classifier whose logits are shifted by a constant (C,), at every readout."""

    def __init__(self, given: Classifier, shift: np.ndarray) -> None:
        super().__init__(given.info, given.history, given.artifacts, given.failure, given.readouts)
        self.given, self.shift = given, shift

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        scores = self.given.scores(x, readout) + self.shift
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)

    def state(self) -> State:
        return State(arrays={"shift": self.shift}, parts={"given": state_of(self.given)})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> Shifted:
        return cls(restored(state.parts["given"], around), state.arrays["shift"])
