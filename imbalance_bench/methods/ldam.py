"""Label-distribution-aware margins, with or without deferred re-weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from imbalance_bench.methods.base import Method
from imbalance_bench.options import BelowOne, Fraction, NonNegative, OnlyWith, Positive
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.loop import TrainState


@METHODS.register("ldam")
@dataclass(frozen=True)
class LDAM(Method):
    """LDAM (Cao et al., 2019): cross-entropy of s (cos_j - Δ_j [j = y]) with margins Δ_j ∝ n_j^(-1/4), the largest
    being ``max_margin`` (eq. 11-13); features and class weights have unit norm. Probabilities are softmax of s cos.

    ``drw_from``: with deferred re-weighting, the share of epochs after which samples are weighted by
    (1 - β) / (1 - β^n_y), scaled to sum C over classes (β = ``drw_beta``); None: never. The margin is subtracted
    before scaling by s, as published.
    """

    head: ClassVar[str] = "cosine"

    max_margin: NonNegative
    scale: Positive
    drw_from: Annotated[Fraction | None, "a share of trainer.epochs; null: never"]
    drw_beta: Annotated[BelowOne, OnlyWith("drw_from", otherwise=0.9999)]

    @property
    def logit_scale(self) -> float:
        return self.scale

    def phase(self, state: TrainState) -> bool | None:
        """Whether samples are weighted."""
        from imbalance_bench.engine.schedule import reached

        return None if self.drw_from is None else reached(self.drw_from, state.epoch, state.epochs)

    def margins(self, counts: torch.Tensor) -> torch.Tensor:
        """Δ (..., C) for class counts (..., C)."""
        margins = counts.clamp(min=1) ** -0.25
        return self.max_margin * margins / margins.amax(-1, keepdim=True)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        import torch

        from imbalance_bench.engine.losses import cross_entropy, effective_number_weights, of_label

        chosen = torch.nn.functional.one_hot(labels, logits.shape[-1]).to(logits)
        loss = cross_entropy(self.scale * (logits - chosen * self.margins(state.counts)), labels)
        if not self.phase(state):
            return loss
        return of_label(effective_number_weights(state.counts, self.drw_beta), labels) * loss
