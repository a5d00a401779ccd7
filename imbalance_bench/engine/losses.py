"""Per-sample losses that several methods share. Tensors may carry any leading axes (runs, batch)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log softmax(logits)_label for logits (..., C) and labels (...) → (...). With the logits [0, z] of a binary
    log-odds head this is the binary cross-entropy of z."""
    flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), reduction="none")
    return flat.view(labels.shape)


class CrossEntropy:
    """The cross-entropy of rows with logits (R, n, C), labels (R, n) and weights (R, n), outside of autograd: ``loss``
    (R,), the weighted sum of each run; ``gradient`` (R, n, C), w (p - e_y), in the logits. To the last digit what
    autograd gives."""

    @torch.no_grad()
    def __init__(self, logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> None:
        self.weight = weight[..., None]
        self.log_p, of_label = logits.log_softmax(-1), labels[..., None]
        self.loss = (self.log_p.gather(-1, of_label).squeeze(-1).neg_() * weight).sum(1)
        of_log_p = torch.zeros_like(self.log_p).scatter_(-1, of_label, -self.weight)
        self.gradient = _through_softmax(of_log_p, self.log_p)

    @torch.no_grad()
    def curvature(self, change: torch.Tensor, first: int = 0) -> torch.Tensor:
        """The second derivative times a change of the logits, (R, m, C), of the rows from the ``first`` on: w (p v - p
        ⟨p, v⟩)."""
        log_p = self.log_p[:, first:]
        return _through_softmax(self.weight[:, first:] * log_p.exp() * change, log_p)


def _through_softmax(of_log_p: torch.Tensor, log_p: torch.Tensor) -> torch.Tensor:
    """The derivative g of a number in log softmax(z), as one in z: g - p Σ g."""
    return torch.ops.aten._log_softmax_backward_data(of_log_p, log_p, -1, log_p.dtype)


def squared_error(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(prediction - target)² for predictions (..., 1) and targets (...) → (...)."""
    return (predictions.squeeze(-1) - targets) ** 2


def of_label(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Entry of each sample's class, (...), for values (..., C) that broadcast against the samples of labels (...)."""
    return values.expand(*labels.shape, values.shape[-1]).gather(-1, labels[..., None]).squeeze(-1)


def effective_number_weights(counts: torch.Tensor, beta: float) -> torch.Tensor:
    """Class weights (..., C) in proportion to (1 - β) / (1 - β^n) for class counts n (..., C), scaled to sum C (Cui et
    al., 2019: the inverse of the effective number of samples). Classes without rows have weight 0 and do not count."""
    present = counts > 0
    # 1 - β^n by expm1: β is near 1, where the power would leave few digits of float32.
    inverse = -1 / torch.expm1(counts * (math.log(beta) if beta else -math.inf))
    weights = torch.where(present, inverse, 0)
    return weights * present.sum(-1, keepdim=True) / weights.sum(-1, keepdim=True)


def inverse_frequency_weights(counts: torch.Tensor) -> torch.Tensor:
    """n / (C n_c) (..., C) of class counts (..., C): inverse class frequency, of mean one over the samples."""
    return counts.sum(-1, keepdim=True) / (counts.shape[-1] * counts.clamp(min=1))


def log_prior(counts: torch.Tensor) -> torch.Tensor:
    """log π of class counts (..., C); a class without rows counts as one row."""
    counts = counts.clamp(min=1)
    return counts.log() - counts.sum(-1, keepdim=True).log()
