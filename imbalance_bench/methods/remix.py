"""Remix: mixup whose labels favour the rarer class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from imbalance_bench.methods.mixup import Mixup
from imbalance_bench.options import Fraction, Ge
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch


@METHODS.register("remix")
@dataclass(frozen=True)
class Remix(Mixup):
    """Remix (Chou et al., 2020): mixup, but the share λ_y of label y_i is

        0  where n_i / n_j ≥ κ   and λ < τ      (row i is of a far larger class, and little of it is mixed in)
        1  where n_i / n_j ≤ 1/κ and 1 - λ < τ  (row j is)
        λ  elsewhere,

    with the class counts n of the two rows, κ = ``kappa`` and τ = ``tau``. τ = 0 is mixup.
    """

    kappa: Annotated[float, Ge(1)]
    tau: Fraction

    def label_share(
        self, drawn: torch.Tensor, first: torch.Tensor, second: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        from imbalance_bench.engine.losses import of_label

        # Whole numbers, so that n_i = κ n_j is met exactly.
        of_first, of_second = of_label(counts, first), of_label(counts, second)
        share = drawn.masked_fill((of_first >= self.kappa * of_second) & (drawn < self.tau), 0)
        return share.masked_fill((of_second >= self.kappa * of_first) & (1 - drawn < self.tau), 1)
