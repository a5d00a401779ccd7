"""τ-normalised classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.methods.base import Method
from imbalance_bench.options import NonNegative
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine, NetworkClassifier
    from imbalance_bench.engine.stack import Stack

TAUS = tuple(i / 10 for i in range(11))
"""The values that τ is chosen from: the paper's interval [0, 1], in steps of the released code, whose grid goes on to
2."""


@METHODS.register("tau_norm")
@dataclass(frozen=True)
class TauNorm(Method):
    """τ-normalisation (Kang et al., 2020): plain training, then each class's weights become w_c / ‖w_c‖^τ and the
    biases 0, as in the released code, since weights of classes with more rows tend to be longer. τ = ``tau`` = 0 is
    the plain network, biases and all. Two classes have an output each here, since one output has one length only.

    ``tau`` null: the τ of 0, 0.1, ..., 1 with the highest mean of the class accuracies on the validation part, the
    smallest of equals, for each readout by itself.
    """

    head: ClassVar[str] = "full"
    stages = True

    tau: Annotated[NonNegative | None, "null: chosen on the validation part"]

    @property
    def held_out(self) -> tuple[str, str] | None:
        return ("method.tau=null", "method.tau=1 or another") if self.tau is None else None

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        self.check_held_out(tasks, engine)
        return super().fit(tasks, backbone, engine)

    def posthoc(self, classifier: Classifier, task: Task) -> Classifier:
        network = cast("NetworkClassifier", classifier)
        if network.failure:
            return network
        network.info["tau"] = {}
        for readout, flat in network.parameters.items():
            tau = self.choose(network, readout, task.valid) if self.tau is None else self.tau
            network.parameters[readout] = normalised(network.stack, flat, tau, self.name)
            network.info["tau"][readout] = tau
        return network

    def choose(self, network: NetworkClassifier, readout: Readout, valid: Part) -> float:
        """The best τ on the validation part."""
        features = network.features(valid.x, readout)

        def score(tau: float) -> float:
            flat = normalised(network.stack, network.parameters[readout], tau, self.name)
            hits = network.stack.predict(flat, features, "head").argmax(1).cpu().numpy() == valid.y
            return float(np.mean([hits[valid.y == c].mean() for c in np.unique(valid.y)]))

        return max(TAUS, key=score)


def normalised(stack: Stack, flat: torch.Tensor, tau: float, method: str) -> torch.Tensor:
    """The parameters (P + S,) of one run with a τ-normalised head."""
    from imbalance_bench.methods.shared.heads import head_of

    flat = flat.clone()
    weight, bias = head_of(stack.views(flat[None]), method)
    weight /= weight.norm(dim=-1, keepdim=True).clamp(min=1e-12) ** tau
    if tau:
        bias.zero_()
    return flat
