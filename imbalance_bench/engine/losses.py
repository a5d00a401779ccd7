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
