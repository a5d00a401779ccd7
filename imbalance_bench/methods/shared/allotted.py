"""Shared by methods that divide a number of rows in given proportions."""

from __future__ import annotations

import numpy as np


def allotted(log_weights: np.ndarray, total: int) -> list[int]:
    """``total`` divided in proportion to exp(log_weights), whole numbers by largest remainder; evenly where every
    weight is zero."""
    if np.isneginf(log_weights).all():
        log_weights = np.zeros_like(log_weights)
    shares = np.exp(log_weights - log_weights.max())
    shares *= total / shares.sum()
    counts = np.floor(shares).astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()
