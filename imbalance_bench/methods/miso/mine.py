"""MINE: mutual information estimated by a network, from below."""

from __future__ import annotations

import math

import torch
from torch import nn


class MINE(nn.Module):
    """Mutual Information Neural Estimation (Belghazi et al., 2018): T(x, y), two hidden layers of ``hidden`` units, in
    the bound of Donsker and Varadhan,

        I(X; Y) ≥ E_XY[T(x, y)] - log E_{X⊗Y}[exp T(x, y)].

    Pairs (x_i, y_i) are rows of (n, ·) tensors; ``order`` (n,) is a permutation, and (x_i, y_order(i)) stand for the
    product of the marginals. The gradient of the second term over a batch is biased, as E is inside a logarithm: the
    batch's mean of exp T is replaced by a moving average of it (their Section 3.2), in which a new batch weighs
    ``rate``. That average is kept as a logarithm, in the buffer ``average``, so that no exp T overflows.
    """

    average: torch.Tensor

    def __init__(self, left: int, right: int, hidden: int, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.net = nn.Sequential(
            nn.Linear(left + right, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        self.register_buffer("average", torch.tensor(-math.inf))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """T of each pair, (n,)."""
        with torch.autocast(x.device.type, enabled=False):  # bounds of hundredths of a nat are differences of T
            return self.net(torch.cat([x, y], -1).to(self.average.dtype)).squeeze(-1)

    def bound(self, x: torch.Tensor, y: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """The bound on the batch, in nats; differentiable, and what x and y are moved by."""
        return self(x, y).mean() - _log_mean_exp(self(x, y[order]))

    def ascent(self, x: torch.Tensor, y: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """The objective that T ascends: its gradient is the bound's, corrected for its bias. Its value is not the
        bound."""
        apart = self(x, y[order])
        with torch.no_grad():
            new = _log_mean_exp(apart)
            moved = torch.logaddexp(self.average + math.log1p(-self.rate), new + math.log(self.rate))
            self.average.copy_(torch.where(self.average.isinf(), new, moved))
        # The average has this batch in it: no term exceeds n / rate.
        return self(x, y).mean() - (apart - self.average).exp().mean()


def _log_mean_exp(values: torch.Tensor) -> torch.Tensor:
    return values.logsumexp(0) - math.log(len(values))
