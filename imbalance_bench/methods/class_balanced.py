"""Class-balanced loss: weights by the effective number of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

import numpy as np

from imbalance_bench.data.base import Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.methods.base import Method
from imbalance_bench.options import BelowOne, NonNegative, OnlyWith
from imbalance_bench.registry import METHODS
from imbalance_bench.running.models import State, Surroundings, kept, restored, state_of

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import NetworkClassifier
    from imbalance_bench.engine.loop import TrainState


@METHODS.register("class_balanced")
@dataclass(frozen=True)
class ClassBalanced(Method):
    """Class-balanced loss (Cui et al., 2019, Section 4): a sample's loss times (1 - β) / (1 - β^n_y), the weights
    scaled to sum C. The batch mean is taken over samples, not divided by the batch's sum of weights.

    ``objective``: softmax (cross-entropy) or focal, one sigmoid a class: Σ_j -(1 - p_j)^γ log p_j with p_j = σ(z_j)
    for the sample's class and σ(-z_j) for the others (their normaliser, the number of positives, is one a sample).
    γ = ``gamma`` = 0 is their sigmoid cross-entropy. The sigmoids start at a probability of 1/C: the head's bias is
    -log(C - 1). Two classes have one output and one sigmoid. Unlike in the released code that bias is decayed as all
    other parameters are (``trainer.weight_decay``).

    Several sigmoids rank rows each by its own logit; the highest one is the decision, and scores are in proportion to
    p / (1 - p), so that they sum to one. The best epoch is chosen by these scores.
    """

    beta: BelowOne
    objective: Literal["softmax", "focal"]
    gamma: Annotated[NonNegative, OnlyWith("objective", ("focal",), otherwise=1.0)]

    def change_fresh(self, params: Mapping[str, torch.Tensor], task: Task) -> None:
        from imbalance_bench.methods.shared.heads import biases_of

        if self.objective == "focal":
            biases_of(params, self.name).fill_(-math.log(task.classes - 1))

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine.losses import cross_entropy, effective_number_weights, of_label

        loss = (
            cross_entropy(logits, labels) if self.objective == "softmax" else sigmoid_focal(logits, labels, self.gamma)
        )
        return of_label(effective_number_weights(state.counts, self.beta), labels) * loss

    def posthoc(self, classifier: Classifier, task: Task) -> Classifier:
        if self.objective == "softmax" or task.classes == 2:
            return classifier
        return Sigmoids(cast("NetworkClassifier", classifier))


@kept("sigmoids")
class Sigmoids(Classifier):
    """A network of one sigmoid a class, more than two of them."""

    def __init__(self, network: NetworkClassifier) -> None:
        super().__init__(network.info, network.history, network.artifacts, network.failure, network.readouts)
        self.network = network

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        return self.network.scores(x, readout)

    def ranks(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray | None:
        return self.network.logits(x, readout).cpu().numpy()

    def state(self) -> State:
        return State(parts={"network": state_of(self.network)})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> Sigmoids:
        return cls(restored(state.parts["network"], around))


def sigmoid_focal(logits: torch.Tensor, labels: torch.Tensor, gamma: float) -> torch.Tensor:
    """Focal loss of C sigmoids, (...), for logits (..., C) and labels (...); of two classes, whose logits are [0, z],
    that of z alone."""
    import torch
    import torch.nn.functional as F

    own = F.one_hot(labels, logits.shape[-1]).bool()
    if logits.shape[-1] == 2:
        logits, own = logits[..., 1:], own[..., 1:]
    z = torch.where(own, logits, -logits)
    # -log p = softplus(-z), and (1 - p)^γ = exp(-γ softplus(z)): nothing overflows.
    return (F.softplus(-z) * torch.exp(-gamma * F.softplus(z))).sum(-1)
