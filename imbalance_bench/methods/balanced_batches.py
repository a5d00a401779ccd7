"""Minibatches that hold the same number of rows of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch


@METHODS.register("balanced_batches")
@dataclass(frozen=True)
class BalancedBatches(Method):
    """The Explicit Gradient paper's RS (Section 5, baseline 2): each minibatch holds the same number of rows of each
    class. Classes are traversed in shuffled passes, so that a rare class's rows come equally often. An epoch has
    as many batches as one over the whole set. Of more classes than a batch has rows, it does so on average."""

    def sampler(self, labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        import torch

        from imbalance_bench.engine.batches import class_aware, stratified

        classes = torch.unique(labels).tolist()
        if len(classes) > batch_size:
            return class_aware(labels, batch_size, generator)
        # A batch size that the classes do not divide is shared out: the first classes get one row more.
        sizes = [len(part) for part in torch.arange(batch_size).tensor_split(len(classes))]
        return stratified(labels, dict(zip(classes, sizes)), -(-len(labels) // batch_size), generator)
