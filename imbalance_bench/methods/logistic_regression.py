"""Logistic regression on the vectors, on the training set as it is or resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.options import Positive
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine


@METHODS.register("logistic_regression")
@dataclass(frozen=True)
class LogisticRegression(Method):
    """Multinomial logistic regression with an L2 penalty of inverse strength ``c`` (scikit-learn's) on the vectors;
    ``class_weight`` balanced weighs a row of class y by n / (C n_y). The backbone and the trainer's settings play no
    part but for trainer.rows.

    ``resampler``: the keys of a method whose ``resample`` makes the training set first (null: none). It is how IHT and
    KMeans-SMOTE are the baselines of the SetConv paper (its choice of classifier is not printed; BERT's vectors are
    near-linear), and puts the same classifier behind any other: ``+method@method.resampler=smote/balanced``.
    """

    reads = "vectors"

    c: Positive
    class_weight: Literal["balanced"] | None
    resampler: Annotated[dict[str, Any] | None, "the keys of a method that resamples; null: none"]

    def __post_init__(self) -> None:
        if self.resampler is not None and type(self.resampling).resample is Method.resample:
            raise BenchError(
                f"method.resampler.name={self.resampler['name']} leaves the training set as it is: choose a method "
                "that resamples, e.g. smote or iht (null: none)"
            )

    @cached_property
    def resampling(self) -> Method:
        """The method whose ``resample`` makes the training set."""
        if self.resampler is None:
            return Method()
        made: Method = METHODS.build(self.resampler, "method.resampler")
        return made

    def declines(self, task: Task) -> str | None:
        return super().declines(task) or self.resampling.declines(task)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        return [self.fit_one(task, self.resampling.resample(task, engine.rows_of(task))) for task in tasks]

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
