"""The learning rate over training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbalance_bench.settings.config import Trainer


def reached(share: float, epoch: float, epochs: int) -> bool:
    """Whether ``share`` of ``epochs`` lies behind when ``epoch`` (from 0) begins."""
    # 0.55 * 200 is 110.00000000000001.
    return epoch >= round(share * epochs, 9)


def learning_rate(trainer: Trainer, epoch: int, step: int, within: float | None = None) -> float:
    """The rate of a step: ``epoch`` and ``step`` count from 0 since the start of training, ``step`` those that the run
    takes part in. ``within``: the share of the epoch that lies behind, where cosines fall from step to step; None: an
    epoch has one rate.

    ``warmup_epochs``: epoch e of w has lr·(e + 1)/w. ``step``: times ``gamma`` after each of ``milestones``, which are
    shares of ``epochs``; ``cosine``: half a cosine down to 0; ``coslog4``: four cycles, each twice as long as the
    one before, lr·(1 - cos(2π log₂(1 + 15 t)))/2 at the share t of ``epochs`` that lies behind, for a whole epoch that
    at its middle (RealMLP); ``inverse_time``: lr / (1 + decay·step), Keras's decay.
    """
    if epoch < trainer.warmup_epochs:
        return trainer.lr * (epoch + 1) / trainer.warmup_epochs
    begun = epoch + (within or 0)
    if trainer.schedule == "step":
        return trainer.lr * trainer.gamma ** sum(reached(share, begun, trainer.epochs) for share in trainer.milestones)
    if trainer.schedule == "cosine":
        return trainer.lr * (1 + math.cos(math.pi * begun / trainer.epochs)) / 2
    if trainer.schedule == "coslog4":
        share = min((epoch + (0.5 if within is None else within)) / trainer.epochs, 1)
        return trainer.lr * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * share))) / 2
    if trainer.schedule == "inverse_time":
        return trainer.lr / (1 + trainer.decay * step)
    return trainer.lr
