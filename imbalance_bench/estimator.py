"""A method as a classifier of scikit-learn's, to stand in anyone's pipeline or grid search."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_random_state, column_or_1d, validate_data

from imbalance_bench.errors import BenchError
from imbalance_bench.options import BelowOne, Seed, Text, check, key_of
from imbalance_bench.seeds import derived

Words = Annotated[tuple[str, ...], 'e.g. ("trainer.epochs=50",)']
PLAYED = ("method", "backbone", "trainer", "ratio", "plugins")
# Words that are arguments here.
INSTEAD = {
    "seed": "set random_state",
    "device": "set device",
    "dataset": "X and y are the data",
    "protocol": "all rows are trained on but the share of valid",
}


class ImbalanceClassifier(ClassifierMixin, BaseEstimator):
    """One training of one method on a table of numbers.

    Args:
        method: an option of ``method=``, e.g. "balanced_softmax", "smote", "explicit_gradient", "easy_ensemble".
        backbone: the network, where the method trains one.
        trainer: how it is trained.
        overrides: other words of the command line about these three, e.g. ("method.gamma=5", "trainer.epochs=50");
            about which classes count as minority (``ratio=...``, of those that take no row out); "plugins=[my_method]".
        valid: share of the rows that nothing is trained on, drawn class by class: the best epoch is chosen on them, and
            methods that learn from a validation part have it. 0: none; where a class has too few rows to be in both
            parts, none either, which a warning says.
        scale: of the columns, by the rows given to ``fit``: "minmax", "zscore" or "none".
        readout: "last", or "best": the epoch that is best on the validation rows.
        device: "auto", "cpu", "cuda", ...
        random_state: seed of the split and of the training; None or a numpy.random.RandomState: drawn anew at
            each ``fit``.
        config_dir: a folder of your own options.

    Attributes:
        classes_: (C,) the classes, sorted; of two, the rarer one is the positive class of the method.
        classifier_: what the method gave.

    ``fit`` raises ``imbalance_bench.BenchError`` where an argument is wrong or plays no part, and where the method
    cannot do the task (binary only, say).

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
        random_state: int | np.random.RandomState | None = 0,
        config_dir: str | Path | None = None,
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
        self.config_dir = config_dir

    def fit(self, X: Any, y: Any) -> ImbalanceClassifier:
        """Trains on rows ``X`` (n, d) with classes ``y`` (n,)."""
        from imbalance_bench.data.encode import ArrayEncoder, Scale
        from imbalance_bench.engine import Engine

        valid, scale = self._checked(BelowOne, "valid"), self._checked(Scale, "scale")
        made = self._parts()
        seed = self._seed()
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
        self._encode = ArrayEncoder(scale).fitted(X, np.arange(len(X)))
        task = self._task(self._encode(X), np.argsort(self._order)[labels], made, valid, seed)
        if reason := made["method"].declines(task):
            raise BenchError(f"method={self.method} cannot do this: {reason}")
        self._check_validation(task, made["method"])
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

    def _parts(self) -> dict[str, Any]:
        """The method, backbone, trainer and ratio of the arguments, and the device. Raises BenchError for a word that
        plays no part."""
        from imbalance_bench.api import parts_of_training

        words = self._checked(Words, "overrides")
        for word in words:
            key = key_of(word)
            if key.startswith("hydra.searchpath") or re.split("[.@]", key)[0] in PLAYED:
                continue
            instead = INSTEAD.get(re.split("[.@]", key)[0], f"leave it out: it is about none of {', '.join(PLAYED)}")
            raise BenchError(f"overrides: {word or repr(word)} plays no part in {type(self).__name__}: {instead}")
        chosen = {name: self._checked(Text, name) for name in ("method", "backbone", "trainer", "device")}
        made = parts_of_training((*(f"{name}={option}" for name, option in chosen.items()), *words), self.config_dir)
        if made["backbone"].text_encoder is not None:
            raise BenchError(f"backbone={self.backbone} reads texts, and X has numbers: set backbone=mlp")
        own = not type(made["method"]).__module__.startswith("imbalance_bench.")
        if not own and not re.fullmatch(r"last|best|knn|lr|post_\d+", str(self.readout)):
            raise BenchError(f"readout={self.readout!r}: a method has last, best, and some knn, lr or post_<n>")
        return made

    def _seed(self) -> int:
        """That of this training."""
        if isinstance(self.random_state, np.random.RandomState) or self.random_state is None:
            return int(check_random_state(self.random_state).randint(2**31 - 1))
        return int(self._checked(Seed, "random_state", ", None or a numpy.random.RandomState"))

    def _checked(self, hint: Any, name: str, besides: str = "") -> Any:
        """The argument ``name`` as ``check`` has it; of NumPy's as of Python's: float32 0.2 is 0.2. Raises BenchError
        with what it may be, ``besides`` included."""
        given = getattr(self, name)
        if isinstance(given, np.generic):
            given = float(str(given)) if isinstance(given, np.floating) else given.item()
        try:
            return check(hint, given, name)
        except BenchError as error:
            raise BenchError(str(error).replace(f"{name}=null", f"{name}=None", 1) + besides) from None

    def _check_validation(self, task: Any, method: Any) -> None:
        """Raises BenchError where validation rows are needed and there are none."""
        needs = f"readout={self.readout}" if self.readout == "best" else ""
        if method.held_out is not None:
            needs = method.held_out[0]
        if needs and not len(task.valid):
            raise BenchError(
                f"{needs} needs validation rows on which nothing is trained, and valid={self.valid} of these "
                f"{len(task.train)} rows leaves none: set valid=0.2 or another, with at least 2 rows of each class"
            )

    def _task(self, x: np.ndarray, labels: np.ndarray, made: dict[str, Any], valid_share: float, seed: int) -> Any:
        """The task of rows (n, d) with labels (n,) as the method counts classes."""
        from sklearn.model_selection import train_test_split

        from imbalance_bench.data.base import Part, Task

        every, classes, ratio = np.arange(len(labels)), len(self.classes_), made["ratio"]
        if len(ratio.indices(labels, 0)) < len(labels):
            label = made["labels"]["ratio"]
            raise BenchError(f"ratio={label} takes rows out, and here all of X is trained on: leave them out of X")
        train, valid = every, every[:0]
        held = int(np.ceil(valid_share * len(labels)))
        if held and np.bincount(labels).min() > 1 and held >= classes and len(labels) - held >= classes:
            train, valid = train_test_split(every, test_size=held, stratify=labels, random_state=seed)
        elif held:
            warnings.warn(
                f"valid={self.valid}: {len(labels)} rows of {classes} classes, {np.bincount(labels).min()} of one, are "
                "too few to hold some out: all are trained on, and there are no validation rows",
                stacklevel=3,
            )
        parts = [Part(x[rows], labels[rows], rows) for rows in (train, valid)]
        return Task(
            train=parts[0],
            valid=parts[1],
            withdrawn=None,
            classes=classes,
            kind="classification",
            fold=0,
            repeat=0,
            seed=derived(seed, 0, 0),
            minority_classes=ratio.minority_classes(np.bincount(parts[0].y, minlength=classes), 0),
        )
