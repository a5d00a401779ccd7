"""Shared by methods that learn distances, in which a rule of neighbours decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from imbalance_bench.data.base import Task

if TYPE_CHECKING:
    import torch


def class_costs(counts: torch.Tensor, power: float) -> torch.Tensor:
    """Costs (..., C) of classes with ``counts`` (..., C) rows: ∝ n_c^-power, mean one over the classes with rows."""
    costs = counts.clamp(min=1) ** -power * (counts > 0)
    return costs * (counts > 0).sum(-1, keepdim=True) / costs.sum(-1, keepdim=True)


def unvalidated(tasks: Sequence[Task]) -> list[Task]:
    """Tasks without validation rows, for networks whose head is not what decides."""
    return [replace(t, valid=t.valid.take(np.arange(0))) for t in tasks]
