"""TMix: sentence vectors are mixed, and their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbalance_bench.methods.mixup import Mixup
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.stack import Stack


@METHODS.register("mixtext")
@dataclass(frozen=True)
class MixText(Mixup):
    """TMix, the supervised half of MixText (Chen, Yang & Yang, ACL 2020): mixup of hidden states,

        h = λ' f(x_i) + (1 - λ') f(x_j),   λ' = max(λ, 1 - λ),   λ ~ Beta(α, α),

    with the loss λ' L(y_i) + (1 - λ') L(y_j), where j is a permutation of the batch and α = ``alpha``.

    Hidden states are the sentence vectors f that the head reads, which every backbone has. The paper draws one of the
    layers 7, 9 and 12 of BERT for each batch and averages the last layer over the text: mixing at layer 12 is this.
    MixText's other half guesses labels of unlabelled texts from their back-translations; a supervised benchmark has
    neither, and the paper itself reports TMix for that case. The released code leaves λ' = λ when it runs TMix.
    """

    reads = "any"  # what is mixed are vectors
    stages = True

    def shares(self, n: int, generator: torch.Generator) -> torch.Tensor:
        drawn = super().shares(n, generator)
        return drawn.maximum(1 - drawn)

    def mixed(self, stack: Stack, x: torch.Tensor, mix: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return stack(mix(stack(x, "embed")), "head")
