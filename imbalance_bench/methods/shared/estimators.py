"""Shared by methods over estimators with scikit-learn's contract: from an import path and options to an estimator, and
a run that scores with fitted ones."""

from __future__ import annotations

import importlib
import inspect
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.errors import BenchError, NoNumbers, suggestion
from imbalance_bench.methods.shared import boosting
from imbalance_bench.methods.shared.decisions import LEAST
from imbalance_bench.methods.shared.vectors import flat_vectors, valid_score
from imbalance_bench.options import shown
from imbalance_bench.plugins import look_beside_the_user
from imbalance_bench.running.models import State, Surroundings, kept

log = logging.getLogger("imbalance_bench")

EXTRAS = dict.fromkeys(("lightgbm", "xgboost", "catboost"), "boosting")
"""Packages that an extra of this project installs."""

OURS = {"random_state": "seed=", "random_seed": "seed="}
"""Options that are not the user's: what drives them."""

ROUNDING = 1e-6  # probabilities so far below 0 are 0
WORSE_THAN_CHANCE = "worse than random"  # AdaBoost, where its first member is
DEEPER = (
    " Deeper trees may be better than chance: "
    "'++method.options.estimator={estimator: sklearn.tree.DecisionTreeClassifier, options: {max_depth: 5}}' "
    "(of rus_boost: method=rus_boost/depth5)"
)


