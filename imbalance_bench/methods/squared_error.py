"""Least squares, for regression tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbalance_bench.data.base import Task
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.loop import TrainState


@METHODS.register("squared_error")
@dataclass(frozen=True)
class SquaredError(Method):
    """Least squares for regression tasks (Explicit Gradient paper, Section 4: the baseline fit)."""

    def declines(self, task: Task) -> str | None:
        return None if task.kind == "regression" else "regression only"

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine.losses import squared_error

        return squared_error(logits, labels)
