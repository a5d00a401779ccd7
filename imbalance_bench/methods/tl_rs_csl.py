"""Triplet loss with re-sampling and cost-sensitive learning, and what metric learners share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from imbalance_bench.data.base import Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.balanced_batches import BalancedBatches
from imbalance_bench.methods.base import resampling_info
from imbalance_bench.methods.shared.metric_learning import class_costs, unvalidated
from imbalance_bench.options import Count, NonNegative, Positive
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.batches import Batch
    from imbalance_bench.engine.loop import TrainState
    from imbalance_bench.engine.stack import Stack


@METHODS.register("tl_rs_csl")
@dataclass(frozen=True)
class TripletLoss(BalancedBatches):
    """TL-RS-CSL, the baseline that Huang et al. (2016) name and the DOS paper quotes: an embedding learned by triplet
    loss from class-balanced batches with class costs, and a vote of the ``neighbours`` nearest training rows in it.

    With f(x) the backbone's embedding scaled to length one and D squared Euclidean distance, a batch's loss is the mean
    over its ordered pairs (a, p) of one class of

        w_a max(0, margin + D(f_a, f_p) - D(f_a, f_n)).

    What neither paper prints is chosen so. Unit length, D and the margin are FaceNet's (Schroff et al., 2015), and so
    is n, the semi-hard negative: the nearest row of another class in the batch that is farther from a than p is, or the
    farthest where there is none. Costs: w_c ∝ n_c^-``cost_power`` for a class of n_c training rows, scaled to mean one
    over classes, so that they do not change the step size. The head is not trained; the readout is the last epoch:
    validation would rank the head.
    """

    stages = True

    margin: Positive
    cost_power: Annotated[NonNegative, "0: no class costs"]
    neighbours: Count

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        from imbalance_bench.methods.shared.decisions import DeepClassifier, KNNDecision, directions

        if engine.trainer.batch_size < 2 * tasks[0].classes:
            raise BenchError(
                f"method={self.name} needs two rows of each of {tasks[0].classes} classes in a batch: set "
                f"trainer.batch_size={2 * tasks[0].classes} or more"
            )
        sets = [engine.rows_of(t) for t in tasks]
        training = engine.begin(self, unvalidated(tasks), backbone)
        training.run(sets, engine.trainer.epochs)
        classifiers: list[Classifier] = []
        for made, task, rows in zip(engine.classifiers(training.stack, training.monitor), tasks, sets):
            made.info |= resampling_info(task, rows)
            if made.failure is None:
                knn = KNNDecision(directions(made.features(rows.x)), rows.y, self.neighbours, task.classes)
                classifiers.append(DeepClassifier(made, {"last": knn}, unit=True))
            else:
                classifiers.append(made)
        return classifiers

    def batch_loss(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        from imbalance_bench.engine.losses import of_label
        from imbalance_bench.methods.shared.decisions import directions

        costs = of_label(class_costs(state.counts, self.cost_power), batch.y)
        return triplet_loss(directions(stack(batch.x, "embed")), batch.y, costs, self.margin)


def triplet_loss(h: torch.Tensor, labels: torch.Tensor, costs: torch.Tensor, margin: float) -> torch.Tensor:
    """The loss of each run (R,) for unit embeddings (R, B, d), labels (R, B) and costs (R, B) of the anchors: mean over
    pairs of one class; 0 without a pair or without a second class."""
    import torch

    squared = 2 - 2 * h @ h.mT
    same = labels[:, :, None] == labels[:, None]
    pairs = same & ~torch.eye(same.shape[1], dtype=torch.bool, device=same.device)
    others = (~same).sum(2, keepdim=True)
    # Other classes' rows from near to far, and where among them the positive would stand.
    far = squared.detach().masked_fill(same, torch.inf).sort(2)
    place = torch.searchsorted(far.values, squared.detach(), right=True)
    negatives = squared.gather(2, far.indices.gather(2, place.minimum(others - 1).clamp(min=0)))
    hinges = (margin + squared - negatives).relu() * (pairs & (others > 0))
    return (costs * hinges.sum(2)).sum(1) / pairs.sum((1, 2)).clamp(min=1)
