"""Shared by methods with an unlabelled pool: rounds of training, before each of which predicted samples are added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.options import Count, Whole
from imbalance_bench.running.checkpoints import Loop

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.stack import Stack

LabelOf = Literal["given", "predicted"]
"""Which label of a labelled sample; an unlabelled sample has the predicted one only."""


@dataclass(frozen=True)
class Predicted:
    """Predictions of a run's network, in evaluation, for the labelled set D and then the unlabelled pool U, n samples
    in all: ``log_probs`` (n, C). ``given``: D's labels; ``minority``: the classes whose samples are looked for."""

    log_probs: np.ndarray
    given: np.ndarray
    minority: tuple[int, ...]

    @cached_property
    def labels(self) -> np.ndarray:
        """The most probable class of each sample, (n,)."""
        return self.log_probs.argmax(1)

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which samples are D's, (n,)."""
        return np.arange(len(self.log_probs)) < len(self.given)

    @cached_property
    def minor(self) -> np.ndarray:
        """D' of Algorithm 1: which samples are predicted as one of the minority classes, (n,)."""
        return np.isin(self.labels, self.minority)

    def losses(self, of: LabelOf) -> np.ndarray:
        """Cross-entropy (n,)."""
        labels = self.labels.copy()
        if of == "given":
            labels[self.labelled] = self.given
        return -self.log_probs[np.arange(len(labels)), labels]


@dataclass(frozen=True)
class Selection:
    """Which samples of D and then U are ``added``, (n,); ``facts`` go into the history."""

    added: np.ndarray
    facts: dict[str, float] = field(default_factory=dict)


Rule = Callable[[Mapping[int, Predicted]], Mapping[int, Selection]]
"""The samples added in each run that is still alive, run → selection. A rule that keeps something from round to round
says what (``imbalance_bench.running.kept``)."""


class Round:
    """Choices for a round and those before it: of each run the samples that are ``added``, their labels, and facts
    about them."""

    kept = ("added", "labels", "facts")

    def __init__(self) -> None:
        self.added: dict[int, np.ndarray] = {}
        self.labels: dict[int, np.ndarray] = {}
        self.facts: dict[int, dict[str, float]] = {}


