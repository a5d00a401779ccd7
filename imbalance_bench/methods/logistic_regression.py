"""Logistic regression on the vectors, on the training set as it is or resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.methods.base import resampling_info
from imbalance_bench.methods.shared.resampled import Resampled
from imbalance_bench.options import Positive
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine


@METHODS.register("logistic_regression")
@dataclass(frozen=True)
class LogisticRegression(Resampled):
    """Multinomial logistic regression with an L2 penalty of inverse strength ``c`` (scikit-learn's) on the vectors;
    ``class_weight`` balanced weighs a row of class y by n / (C n_y). The backbone and the trainer's settings play no
    part but for trainer.rows.

    ``resampler`` is how IHT and KMeans-SMOTE are the baselines of the SetConv paper (its choice of classifier is not
    printed; BERT's vectors are near-linear), and puts the same classifier behind any other.
    """

    reads = "vectors"

    c: Positive
    class_weight: Literal["balanced"] | None

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        from imbalance_bench.methods.shared.one_by_one import one_by_one

        runs = list(zip(tasks, self.training_sets(tasks, engine)))
        return one_by_one(lambda run: self.fit_one(*run), runs, engine)

    def fit_one(self, task: Task, rows: Part) -> Classifier:
        """One run on its training set; its history is one row."""
        import torch

        from imbalance_bench.methods.shared.decisions import LogisticDecision
        from imbalance_bench.methods.shared.vectors import VectorClassifier, flat_vectors, valid_score

        x = torch.from_numpy(flat_vectors(rows.x))
        decision = LogisticDecision(x, rows.y, self.c, task.classes, self.class_weight)
        classifier = VectorClassifier(decision, info=resampling_info(task, rows) | decision.info)
        loss = -float(decision.log_probs(x)[np.arange(len(rows)), rows.y].mean())
        classifier.history.append({"epoch": 1, "train_loss": loss} | valid_score(classifier, task))
        return classifier
