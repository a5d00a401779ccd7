"""Self-adjusting Dice loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from imbalance_bench.methods.base import Method
from imbalance_bench.options import NonNegative, Positive
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.batches import Batch
    from imbalance_bench.engine.loop import TrainState
    from imbalance_bench.engine.stack import Stack


@METHODS.register("dice")
@dataclass(frozen=True)
class Dice(Method):
    """Self-adjusting Dice loss (Li et al., "Dice Loss for Data-imbalanced NLP Tasks", ACL 2020), a soft F1:

        1 - (2 Σ p'y + s) / (Σ p' + Σ y + s),   p' = (1 - p)^α p,

    with the probability p of a class, y = 1 for its samples and 0 for others, α = ``alpha`` and s = ``smooth``;
    ``squared``: the denominator is Σ p'² + Σ y² + s. Of two classes the loss is that of class 1, the positive one; of
    more, the sum over all classes, each against the rest.

    ``level``: "batch": the sums go over the batch, one coefficient a class, the paper's set-level Dice; "sample": over
    one sample alone, as the paper defines DSC of an example, and the mean is taken of the coefficients. The released
    code mixes the two for plain denominators: its numerators are of single samples, its denominators of the batch, so
    that the loss of N samples stays near the number of classes whatever is predicted, and its gradient is that of the
    batch level divided by N. Its squared form is the sample level.

    p' is largest at p = 1 / (1 + α): above it, more confidence counts for less, right or wrong.
    """

    alpha: NonNegative
    smooth: Annotated[Positive, "a batch may have no row of a class"]
    squared: bool
    level: Literal["batch", "sample"]

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        """Of each sample alone, for logits (..., C), labels (...) → (...)."""
        return self.coefficients(*self.terms(logits, labels))

    def batch_loss(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        if self.level == "sample":
            return super().batch_loss(stack, batch, state)
        shared, width = self.terms(stack.logits(batch.x), batch.y)
        if batch.weight is not None:
            real = (batch.weight > 0)[..., None]
            shared, width = shared * real, width * real
        return self.coefficients(shared.sum(1), width.sum(1))

    def terms(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Terms of the sums in numerator, p'y, and denominator, p' + y: (..., K), K = 1 for two classes, else C."""
        import torch

        log_p, classes = logits.log_softmax(-1), logits.shape[-1]
        y = torch.nn.functional.one_hot(labels, classes).to(logits)
        # log(1 - p) from the other classes' logs: 1 - p itself has no digits left where p is near 1, and the power's
        # slope is infinite at 0.
        if classes == 2:
            log_rest, log_p, y = log_p[..., :1], log_p[..., 1:], y[..., 1:]
        else:
            own = torch.eye(classes, dtype=torch.bool, device=logits.device)
            log_rest = log_p[..., None, :].masked_fill(own, -torch.inf).logsumexp(-1)
        p = (log_p + self.alpha * log_rest).exp()
        return p * y, p.square() + y if self.squared else p + y

    def coefficients(self, shared: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        """The loss (...) of sums (..., K)."""
        return (1 - (2 * shared + self.smooth) / (width + self.smooth)).sum(-1)
