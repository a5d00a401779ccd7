"""A method as a classifier of scikit-learn's, to stand in anyone's pipeline or grid search."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data


class ImbalanceClassifier(ClassifierMixin, BaseEstimator):
    """One training of one method on a table of numbers.

    Args:
        method: an option of ``method=``, e.g. "balanced_softmax", "smote", "explicit_gradient", "easy_ensemble".
        backbone: the network, where the method trains one.
        trainer: how it is trained.
        overrides: other words of the command line, e.g. ("method.gamma=5", "trainer.epochs=50").
        valid: share of the rows that nothing is trained on, drawn class by class: the best epoch is chosen on them, and
            methods that learn from a validation part have it. Where a class has too few rows, all rows are both.
        scale: of the columns, by the rows given to ``fit``: "minmax", "zscore" or "none".
        readout: "last", or "best": the epoch that is best on the validation rows.
        device: "auto", "cpu", "cuda", ...
        random_state: seed of the split and of the training.

    Attributes:
        classes_: (C,) the classes, sorted; of two, the rarer one is the positive class of the method.
        classifier_: what the method gave.

    ``fit`` raises ``imbalance_bench.BenchError`` where the method cannot do the task (binary only, say).

    >>> from sklearn.datasets import load_breast_cancer
    >>> x, y = load_breast_cancer(return_X_y=True)
    >>> model = ImbalanceClassifier("balanced_softmax", overrides=("trainer.epochs=20",), device="cpu").fit(x, y)
    >>> model.predict_proba(x[:3]).shape
    (3, 2)
    """

    def __init__(
        self,
        method: str = "cross_entropy",
        backbone: str = "mlp",
        trainer: str = "adam",
        overrides: tuple[str, ...] = (),
        valid: float = 0.2,
        scale: str = "minmax",
        readout: str = "last",
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.trainer = trainer
        self.overrides = overrides
        self.valid = valid
        self.scale = scale
        self.readout = readout
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ImbalanceClassifier:
        """Trains on rows ``X`` (n, d) with classes ``y`` (n,)."""
        from imbalance_bench.api import parts_of_training
        from imbalance_bench.data.encode import ArrayEncoder
        from imbalance_bench.engine import Engine
        from imbalance_bench.errors import BenchError

        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if len(y) != len(X):
            raise ValueError(f"X has {len(X)} samples and y {len(y)}")
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y has 1 class: a classifier needs rows of at least 2")
        self._order = np.arange(len(self.classes_))  # class of the method → place in classes_
        if len(self.classes_) == 2 and (labels == 0).sum() < (labels == 1).sum():
            self._order = self._order[::-1]
        made = parts_of_training(
            (
                f"method={self.method}",
                f"backbone={self.backbone}",
                f"trainer={self.trainer}",
                f"device={self.device}",
                *self.overrides,
            )
        )
        self._encode = ArrayEncoder(self.scale).fitted(X, np.arange(len(X)))  # type: ignore[arg-type]
        task = self._task(self._encode(X), np.argsort(self._order)[labels], made["ratio"])
        if reason := made["method"].declines(task):
            raise BenchError(f"method={self.method} cannot do this: {reason}")
        self.classifier_ = made["method"].fit([task], made["backbone"], Engine(made["trainer"], made["device"]))[0]
        if self.classifier_.failure:
            raise BenchError(f"the training diverged: {self.classifier_.failure}")
        if self.readout not in self.classifier_.readouts:
            raise BenchError(
                f"readout={self.readout!r}: method={self.method} has {', '.join(self.classifier_.readouts)}"
            )
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, C), columns as in ``classes_``."""
        check_is_fitted(self, "classifier_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        scores = self.classifier_.scores(self._encode(X), self.readout).astype(np.float64)
        probabilities = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        return probabilities[:, np.argsort(self._order)]

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row (n,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _task(self, x: np.ndarray, labels: np.ndarray, ratio: Any) -> Any:
        """The task of rows (n, d) with labels (n,) as the method counts classes."""
        from sklearn.model_selection import train_test_split

        from imbalance_bench.data.base import Part, Task
        from imbalance_bench.seeds import derived

        every, classes = np.arange(len(labels)), len(self.classes_)
        train = valid = every
        held = int(np.ceil(self.valid * len(labels)))
        if np.bincount(labels).min() > 1 and held >= classes and len(labels) - held >= classes:
            train, valid = train_test_split(every, test_size=held, stratify=labels, random_state=self.random_state)
        parts = [Part(x[rows], labels[rows], rows) for rows in (train, valid)]
        return Task(
            train=parts[0],
            valid=parts[1],
            withdrawn=None,
            classes=classes,
            kind="classification",
            fold=0,
            repeat=0,
            seed=derived(self.random_state, 0, 0),
            minority_classes=ratio.minority_classes(np.bincount(parts[0].y, minlength=classes), 0),
        )
