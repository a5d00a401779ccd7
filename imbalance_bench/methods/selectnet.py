"""SelectNet: a small network learns which samples to add."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.methods.shared.self_training import ContextTraining, Predicted, Rule, Selection
from imbalance_bench.options import BelowOne, Count, MinLen, NonNegative, Positive
from imbalance_bench.registry import METHODS
from imbalance_bench.seeds import SELECTION_BATCHES, SELECTION_START, derived

if TYPE_CHECKING:
    import torch

    from imbalance_bench.backbones.mlp import MLP
    from imbalance_bench.engine import Engine


@METHODS.register("selectnet")
@dataclass(frozen=True)
class SelectNet(ContextTraining):
    """SelectNet (Liu, Gao & Yang, 2019), Algorithm 1, on the rounds of ``SelfTraining``.

    Before a round a network f_s with ReLU layers of ``hidden`` units and a sigmoid output is trained on D', the samples
    predicted as minority, labelled and unlabelled, to minimise

        (1 / n) Σ_{i ∈ D'} f_s(z_i) (L_i - λ)          (Eq. 5; λ = ``penalty``)

    by ``epochs`` epochs of Adam; it is kept from round to round. D_add are the samples of D' with f_s(z_i) > β =
    ``threshold`` (Eq. 6). L_i is the loss of the classifier, z_i = (its class probabilities, L_i).

    Readings: ``loss_of``, the label of which L_i is taken for labelled samples; ``inputs`` = probabilities leaves L_i
    out of z_i (given L_i, Eq. 5 is solved by the threshold rule L_i < λ), log_probabilities_and_loss has the logits, up
    to a constant, in place of probabilities; ``fitted_on`` = all trains f_s on all of D ∪ U, and chooses among D'
    afterwards; ``restart`` begins with a fresh f_s in each round. Released code: probabilities, all.
    """

    penalty: NonNegative
    threshold: Annotated[BelowOne, "f_s is a sigmoid"]
    inputs: Literal["probabilities_and_loss", "probabilities", "log_probabilities_and_loss"]
    fitted_on: Literal["predicted_minor", "all"]
    restart: bool
    hidden: Annotated[tuple[Count, ...], MinLen(1)]
    epochs: Count
    batch_size: Count
    lr: Positive

    def rule(self, tasks: Sequence[Task], engine: Engine) -> Rule:
        inputs = tasks[0].classes + (self.inputs != "probabilities")
        return Chosen(self, partial(SelectionNetworks, self, inputs, [t.seed for t in tasks], engine.dtype))

    def data(self, predicted: Predicted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Training data of f_s: m of the n samples, (m,), their z (m, C + 1), or (m, C) without the loss, and
        L - λ (m,)."""
        rows = np.arange(len(predicted.minor))
        if self.fitted_on == "predicted_minor":
            rows = rows[predicted.minor]
        z, loss = predicted.log_probs[rows], predicted.losses(self.loss_of)[rows]
        if self.inputs != "log_probabilities_and_loss":
            z = np.exp(z)
        if self.inputs != "probabilities":
            z = np.column_stack([z, loss])
        return rows, z, loss - self.penalty


class Chosen:
    """The rule: samples that f_s, trained on what the classifier says of them, gives more than the threshold."""

    kept = ("networks",)

    def __init__(self, options: SelectNet, fresh: Callable[[], SelectionNetworks]) -> None:
        self.options, self.fresh = options, fresh
        self.networks = fresh()

    def __call__(self, seen: Mapping[int, Predicted]) -> Mapping[int, Selection]:
        o, networks = self.options, self.fresh() if self.options.restart else self.networks
        data = {r: o.data(p) for r, p in seen.items()}
        networks.fit({r: (z, excess) for r, (_, z, excess) in data.items()})
        choices = {}
        for r, (rows, z, excess) in data.items():
            scores = networks.scores(r, z)
            added = np.zeros(len(seen[r].minor), dtype=bool)
            added[rows] = scores > o.threshold
            facts = {"selection_loss": float((scores * excess).mean())} if len(rows) else {}
            choices[r] = Selection(added & seen[r].minor, facts)
        return choices


class SelectionNetworks:
    """f_s of every run, trained together. They lie on the CPU: their steps are too small for a GPU."""

    kept = ("stack", "descent", "generators")

    def __init__(self, options: SelectNet, inputs: int, seeds: Sequence[int], dtype: torch.dtype) -> None:
        import torch

        from imbalance_bench.backbones.mlp import MLPBackbone
        from imbalance_bench.engine.optim import Adam
        from imbalance_bench.engine.stack import Stack

        backbone = MLPBackbone(options.hidden, "relu")
        # Seeds of their own, apart from those of the classifier and what is drawn for it.
        self.stack = Stack.create(
            lambda: started(backbone.build((inputs,), 2)),
            [derived(s, SELECTION_START) for s in seeds],
            torch.device("cpu"),
            dtype,
        )
        self.generators = [torch.Generator().manual_seed(derived(s, SELECTION_BATCHES)) for s in seeds]
        self.descent = Adam(self.stack, options.lr, (0.9, 0.999))
        self.epochs, self.batch_size, self.inputs = options.epochs, options.batch_size, inputs

    def fit(self, data: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
        """Trains the networks of runs r, each on its own rows: r → (z (n, d), L - λ (n,)), by Eq. 5."""
        from imbalance_bench.engine.batches import Rows, shuffled

        nothing = (np.zeros((0, self.inputs)), np.zeros(0))
        sets = [Part(z, y, np.zeros(0)) for z, y in (data.get(r, nothing) for r in range(len(self.stack)))]
        rows = Rows(sets, self.stack.flat.device, self.stack.flat.dtype)
        for _ in range(self.epochs):
            for batch in rows.epoch(lambda y, size, g: shuffled(len(y), size, g), self.batch_size, self.generators):
                self.stack.backward(batch.mean(output(self.stack(batch.x)) * batch.y).sum())
                self.descent.step(batch.active)

    def scores(self, run: int, z: np.ndarray) -> np.ndarray:
        """f_s(z) (n,) of a run for z (n, d)."""
        if not len(z):
            return np.zeros(0)
        return output(self.stack.predict(self.stack.flat[run].detach(), z)).numpy()


def output(logits: torch.Tensor) -> torch.Tensor:
    """f_s (...) of a head of two classes, logits (..., 2) = [0, z]."""
    return logits[..., 1].sigmoid()


def started(network: MLP) -> MLP:
    """A network as the released code starts it: weights of the first layer normal with sd 0.05, those of the others
    Glorot-uniform, biases zero."""
    from torch import nn

    for i, layer in enumerate([*network.body, network.head]):
        if i:
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.normal_(layer.weight, std=0.05)
        nn.init.zeros_(layer.bias)
    return network
