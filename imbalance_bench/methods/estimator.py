"""Any classifier with scikit-learn's contract."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import resampling_info
from imbalance_bench.methods.shared.resampled import Resampled
from imbalance_bench.options import Count, Text
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine
    from imbalance_bench.methods.shared.estimators import Recipe

log = logging.getLogger("imbalance_bench")


@METHODS.register("estimator")
@dataclass(frozen=True)
class Estimator(Resampled):
    """A classifier with scikit-learn's contract on the vectors: forests, gradient boosting, under-sampling ensembles.
    No network is trained: of the trainer's keys trainer.rows alone plays a part.

    ``estimator`` is the import path of its class and ``options`` are its constructor's, checked before anything is
    trained; an option that is itself an estimator is written as {estimator: <path>, options: {...}}. Its randomness
    comes from the run's seed, and it has one thread unless its options say otherwise.

    ``weights`` balanced weighs a row of class y by n / (C n_y) of the set that is fitted (``sample_weight``).
    ``patience``: boosting stops after so many rounds without a better loss on the validation part, where ``fit`` takes
    one: LightGBM, XGBoost and CatBoost, which decide by their best round, and scikit-learn's histogram gradient
    boosting, which keeps the last. ``max_rows``: training sets above it are declined, of what takes n² memory.

    Scores are ``predict_proba``; of an estimator without it the decision function, as log-odds or logits. Those rank
    rows as the estimator does and are no probabilities, which the record says.
    """

    reads = "vectors"

    estimator: Annotated[Text, "the import path of a class"]
    options: Annotated[dict[str, Any], "of its constructor"]
    weights: Literal["balanced"] | None
    patience: Annotated[Count | None, "rounds; null: as many rounds as its options say"]
    max_rows: Annotated[Count | None, "null: any number"]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.recipe.check()
        takes = self.fit_takes
        if self.weights and "sample_weight" not in takes:
            raise BenchError(
                f"method.weights={self.weights}: {self.estimator} takes no weights of rows: set method.weights=null, "
                "or balance its training set, +method@method.resampler=random_undersampling"
            )
        if self.patience and not takes & {"X_val", "eval_set"}:
            raise BenchError(
                f"method.patience={self.patience}: fit of {self.estimator} takes no validation part: set "
                "method.patience=null"
            )

    @cached_property
    def recipe(self) -> Recipe:
        from imbalance_bench.methods.shared.estimators import Recipe

        return Recipe(self.estimator, self.options)

    @cached_property
    def fit_takes(self) -> set[str]:
        from imbalance_bench.methods.shared.estimators import fit_arguments

        return fit_arguments(self.recipe.cls())

    def declines(self, task: Task) -> str | None:
        if self.max_rows is not None and len(task.train) > self.max_rows:
            n = len(task.train)
            return (
                f"{n:,} training rows are more than method.max_rows={self.max_rows}: a matrix of n² numbers takes "
                f"{8 * n**2 / 2**30:.1f} GiB, and its inverse n³ operations"
            )
        return super().declines(task)

    @property
    def held_out(self) -> tuple[str, str] | None:
        return (f"method.patience={self.patience}", "method.patience=null") if self.patience else None

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        from imbalance_bench.methods.shared.one_by_one import one_by_one

        self.check_held_out(tasks, engine)
        runs = list(zip(tasks, self.training_sets(tasks, engine)))
        return one_by_one(lambda run: self.fit_one(*run), runs, engine)

    def fit_one(self, task: Task, rows: Part) -> Classifier:
        """One run on its training set; its history is one row."""
        from imbalance_bench.methods.shared.estimators import EstimatorClassifier, described, doubles, fitted

        known, y = np.unique(rows.y, return_inverse=True)
        info = resampling_info(task, rows) | self.facts()
        fresh: list[Any] = []
        if len(known) > 1:
            settings, arguments = self.stopping(task, known)
            if self.weights:
                counts = np.bincount(y)
                arguments["sample_weight"] = (len(y) / (len(known) * counts))[y]
            made = self.recipe.make(task.seed, **settings)
            what = f"method.estimator={self.estimator}, fold {task.fold}"
            info |= fitted(made, doubles(rows.x), y, what, **arguments)
            if self.patience:
                info["rounds"] = rounds_of(made)
            fresh = [made]
        return described(EstimatorClassifier(fresh, known, task.classes, info=info), task, rows)

    def facts(self) -> dict[str, Any]:
        """Names the fitted estimator, for the run's record."""
        try:
            of = version({"sklearn": "scikit-learn", "imblearn": "imbalanced-learn"}.get(*[self.recipe.package] * 2))
        except PackageNotFoundError:  # the user's own module
            of = None
        return {"estimator": self.estimator, "version": of}

    def stopping(self, task: Task, known: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
        """Options and arguments of ``fit`` with which boosting stops by the validation part. Raises BenchError where
        that has no row of the classes ``known``."""
        from imbalance_bench.methods.shared.estimators import doubles

        if self.patience is None:
            return {}, {}
        seen = task.valid.take(np.isin(task.valid.y, known))
        if not len(seen):
            raise BenchError(
                f"method.patience={self.patience} stops by the validation part, and in fold {task.fold} it has no row "
                "of a class that was trained on: set method.patience=null"
            )
        x, y = doubles(seen.x), np.searchsorted(known, seen.y)
        if "X_val" in self.fit_takes:
            return {"early_stopping": True, "n_iter_no_change": self.patience}, {"X_val": x, "y_val": y}
        silent = {"verbose": False} if "verbose" in self.fit_takes else {}
        return {"early_stopping_rounds": self.patience}, {"eval_set": [(x, y)], **silent}


def rounds_of(made: Any) -> int | None:
    """Rounds of boosting that an estimator, stopped, decides by, where it says."""
    if (best := getattr(made, "best_iteration", None)) is not None:  # XGBoost, which counts from 0
        return int(best) + 1
    if hasattr(made, "tree_count_"):  # CatBoost, cut back
        return int(made.tree_count_)
    last = getattr(made, "best_iteration_", None) or getattr(made, "n_iter_", None)  # LightGBM; scikit-learn
    return None if last is None else int(last)