@dataclass(frozen=True)
class SelfTraining(Method):
    """The loop of Algorithm 1 of Liu, Gao & Yang, "SelectNet: Learning to Sample from the Wild for Imbalanced Data
    Training" (2019), whatever the rule that selects; a subclass gives that.

    trainer.epochs are ``rounds`` rounds of equal length, or one an epoch where they are fewer than that. In the first
    the network learns the labelled set D, over-sampled: every class drawn with replacement up to the largest, or
    (``start_copies``) that many copies added of each sample of a minority class. Before each later round it predicts D
    and the pool U = ``task.withdrawn``, the rule chooses D_add among the samples predicted as minority, and the round
    is trained on D ∪ D_add: a labelled sample stands there again with its given label, an unlabelled one with its
    predicted label. D_add is chosen anew each time; network, optimiser and learning rate carry on.

    Readings: ``start_always`` trains each round on the first round's set and D_add, so that D stays over-sampled;
    ``accumulate`` keeps in D_add what was chosen in earlier rounds, with the label that it is predicted now.

    The pool's labels are read for the record alone. History, in the last epoch of each round: ``fitted_rows`` =
    |D ∪ D_add|; the counts of the paper's Figure 2, where a labelled sample is ``confused`` if predicted wrongly and an
    unlabelled one if added with a wrong label; ``selection_precision``, the share of D_add that is not confused.
    """

    rounds: Count
    start_copies: Annotated[Whole | None, "null: full balance"]
    start_always: bool
    accumulate: bool

    def rule(self, tasks: Sequence[Task], engine: Engine) -> Rule:
        """The rule of a training, which may keep something from round to round."""
        return lambda seen: {r: Selection(self.choose(predicted)) for r, predicted in seen.items()}

    def choose(self, predicted: Predicted) -> np.ndarray:
        """Which samples are added, (n,), for one run at a time, without state."""
        raise NotImplementedError

    def labels(self, task: Task, predicted: Predicted) -> np.ndarray:
        """The labels that samples of D and then U are added with, (n,)."""
        return np.concatenate([predicted.given, predicted.labels[~predicted.labelled]])

    def declines(self, task: Task) -> str | None:
        if reason := super().declines(task):
            return reason
        if task.withdrawn is None:
            return (
                "an unlabelled pool is asked for, but the ratio takes no rows out of the training part: choose one "
                "that does, e.g. ratio=minor_cifar10, ratio=long_tailed or ratio=ir_50"
            )
        if not task.minority_classes:
            return (
                "samples of minority classes are looked for in the pool, but under this ratio no class is one: choose "
                "a ratio that names them, e.g. ratio=minor_cifar10, or a steeper one"
            )
        return None

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        from imbalance_bench.engine.stack import stored

        epochs = engine.trainer.epochs
        rounds = min(self.rounds, epochs)
        if epochs % rounds:
            raise BenchError(
                f"trainer.epochs={epochs} is not a multiple of method.rounds={rounds}: rounds are equally long; set "
                f"trainer.epochs={-(-epochs // rounds) * rounds} or another method.rounds"
            )
        sets = [engine.rows_of(t) for t in tasks]
        training, rule = engine.begin(self, tasks, backbone), self.rule(tasks, engine)
        watched = training.monitor
        starts = [self.start(t, s) for t, s in zip(tasks, sets)]
        now = Round()
        keeps = [one for one in (training, now, rule) if hasattr(one, "kept")]
        # On the device once, not in each round.
        parts = [p for t, s in zip(tasks, sets) for p in (s, t.withdrawn) if p is not None]
        known = {id(p): stored(p.x, training.stack.flat) for p in {id(p): p for p in parts}.values()}

        def learned(done: int) -> list[Part]:
            fitted = list(starts if self.start_always or not done else sets)
            for r, labels in now.labels.items():
                fitted[r] = extended(fitted[r], sets[r], tasks[r], now.added[r], labels)
            return fitted

        loop = Loop("rounds", rounds, *keeps)
        for done in loop:
            if done and not loop.inside:
                now.labels, now.facts = {}, {}
                seen = {r: predict(training.stack, r, tasks[r], sets[r], known) for r in watched.alive}
                for r, choice in rule(seen).items():
                    earlier = now.added[r] if self.accumulate and r in now.added else False
                    now.added[r] = choice.added | earlier
                    now.labels[r] = self.labels(tasks[r], seen[r])
                    now.facts[r] = figure2(tasks[r], seen[r], now.added[r], now.labels[r]) | choice.facts
            fitted = learned(done)
            training.run(fitted, epochs // rounds)
            for r in watched.alive:
                watched.history[r][-1] |= {"round": done + 1, "fitted_rows": len(fitted[r]), **now.facts.get(r, {})}
        classifiers = engine.classifiers(training.stack, watched)
        for classifier, task, start, last in zip(classifiers, tasks, starts, learned(rounds - 1)):
            assert task.withdrawn is not None
            classifier.info |= resampling_info(task, last) | {
                "start_counts": np.bincount(start.y, minlength=task.classes).tolist(),
                "pool_rows": len(task.withdrawn),
                "rounds": rounds,
            }
        return list(classifiers)

    def start(self, task: Task, rows: Part) -> Part:
        """The training set of the first round. Rows keep their ids."""
        if self.start_copies is None:
            return balanced(task, rows)
        minor = np.flatnonzero(np.isin(rows.y, task.minority_classes))
        return rows.take(np.concatenate([np.arange(len(rows)), np.tile(minor, self.start_copies)]))


@dataclass(frozen=True)
class ContextTraining(SelfTraining):
    """Self-training that adds labelled samples too. Readings: of which label a labelled sample's loss is taken
    (``loss_of``), and with which it is added (``label_of``; predicted: Eq. 3 as printed)."""

    loss_of: LabelOf
    label_of: LabelOf

    def labels(self, task: Task, predicted: Predicted) -> np.ndarray:
        return predicted.labels if self.label_of == "predicted" else super().labels(task, predicted)


def balanced(task: Task, rows: Part) -> Part:
    """Every class drawn up to the largest: the rows of ``random_oversampling`` with ``amount=balanced``."""
    from imblearn.over_sampling import RandomOverSampler

    from imbalance_bench.methods.shared.oversampling import target_counts

    sampler = RandomOverSampler(sampling_strategy=target_counts(rows.y, "balanced"), random_state=task.seed % 2**32)
    sampler.fit_resample(np.arange(len(rows))[:, None], rows.y)
    return rows.take(sampler.sample_indices_)


def predict(stack: Stack, run: int, task: Task, rows: Part, known: Mapping[int, torch.Tensor]) -> Predicted:
    """One pass over D = ``rows`` and the pool with the present parameters of a run; ``known``: their features on the
    device, by the part's id()."""
    import torch

    assert task.withdrawn is not None
    present = stack.flat[run].detach()
    logits = torch.cat([stack.predict(present, x) for x in (known[id(rows)], known[id(task.withdrawn)])])
    return Predicted(logits.cpu().double().log_softmax(-1).numpy(), rows.y, task.minority_classes)


def extended(start: Part, rows: Part, task: Task, added: np.ndarray, labels: np.ndarray) -> Part:
    """``start`` and D_add: those of D = ``rows`` and then the pool that are ``added``, (n,), with ``labels`` (n,), and
    under the ids that they have, so that a labelled row that is added stands there twice."""
    assert task.withdrawn is not None
    again, chosen = np.split(np.flatnonzero(added), [added[: len(rows)].sum()])
    pool = task.withdrawn.take(chosen - len(rows))
    return start.join(replace(rows.take(again), y=labels[again]), replace(pool, y=labels[chosen]))


def figure2(task: Task, predicted: Predicted, added: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The counts of D_add for the record, which is what the pool's true labels are read for. ``labels`` (n,): those
    that samples of D and U are added with."""
    assert task.withdrawn is not None
    pool_labels = labels[~predicted.labelled]
    labelled, unlabelled = added[predicted.labelled], added[~predicted.labelled]
    as_given = predicted.labels[predicted.labelled] == predicted.given
    true = pool_labels == task.withdrawn.y
    facts: dict[str, float] = {
        "added_labelled_minor": int((labelled & as_given).sum()),
        "added_labelled_confused": int((labelled & ~as_given).sum()),
        "added_unlabelled_minor": int((unlabelled & true & np.isin(pool_labels, predicted.minority)).sum()),
        "added_unlabelled_confused": int((unlabelled & ~true).sum()),
    }
    if added.any():
        confused = facts["added_labelled_confused"] + facts["added_unlabelled_confused"]
        facts["selection_precision"] = 1 - confused / int(added.sum())
    return facts
