"""Shared by methods whose runs are fitted one after the other, each by a library that does all of it in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from imbalance_bench.engine import Engine
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.running.models import Surroundings, packed, restored, state_of, unpacked

T = TypeVar("T")


class Made:
    """The classifiers of runs that are through; what is kept of them is what a saved model is made of."""

    kept = ("states",)

    def __init__(self, engine: Engine) -> None:
        self.around = Surroundings(engine)
        self.classifiers: list[Classifier] = []
        self._states: list[tuple[Any, ...]] = []  # of the first ones: forests take seconds

    @property
    def states(self) -> tuple[tuple[Any, ...], ...]:
        for c in self.classifiers[len(self._states) :]:
            files = packed({"run": state_of(c)}, {})
            self._states.append((files, c.info, c.history, c.artifacts, c.failure, c.readouts))
        return tuple(self._states)

    @states.setter
    def states(self, states: tuple[tuple[Any, ...], ...]) -> None:
        self.classifiers, self._states = [], list(states)
        for files, *rest in states:
            classifier: Classifier = restored(unpacked(files)[1]["run"], self.around)
            classifier.info, classifier.history, classifier.artifacts, classifier.failure, classifier.readouts = rest
            self.classifiers.append(classifier)


def one_by_one(fit: Callable[[T], Classifier], runs: Sequence[T], engine: Engine) -> list[Classifier]:
    """Calls ``fit`` for each of ``runs``; a run that was fitted before the process was killed is not again."""
    made = Made(engine)
    for r in Loop("fitting", len(runs), made, settled=True, runs=True):
        progress.report("fitting", r, len(runs), "runs")
        made.classifiers.append(fit(runs[r]))
    return made.classifiers
