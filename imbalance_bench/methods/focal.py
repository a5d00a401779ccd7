"""Focal loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from imbalance_bench.methods.base import Method
from imbalance_bench.options import Fraction, NonNegative
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.loop import TrainState


@METHODS.register("focal")
@dataclass(frozen=True)
class Focal(Method):
    """Focal loss (Lin et al., 2017, eq. 5): -α_y (1 - p_y)^γ log p_y, the modulator differentiated.

    ``alpha`` (None: 1) is the weight of the positive class, 1 - alpha that of the negative one; for more than two
    classes it weighs every class but the largest.
    """

    gamma: NonNegative
    alpha: Annotated[Fraction | None, "null: no weights"]

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        import torch

        from imbalance_bench.engine.losses import cross_entropy, of_label

        nll = cross_entropy(logits, labels)
        # 1 - p by expm1: exact near p = 1, where the power would otherwise see rounding. Not 0 where p rounds to 1:
        # with γ below 1 the power has an infinite slope there.
        rest = (-torch.expm1(-nll)).clamp(min=torch.finfo(nll.dtype).tiny)
        loss = rest**self.gamma * nll
        if self.alpha is None:
            return loss
        counts = state.counts
        rare = counts < counts.amax(-1, keepdim=True)
        if counts.shape[-1] == 2:
            rare = torch.arange(2, device=counts.device).expand(counts.shape) == 1
        weights = torch.where(rare, loss.new_full((), self.alpha), loss.new_full((), 1 - self.alpha))
        return of_label(weights, labels) * loss
