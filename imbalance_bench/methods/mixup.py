"""Mixup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imbalance_bench.methods.base import Method, Reads
from imbalance_bench.options import Positive
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.batches import Batch
    from imbalance_bench.engine.loop import TrainState
    from imbalance_bench.engine.stack import Stack


@METHODS.register("mixup")
@dataclass(frozen=True)
class Mixup(Method):
    """mixup (Zhang et al., 2018): rows λ x_i + (1 - λ) x_j with the loss λ L(y_i) + (1 - λ) L(y_j), where j is a
    permutation of the batch and λ ~ Beta(α, α), α = ``alpha``, is drawn once a batch."""

    reads: ClassVar[Reads] = "vectors"

    alpha: Positive

    def batch_loss(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        import torch

        # Pads mix row 0 with itself.
        partners = batch.draw(state.generators, lambda n, g: torch.randperm(n, generator=g))
        drawn = batch.draw(state.generators, self.shares).to(stack.flat)
        runs = torch.arange(len(batch.y), device=batch.x.device)[:, None]

        def mix(x: torch.Tensor) -> torch.Tensor:
            return torch.lerp(x[runs, partners], x, drawn.view(*drawn.shape, *[1] * (x.dim() - 2)))

        logits, y = self.mixed(stack, batch.x, mix), batch.y[runs, partners]
        share = self.label_share(drawn, batch.y, y, state.counts)
        return batch.mean(share * self.loss(logits, batch.y, state) + (1 - share) * self.loss(logits, y, state))

    def shares(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """λ of the n rows (n,) of a run's batch."""
        return beta(self.alpha, n, generator)

    def mixed(self, stack: Stack, x: torch.Tensor, mix: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Logits (R, B, C) of rows ``x`` (R, B, ...) after ``mix`` has mixed them with their partners somewhere."""
        return stack.logits(mix(x))

    def label_share(
        self, drawn: torch.Tensor, first: torch.Tensor, second: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Share (R, B) of the first label, for λ (R, B), labels (R, B) and class counts (R, 1, C)."""
        return drawn


def beta(alpha: float, n: int, generator: torch.Generator) -> torch.Tensor:
    """One draw from Beta(α, α), ``n`` times over; nothing is drawn for n = 0.

    A Gamma(α) variable is a Gamma(α + 1) variable times U^(1/α): its logarithm is finite however small α is."""
    import torch

    if not n:
        return torch.zeros(0, dtype=torch.float64)
    gamma = torch._standard_gamma(torch.full((2,), alpha + 1, dtype=torch.float64), generator=generator)
    first, second = gamma.log() + torch.rand(2, dtype=torch.float64, generator=generator).log() / alpha
    return torch.sigmoid(first - second).expand(n)
