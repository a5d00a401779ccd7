"""Cost-sensitive deep MLP: regression of Fisher targets, errors weighted by class cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS
from imbalance_bench.running.models import State, Surroundings, kept, restored, state_of

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine, NetworkClassifier
    from imbalance_bench.engine.loop import TrainState


@METHODS.register("cs_dmlp")
@dataclass(frozen=True)
class CSDMLP(Method):
    """CS-DMLP (Díaz-Vico, Figueiras-Vidal & Dorronsoro, "Deep MLPs for Imbalanced Classification", IJCNN 2018), with
    the backbone as the network.

    C linear outputs o(x) regress the targets of deep Fisher analysis. For n rows, n_j of class j, the target of a row
    of class y in column j is

        (n - n_j) / (n √n_j) where j = y,   -√n_j / n elsewhere,

    here times √n, so that outputs are of order one however many rows there are, which changes the solution by that
    factor and no decision: t_j = [j = y] √(n / n_j) - √(n_j / n). A row's loss is its class's cost n / (C n_y) times
    the mean over j of (o_j - t_j)². Decision: the nearest class mean of the outputs over the training rows, as
    probabilities p_c ∝ exp(-‖o - m_c‖² / 2σ²), with σ² the variance of an output about its class's mean, each class
    counting the same.

    Public code of the targets (scikit-dda) differs from its own formula: every column takes the row's own class count
    and off-class entries are √n times as large. Here is the formula. No code of the cost-sensitive experiments is
    public; the costs are the usual inverse class frequencies.
    """

    head: ClassVar[str] = "full"

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        made = cast("list[NetworkClassifier]", super().fit(tasks, backbone, engine))
        return [n if n.failure else OutputMeans(n, engine.rows_of(t), t.classes) for n, t in zip(made, tasks)]

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine.losses import inverse_frequency_weights, of_label

        error = (logits - fisher_targets(labels, state.counts)).square().mean(-1)
        return of_label(inverse_frequency_weights(state.counts), labels) * error


def fisher_targets(labels: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """t (..., C) of labels (...), with class counts (..., C) that broadcast against it; see ``CSDMLP``."""
    import torch

    shares = counts.clamp(min=1) / counts.sum(-1, keepdim=True)
    own = torch.nn.functional.one_hot(labels, counts.shape[-1])
    return own * shares.rsqrt() - shares.sqrt()


@kept("output_means")
class OutputMeans(Classifier):
    """Nearest class mean in a network's outputs, for each of its readouts."""

    def __init__(self, network: NetworkClassifier, rows: Part, classes: int) -> None:
        super().__init__(network.info, network.history, network.artifacts, network.failure, network.readouts)
        self.network = network
        self.decisions = {i: NearestMean(network.logits(rows.x, i), rows.y, classes) for i in network.readouts}

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        return self.decisions[readout].log_probs(self.network.logits(x, readout))

    def state(self) -> State:
        parts = {f"decision_{name}": state_of(decision) for name, decision in self.decisions.items()}
        return State(parts=parts | {"network": state_of(self.network)})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> OutputMeans:
        made = cls.__new__(cls)
        made.network = restored(state.parts["network"], around)
        Classifier.__init__(made, readouts=made.network.readouts)
        made.decisions = {i: restored(state.parts[f"decision_{i}"], around) for i in made.readouts}
        return made


@kept("nearest_mean")
class NearestMean:
    """Gaussians of one variance about the class means of outputs (n, d) with labels (n,), all equally likely; a class
    without rows has the least probability."""

    def __init__(self, outputs: torch.Tensor, labels: np.ndarray, classes: int) -> None:
        import torch

        outputs, y = outputs.double(), torch.as_tensor(labels, device=outputs.device)
        own = torch.nn.functional.one_hot(y, classes).double()
        self.absent = own.sum(0) == 0
        averages = (own / own.sum(0).clamp(min=1)).T
        self.means = averages @ outputs
        spread = averages @ (outputs - self.means[y]).square().mean(1)
        self.variance = spread[~self.absent].mean().clamp(min=1e-6)

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        """Log-probabilities (n, C) of outputs (n, d)."""
        import torch

        from imbalance_bench.methods.shared.decisions import LEAST

        squared = (features.double()[:, None] - self.means).square().sum(-1) / (2 * self.variance)
        far = torch.where(self.absent, torch.inf, squared)
        logs = (-far).log_softmax(-1).masked_fill(self.absent, float(np.log(LEAST)))
        out: np.ndarray = logs.cpu().numpy()
        return out

    def state(self) -> State:
        return State(arrays={"means": self.means, "variance": self.variance, "absent": self.absent})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> NearestMean:
        made = cls.__new__(cls)
        for name, tensor in around.tensors(state).items():
            setattr(made, name, tensor)
        return made