@dataclass(frozen=True)
class Recipe:
    """An estimator as YAML has it: ``path``, the import path of its class, and ``options``, its constructor's; one of
    these may itself be {estimator: <path>, options: {...}}. ``where``: the key that holds it, for messages."""

    path: str
    options: Mapping[str, Any]
    where: str = "method"

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def package(self) -> str:
        return self.path.partition(".")[0]

    def cls(self) -> type:
        """The class. Raises BenchError where the path leads to none, or its package is not installed."""
        asked = f"{self.where}.estimator={self.path}"
        module, _, name = self.path.rpartition(".")
        if not module:
            raise BenchError(f"{asked} is no import path: write <module>.<class>, as sklearn.svm.LinearSVC is")
        try:
            look_beside_the_user(module)
            found = getattr(importlib.import_module(module), name, None)
        except ModuleNotFoundError as error:
            missing = str(error.name)
            if extra := EXTRAS.get(missing.partition(".")[0]):
                install = f"pip install -e '.[{extra}]'"
                raise BenchError(f"{asked} needs {missing}, which is not installed: {install}") from error
            raise BenchError(
                f"{asked}: there is no module {missing}, in {Path.cwd()} or installed: correct the path, or install it"
            ) from error
        except (ImportError, ValueError, TypeError) as error:
            raise BenchError(f"{asked} cannot be imported: {error}") from error
        if not inspect.isclass(found):
            classes = [n for n, value in vars(importlib.import_module(module)).items() if inspect.isclass(value)]
            raise BenchError(f"{asked} is no class of {module}: {suggestion(name, classes)}")
        return found

    def takes(self) -> tuple[set[str], bool]:
        """The options of the constructor, and whether it takes any other besides."""
        cls = self.cls()
        signature = inspect.signature(cls).parameters.values()
        names = {p.name for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        anything = any(p.kind is p.VAR_KEYWORD for p in signature)
        if anything and hasattr(cls, "get_params"):  # most of XGBoost's are named by its bases only
            with suppress(TypeError):
                names |= set(cls().get_params())
        if self.package == "lightgbm":
            return names.union(*boosting.names_of_one(self.package)), False
        return names, anything

    def check_names(self) -> None:
        """Raises BenchError for an option that the estimator, or one within it, has not."""
        names, anything = self.takes()
        for option in self.options:
            asked = f"{self.where}.options.{option}"
            alike = next((group for group in boosting.names_of_one(self.package) if option in group), (option,))
            if ours := next((name for name in alike if name in OURS), None):
                raise BenchError(f"{asked}: what is random in a run comes from its seed: set {OURS[ours]}<number>")
            if (other := next(name for name in self.options if name in alike)) != option:
                raise BenchError(
                    f"{asked} is another name of {self.where}.options.{other}, which is set too: set "
                    f"{self.where}.options.{other}={shown(self.options[option])} instead"
                )
            near = get_close_matches(str(option), names, n=3, cutoff=0.8)
            if option not in names and (near or not anything):
                raise BenchError(f"unknown option {asked} of {self.path}: {suggestion(str(option), names)}")

    def check_options(self) -> Any:
        """A fresh estimator. Raises BenchError for an option that it, or one within it, has not, or refuses."""
        self.check_names()
        for option, value in self.options.items():
            if _is_recipe(value):
                self.within(option).check_options()
        boosts = self.package in boosting.ROUNDS
        if boosts:
            boosting.check_rounds(self.package, self.options, self.where)
        made = self.make(0)
        if hasattr(made, "_parameter_constraints"):  # scikit-learn's own check, which would come with fit
            try:
                made._validate_params()
            except (ValueError, TypeError) as error:
                raise BenchError(f"{self.where}.options of {self.path}: {error}") from error
        if boosts:
            fresh = lambda options: replace(self, options=options).make(0)  # noqa: E731
            if reason := boosting.refused(self.package, self.options, fresh, self.takes()[0]):
                raise BenchError(f"{self.where}.options of {self.path}: {reason}")
        return made

    def check(self) -> None:
        """Raises BenchError for options that the estimator has not, or that it refuses, and where it is no classifier
        that scores rows."""
        made = self.check_options()
        if not _is_classifier(made):
            raise BenchError(f"{self.where}.estimator={self.path} is no classifier, as scikit-learn knows them")
        if not hasattr(made, "predict_proba") and not hasattr(made, "decision_function"):
            raise BenchError(
                f"{self.where}.estimator={self.path} has neither predict_proba nor decision_function: without them it "
                "scores no rows, and rankings, curves and thresholds need scores"
            )

    def make(self, seed: int, **more: Any) -> Any:
        """A fresh estimator with its options and ``more``, its randomness from ``seed``, on one thread unless its
        options say otherwise. Raises BenchError where it refuses them."""
        names, _ = self.takes()
        inner = {k: self.within(k).make(seed) for k, v in self.options.items() if _is_recipe(v)}
        settled = {"random_state": seed % 2**31, "n_jobs": 1, "thread_count": 1}
        settled = {k: v for k, v in settled.items() if k in names}
        try:
            return self.cls()(**(settled | dict(self.options) | inner | more))
        except Exception as error:
            raise BenchError(f"{self.where}.options of {self.path}: {boosting.said(error)}") from error

    def within(self, option: str) -> Recipe:
        """The estimator that an option is."""
        made = self.options[option]
        return Recipe(made["estimator"], made.get("options") or {}, f"{self.where}.options.{option}")


def _is_recipe(value: Any) -> bool:
    keys = set(value) if isinstance(value, dict) else set()
    return "estimator" in keys <= {"estimator", "options"} and isinstance(value["estimator"], str)


def _is_classifier(made: Any) -> bool:
    from sklearn.base import is_classifier

    if not callable(getattr(made, "fit", None)):
        return False
    try:
        return bool(is_classifier(made))
    except (AttributeError, TypeError):  # one that does not inherit scikit-learn's base classes says nothing of itself
        return True


def fit_arguments(cls: type) -> set[str]:
    """Names of the arguments of ``fit``."""
    return set(inspect.signature(cls.fit).parameters)  # type: ignore[attr-defined]


def fitted(made: Any, x: np.ndarray, y: np.ndarray, what: str, **arguments: Any) -> dict[str, Any]:
    """Fits ``made``; facts for the run's record: a warning where it did not converge, and the ``rounds`` of AdaBoost
    where they are fewer than it was to have. Raises BenchError for whatever the estimator raises; ``what``: the method
    and fold, for the message."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        try:
            made.fit(x, y, **arguments)
        except Exception as error:  # of the library behind the estimator, whichever that is
            remedy = DEEPER if WORSE_THAN_CHANCE in str(error) and _boosts(made) else ""
            raise BenchError(
                f"{what}: {type(made).__name__} could not be fitted: {boosting.said(error)}{remedy}"
            ) from error
    facts: dict[str, Any] = {}
    if _boosts(made) and len(made.estimators_) < made.n_estimators:
        facts["rounds"] = len(made.estimators_)
    if caught:
        facts["warning"] = f"{type(made).__name__} had not converged: {' '.join(str(caught[0].message).split())}"
        log.warning("%s: %s", what, facts["warning"])
    return facts


def _boosts(made: Any) -> bool:
    """Whether an estimator is AdaBoost, which ends before its n_estimators rounds where a member of it is worse than
    chance on the rows as they are weighted then (of RUSBoost: all rows, not those it was fitted to), or perfect."""
    from sklearn.ensemble import AdaBoostClassifier

    return isinstance(made, AdaBoostClassifier)


def class_scores(made: Any, x: np.ndarray, k: int) -> np.ndarray:
    """Log-probabilities (n, k) of vectors (n, d) for the ``k`` classes that a fitted estimator knows. Where it has no
    ``predict_proba``, its decision function stands as log-odds (two classes) or as logits.

    Raises:
        BenchError: the estimator raises, or what it gives is not of this shape or below 0.
        NoNumbers: it gives nan or infinity.
    """
    probable = hasattr(made, "predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            z = np.asarray((made.predict_proba if probable else made.decision_function)(x), np.float64)
        except Exception as error:  # of the library behind the estimator: more neighbours asked for than there are rows
            raise BenchError(f"{type(made).__name__} could not score rows: {error}") from error
    gave = f"{type(made).__module__}.{type(made).__name__}.{'predict_proba' if probable else 'decision_function'} gave"
    odds = not probable and k == 2
    if z.shape != (len(x), k) and not (odds and z.shape == (len(x),)):
        needs = f"(n, {k}), a column a class" + (", or (n,)" if odds else "")
        raise BenchError(f"{gave} an array {z.shape} for {len(x)} rows of {k} classes: scores are {needs}")
    columns = z.reshape(len(x), -1)
    if (bad := ~np.isfinite(columns).all(axis=1)).any():
        raise NoNumbers(
            f"{gave} {columns[bad][0][~np.isfinite(columns[bad][0])][0]} in row {bad.argmax()} of {len(x)}: scores are "
            "finite numbers; look at its options, or at the features of that row"
        )
    if probable:
        if (low := columns.min(initial=0.0)) < -ROUNDING:
            row = int(columns.min(axis=1).argmin())
            raise BenchError(f"{gave} {low:.3g} in row {row} of {len(x)}: probabilities are from 0 to 1")
        p = z.clip(min=LEAST)
        return np.log(p / p.sum(axis=1, keepdims=True))
    if z.ndim == 1:
        z = np.stack([np.zeros_like(z), z], 1)
    return z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def described(classifier: Classifier, task: Task, rows: Part) -> Classifier:
    """A fitted run with its history, one row: the loss of the rows that it was fitted to, and its validation score.
    Where its estimator gives no numbers it has failed."""
    try:
        loss = -float(classifier.scores(rows.x)[np.arange(len(rows)), rows.y].mean())
        classifier.history.append({"epoch": 1, "train_loss": loss} | valid_score(classifier, task))
    except NoNumbers as error:
        classifier.failure = str(error)
    return classifier


def doubles(x: np.ndarray) -> np.ndarray:
    """Rows (n, ...) as vectors (n, d) in float64."""
    return flat_vectors(x).astype(np.float64)


@kept("estimators")
class EstimatorClassifier(Classifier):
    """The mean of the probabilities of fitted estimators, of ``known`` among ``classes`` classes; of one class alone
    nothing needs to be fitted."""

    def __init__(self, made: Sequence[Any], known: np.ndarray, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.made, self.known, self.classes = made, known, classes
        if not all(hasattr(one, "predict_proba") for one in made):
            self.info["scores"] = "decision_function: they rank rows and are no probabilities"

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        out = np.full((len(x), self.classes), np.log(LEAST))
        out[:, self.known] = 0.0  # what is left to a class that is alone
        if self.made:
            found = [class_scores(made, doubles(x), len(self.known)) for made in self.made]
            out[:, self.known] = found[0] if len(found) == 1 else np.logaddexp.reduce(found) - np.log(len(found))
        return out

    def state(self) -> State:
        return State({"classes": self.classes}, {"known": self.known}, {str(i): m for i, m in enumerate(self.made)})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> EstimatorClassifier:
        made = [state.estimators[str(i)] for i in range(len(state.estimators))]
        return cls(made, state.arrays["known"], state.facts["classes"])
