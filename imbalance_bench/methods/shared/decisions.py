"""Decisions on deep features: kNN and logistic regression as classifiers of a trained network's embedding."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from imbalance_bench.data.base import Part
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.errors import BenchError
from imbalance_bench.neighbours import k_nearest
from imbalance_bench.running.models import State, Surroundings, kept, restored, state_of

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import NetworkClassifier

log = logging.getLogger("imbalance_bench")

LEAST = 1e-12
"""The probability that a class without a vote is given, so that every log-probability is finite."""


class Decision(Protocol):
    """A classifier of features."""

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        """Log-probabilities (n, C) of features (n, d)."""


@kept("knn")
class KNNDecision:
    """The vote of the k nearest of the rows with features (n, d) and labels (n,), Euclidean.

    A class's probability is its share of the votes. Of classes that have equally many, the one with the nearest row
    wins: the winner of every vote is given 1e-5 of it, taken from all in proportion, so that it is the argmax and that
    rows whose shares differ are ordered as the shares order them.
    """

    WINNER = 1e-5

    def __init__(self, features: torch.Tensor, labels: Any, k: int, classes: int) -> None:
        import torch

        if not 1 <= k <= len(features):
            raise BenchError(
                f"asked for {k} neighbours, only {len(features)} training rows: set method.neighbours to 1 to "
                f"{len(features)}"
            )
        self.features, self.k, self.classes = features, k, classes
        self.labels = torch.as_tensor(labels, device=features.device)

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        votes = self.labels[k_nearest(features, self.features, self.k)[1]]
        return vote(votes, self.classes, self.WINNER).clamp_(min=LEAST).log_().cpu().numpy()

    def state(self) -> State:
        return State({"k": self.k, "classes": self.classes}, {"features": self.features, "labels": self.labels})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> KNNDecision:
        import torch

        features = torch.tensor(state.arrays["features"]).to(around.engine.device)
        return cls(features, state.arrays["labels"], state.facts["k"], state.facts["classes"])


def vote(votes: torch.Tensor, classes: int, bonus: float) -> torch.Tensor:
    """Shares (n, C) of the votes (n, k) of neighbours, nearest first; ``bonus`` of each goes to the winner."""
    import torch

    k = votes.shape[1]
    one_hot = torch.nn.functional.one_hot(votes, classes)
    counts = one_hot.sum(1)
    first = torch.where(counts > 0, one_hot.argmax(1), k)  # which neighbour is a class's nearest
    winner = (counts * (k + 1) - first).argmax(1, keepdim=True)
    return ((1 - bonus) / k * counts.double()).scatter_add_(
        1, winner, torch.full_like(winner, bonus, dtype=torch.double)
    )


@kept("logistic")
class LogisticDecision:
    """Multinomial logistic regression with an L2 penalty of inverse strength ``c`` (scikit-learn's), on features
    (n, d) as they are, rows weighted by ``class_weight``.

    scikit-learn bounds the gradient of a mean over rows, to which rare rows add next to nothing: its default bound
    stops early where one class is rare. ``info``: for the run's record, a warning where the fit did not converge.
    """

    TOLERANCE, ITERATIONS = 1e-8, 5000

    def __init__(
        self,
        features: torch.Tensor,
        labels: Any,
        c: float,
        classes: int,
        class_weight: Literal["balanced"] | None = None,
    ) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if not c > 0:
            raise BenchError(f"a logistic regression of C={c} was asked for: C must be above 0")
        labels = np.asarray(labels)
        self.classes, self.known = classes, np.unique(labels)
        self.info: dict[str, Any] = {}
        self.model = LogisticRegression(C=c, tol=self.TOLERANCE, max_iter=self.ITERATIONS, class_weight=class_weight)
        if len(self.known) < 2:
            return
        with warnings.catch_warnings(record=True) as caught:
            self.model.fit(features.cpu().numpy().astype(np.float64), labels)
        if any(issubclass(w.category, ConvergenceWarning) for w in caught):
            steps = int(np.max(self.model.n_iter_))
            self.info["warning"] = (
                f"the logistic regression had not converged after {steps} steps: features may differ too much in "
                f"scale, or C={c:g} is too high"
            )
            log.warning(self.info["warning"])

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        out = np.full((len(features), self.classes), np.log(LEAST))
        out[:, self.known] = 0.0  # what is left to a class that is alone
        if len(self.known) > 1:
            z = self.model.decision_function(features.cpu().numpy()).astype(np.float64)
            if z.ndim == 1:
                z = np.stack([np.zeros_like(z), z], 1)
            out[:, self.known] = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
        return out

    def state(self) -> State:
        fitted = {"coef": self.model.coef_, "intercept": self.model.intercept_} if len(self.known) > 1 else {}
        return State({"classes": self.classes, "c": self.model.C}, {"known": self.known, **fitted})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> LogisticDecision:
        known = state.arrays["known"]
        # Of one label there is nothing to fit.
        made = cls(np.zeros((1, 1)), known[:1], state.facts["c"], state.facts["classes"])  # type: ignore[arg-type]
        made.known = made.model.classes_ = known
        if "coef" in state.arrays:
            made.model.coef_, made.model.intercept_ = state.arrays["coef"], state.arrays["intercept"]
            made.model.n_features_in_ = made.model.coef_.shape[1]
        return made


@kept("deep")
class DeepClassifier(Classifier):
    """A network's own readouts, and decisions on its features at the last one, each a readout of its own (one named
    "last" takes the place of the network's). ``unit``: on their direction."""

    def __init__(self, network: NetworkClassifier, decisions: dict[Readout, Decision], unit: bool = False) -> None:
        readouts = tuple(dict.fromkeys((*network.readouts, *decisions)))
        super().__init__(network.info, network.history, network.artifacts, network.failure, readouts)
        self.network, self.decisions, self.unit = network, decisions, unit
        self._seen: tuple[np.ndarray, torch.Tensor] | None = None

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        if readout not in self.decisions:
            return self.network.scores(x, readout)
        if self._seen is None or self._seen[0] is not x:
            features = self.network.features(x)
            self._seen = x, directions(features) if self.unit else features
        return self.decisions[readout].log_probs(self._seen[1])

    def state(self) -> State:
        parts = {f"decision_{name}": state_of(decision) for name, decision in self.decisions.items()}
        facts = {"unit": self.unit, "decisions": list(self.decisions)}
        return State(facts, parts=parts | {"network": state_of(self.network)})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> DeepClassifier:
        decisions = {name: restored(state.parts[f"decision_{name}"], around) for name in state.facts["decisions"]}
        return cls(restored(state.parts["network"], around), decisions, state.facts["unit"])


def directions(features: torch.Tensor) -> torch.Tensor:
    """Features (..., d) scaled to length one; the squared distance of two is 2 minus twice their cosine."""
    import torch

    return torch.nn.functional.normalize(features, dim=-1)


def with_decisions(
    classifier: NetworkClassifier,
    rows: Part,
    classes: int,
    decisions: Sequence[Literal["knn", "lr"]] = ("knn", "lr"),
    k: int = 5,
    c: float = 1.0,
) -> Classifier:
    """``classifier`` and, as readouts of their own, classifiers fitted to its last features of ``rows``: "knn", the
    vote of the ``k`` nearest, and "lr", logistic regression with C = ``c``. A run that diverged stays as it is."""
    if classifier.failure is not None:
        return classifier
    features = classifier.features(rows.x)
    made: dict[Readout, Decision] = {}
    for name in decisions:
        if name == "knn":
            made[name] = KNNDecision(features, rows.y, k, classes)
        else:
            made[name] = regression = LogisticDecision(features, rows.y, c, classes)
            classifier.info |= regression.info
    return DeepClassifier(classifier, made)
