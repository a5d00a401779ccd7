"""Per-sample losses that several methods share. Tensors may carry any leading axes (runs, batch)."""

from __future__ import annotations

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
