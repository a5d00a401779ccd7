"""cRT: the classifier is trained again, on class-balanced batches, over a frozen body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbalance_bench.data.base import Part
from imbalance_bench.methods.shared.two_stages import TwoStages, embedded
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine.loop import Training


@METHODS.register("crt")
@dataclass(frozen=True)
class CRT(TwoStages):
    """Classifier re-training (Kang et al., 2020): plain training; then a fresh head is trained on batches in which
    every class is equally likely, while the body stays as it is.

    In the released code the statistics of batch normalisation follow the balanced batches and dropout stays active;
    here they rest, and without augmentation features are thus computed once.
    """

    def second_sets(self, body: Training, sets: Sequence[Part]) -> Sequence[Part] | None:
        if body.trainer.augment != "none":
            return None
        return [embedded(body, r, rows) for r, rows in enumerate(sets)]

    def second_sampler(self, labels: torch.Tensor, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        from imbalance_bench.engine.batches import class_aware

        return class_aware(labels, batch_size, generator)
