"""Decisions tuned on validation rows: pure functions of saved predictions (numpy only).

A decision adds an offset to the log-probability of each class and takes the highest sum. Of two classes that is a
threshold: class 1 where p1 > t, t = σ(-offset). The offsets are those that are best on the validation rows of the run,
never on test rows:

* two classes: all thresholds are tried, one between each two neighbouring scores. Of those that are best, the one
  nearest 0.5 is taken (by log-odds; the higher of two as near): 0.5 itself where no score lies between, else the middle
  of its gap in log-odds, or one nat beyond the outermost score;
* several classes: coordinate ascent from offsets of 0. One class after the other gets the best of all offsets (one
  between each two values at which a row changes its class), in the same way, while the others keep theirs; until a pass
  over the classes improves nothing, ``PASSES`` at most. Classes without validation rows keep 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from imbalance_bench.alike import alike

OBJECTIVES = ("f1", "g_mean", "balanced_accuracy", "cost")
COST = 10.0  # of a missed positive, in false alarms, where nothing else is said
MOST = 1e6  # that it can be set to
PASSES = 5
SAME = 1e-9  # what two sums that are equal may differ by
LOWEST = -745.0  # log-probability that stands for that of 0: log of the smallest float64
NEVER_RIGHT = 1e-9  # recall that stands for 0 in the logarithm of the G-mean: that no class is missed counts most


def costs_of(classes: int, minority: Sequence[int], cost: float = COST) -> np.ndarray:
    """Costs of a wrong decision, by the class of its row (C,): ``cost`` for the positive one of two, or the minority
    classes of several, 1 for others."""
    costs = np.ones(classes)
    costs[[1] if classes == 2 else list(minority)] = cost
    return costs


def offsets(labels: np.ndarray, log_probs: np.ndarray, objective: str, costs: np.ndarray) -> np.ndarray | None:
    """The offsets (C,) that are best on these rows.

    Args:
        labels: (n,) class indices 0..C-1.
        log_probs: (n, C) log-probabilities, -inf allowed.
        objective: one of ``OBJECTIVES``, as ``of_decisions`` has them.
        costs: (C,) as of ``costs_of``.

    Returns:
        None where all rows are of one class, which prefers deciding for it always.
    """
    return offsets_of_each(labels, log_probs, costs, [objective])[objective]


def offsets_of_each(
    labels: np.ndarray, log_probs: np.ndarray, costs: np.ndarray, objectives: Sequence[str] = OBJECTIVES
) -> dict[str, np.ndarray | None]:
    """``offsets`` by objective."""
    return offsets_of_runs(labels[None], np.asarray(log_probs)[None], costs[None], objectives)[0]


def offsets_of_runs(
    labels: np.ndarray, log_probs: np.ndarray, costs: np.ndarray, objectives: Sequence[str] = OBJECTIVES
) -> list[dict[str, np.ndarray | None]]:
    """``offsets_of_each`` of R runs of n rows each: labels (R, n), log-probabilities (R, n, C), costs (R, C)."""
    scores = np.maximum(np.asarray(log_probs, np.float64), LOWEST)
    classes = costs.shape[1]
    n = (labels[..., None] == np.arange(classes)).sum(axis=1)
    found: list[dict[str, np.ndarray | None]] = [dict.fromkeys(objectives) for _ in labels]
    several = np.flatnonzero((n > 0).sum(axis=1) > 1)
    if classes == 2 and len(several):
        labels, scores, n, costs = (each[several] for each in (labels, scores, n, costs))
        for at, entering in Entering.of_two(labels, scores[..., 0] - scores[..., 1]):
            for objective in objectives:
                best = entering.best(np.zeros(len(at)), partial(_worth, objective, n[at], costs[at]))
                for run, offset in zip(several[at].tolist(), best.tolist()):
                    found[run][objective] = np.array([0.0, offset])
    elif classes > 2:
        for run in several.tolist():
            worth = {objective: partial(_worth, objective, n[run, None], costs[run, None]) for objective in objectives}
            found[run] |= {o: _ascended(labels[run], scores[run], n[run], worth[o]) for o in objectives}
    return found


def _ascended(labels: np.ndarray, scores: np.ndarray, n: np.ndarray, worth: Callable[..., np.ndarray]) -> np.ndarray:
    """Offsets by coordinate ascent; ``n``: rows of each class."""
    shifted, found = scores.copy(), np.zeros(len(n))
    columns = np.ascontiguousarray(scores.T)
    highest, of = _two_highest(shifted)
    for _ in range(PASSES):
        before = found.copy()
        for c in np.flatnonzero(n).tolist():
            first = of[0] == c
            rival = np.where(first, of[1], of[0])  # the highest of the other classes
            entering = Entering.of(labels, np.where(first, *highest[::-1]) - columns[c], rival, c, n)
            if (best := float(entering.best(found[c], worth)[0])) == found[c]:
                continue
            found[c] = best
            shifted[:, c] = now = columns[c] + best
            # Other rows keep their two highest: the class was, and is, below them.
            moved = np.flatnonzero(first | (of[1] == c) | (now >= highest[1]))
            highest[:, moved], of[:, moved] = _two_highest(shifted[moved])
        if (found == before).all():
            break
    return found


def _two_highest(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest and the next of scores (n, C), and their classes, (2, n) each; of equal ones the first."""
    others, every = scores.copy(), np.arange(len(scores))
    first = scores.argmax(axis=1)
    others[every, first] = -np.inf
    second = others.argmax(axis=1)
    return np.stack([scores[every, first], scores[every, second]]), np.stack([first, second])


def decide(log_probs: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    """The classes (..., n) that offsets (C,), or one for each of log-probabilities (..., n, C), decide for."""
    return np.asarray(moved(log_probs, tuned).argmax(axis=-1))


def moved(log_probs: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    """Log-probabilities (..., n, C) with offsets added, of which ``decide`` takes the highest."""
    return np.asarray(np.maximum(np.asarray(log_probs, np.float64), LOWEST) + tuned)


def as_threshold(tuned: np.ndarray) -> float:
    """The probability of class 1, of two, above which offsets decide for it."""
    return float(1 / (1 + np.exp(tuned[1] - tuned[0])))


def of_decisions(labels: np.ndarray, predicted: np.ndarray, costs: np.ndarray) -> dict[str, np.ndarray]:
    """F1 (of class 1 of two; the mean over classes of several), G-mean (the geometric mean of recalls), balanced
    accuracy and mean cost a row of decisions (..., n), each (...). Classes without rows do not count; F1 of class 1 is
    then nan."""
    found = decisions_of_runs(labels[None], predicted.reshape(1, -1, len(labels)), costs[None])
    return {name: value.reshape(predicted.shape[:-1])[()] for name, value in found.items()}


def decisions_of_runs(labels: np.ndarray, predicted: np.ndarray, costs: np.ndarray) -> dict[str, np.ndarray]:
    """``of_decisions``, (R, k) each, of k decisions a row in each of R runs: labels (R, n), predicted (R, k, n), costs
    (R, C)."""
    (runs, k, rows), classes = predicted.shape, costs.shape[1]
    n = (labels[..., None] == np.arange(classes)).sum(axis=1)
    cell = predicted + classes * np.arange(runs * k).reshape(runs, k, 1)  # of one table of decisions by classes
    called, right = (
        np.bincount(of, minlength=classes * runs * k).reshape(runs, k, classes)
        for of in (cell.ravel(), cell[predicted == labels[:, None]])
    )
    f1 = np.divide(2 * right, n[:, None] + called, where=n[:, None] > 0, out=np.full(right.shape, np.nan))
    values = {name: np.empty((runs, k)) for name in OBJECTIVES}
    for some, at in alike(map(tuple, (n > 0).tolist())):
        recalls = right[at].compress(some, axis=2) / n[at].compress(some, axis=1)[:, None]
        values["f1"][at] = f1[at, :, 1] if classes == 2 else f1[at].compress(some, axis=2).mean(axis=2)
        values["g_mean"][at] = np.prod(recalls ** (1 / recalls.shape[2]), axis=2)
        values["balanced_accuracy"][at] = recalls.mean(axis=2)
    values["cost"] = (costs[:, None] * (n[:, None] - right)).sum(axis=2) / rows
    return values


@dataclass(frozen=True)
class Entering:
    """Rows as the offset of class ``c`` rises: one after the other, in this order, leaves the class of its ``rival``
    and enters c. Of R runs, with as many candidates each.

    ``rival`` (R, n), or one for all; ``right`` and ``called`` (R, n): rows that are right, and all that are decided
    for, of a rival's class once the row has left it; ``lost`` (R, n): 1 where it was right there; ``gained`` (R, n +
    1): rows right in c once 0..n have entered. ``candidates`` (R, t): how many rows have entered (those that are equal
    at once), between the offsets ``low`` and ``high``.
    """

    c: int
    rival: np.ndarray | int
    right: np.ndarray
    called: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    candidates: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(labels: np.ndarray, enters: np.ndarray, rival: np.ndarray, c: int, n: np.ndarray) -> Entering:
        """Of one run; ``enters`` (n,): the offset above which a row is decided for c; ``n``: rows of each class."""
        order = np.argsort(enters)
        enters, y, rival = enters[order], labels[order], rival[order]
        lost = (rival == y).astype(np.int64)
        # From the last row to leave a class backwards, so that what is left of it counts up from none.
        last_first = np.argsort(rival[::-1].astype(np.min_scalar_type(len(n))), kind="stable")  # small: by counting
        sizes = np.bincount(rival, minlength=len(n))
        starts = (np.cumsum(sizes) - sizes)[rival[::-1][last_first]]
        before = np.append(0, np.cumsum(lost[::-1][last_first]))
        right, called = np.empty((2, len(y)), np.int64)
        right[::-1][last_first] = before[:-1] - before[starts]
        called[::-1][last_first] = np.arange(len(y)) - starts
        gaps = np.flatnonzero(np.append(enters[1:] != enters[:-1], True)) + 1
        return Entering._of(c, *(part[None] for part in (rival, right, called, lost, y, enters, gaps)))

    @staticmethod
    def of_two(labels: np.ndarray, enters: np.ndarray) -> Iterator[tuple[np.ndarray, Entering]]:
        """Of class 1 of two, of R runs (R, n): the places of those with as many candidates each."""
        order = np.argsort(enters, axis=1)
        enters, y = (np.take_along_axis(part, order, axis=1) for part in (enters, labels))
        lost = (y == 0).astype(np.int64)
        right = lost[:, ::-1].cumsum(axis=1)[:, ::-1] - lost
        called = np.broadcast_to(np.arange(y.shape[1])[::-1], y.shape)
        last = np.ones(y.shape, bool)
        last[:, :-1] = enters[:, 1:] != enters[:, :-1]
        for t, at in alike(last.sum(axis=1).tolist()):
            gaps = np.nonzero(last[at])[1].reshape(-1, t) + 1
            yield np.array(at), Entering._of(1, 0, right[at], called[at], lost[at], y[at], enters[at], gaps)

    @staticmethod
    def _of(
        c: int,
        rival: np.ndarray | int,
        right: np.ndarray,
        called: np.ndarray,
        lost: np.ndarray,
        labels: np.ndarray,
        enters: np.ndarray,
        gaps: np.ndarray,
    ) -> Entering:
        """``gaps`` (R, t): how many rows have entered wherever the next one enters at another offset."""
        ends = np.full((len(gaps), 1), np.inf)
        low = np.concatenate([-ends, np.take_along_axis(enters, gaps - 1, axis=1)], axis=1)  # offsets in (low, high]
        high = np.concatenate([low[:, 1:], ends], axis=1)
        return Entering(c, rival, right, called, lost, _from_0((labels == c).cumsum(axis=1)), _from_0(gaps), low, high)

    def best(self, current: np.ndarray | float, worth: Callable[..., np.ndarray]) -> np.ndarray:
        """The best offset (R,); the ``current`` one where none is better by more than rounding."""
        after = worth(self.rival, self.right, self.called)
        before = worth(self.rival, self.right + self.lost, self.called + 1)
        gained = worth(self.c, self.gained, np.arange(self.gained.shape[1]))
        values = np.take_along_axis(_from_0(np.cumsum(after - before, axis=1)) + gained, self.candidates, axis=1)
        best = values >= values.max(axis=1, keepdims=True) - SAME
        every, now = np.arange(len(best)), (self.high < np.reshape(current, (-1, 1))).sum(axis=1)
        good = best[every, now]
        if good.all():
            return np.broadcast_to(current, good.shape)
        nearest = np.where(best, np.abs(self.offsets), np.inf).argmin(axis=1)
        return np.where(good, current, self.offsets[every, nearest])

    @cached_property
    def offsets(self) -> np.ndarray:
        """(R, t), one between each two at which rows enter."""
        low, high = self.low, self.high
        middle = (low + high) / 2
        at = np.where(middle > low, middle, high)
        at[:, 0], at[:, -1] = high[:, 0] - 1, low[:, -1] + 1
        at[(low < 0) & (high >= 0)] = 0
        return at


def _from_0(cumulative: np.ndarray) -> np.ndarray:
    found = np.zeros((len(cumulative), cumulative.shape[1] + 1), cumulative.dtype)
    found[:, 1:] = cumulative
    return found


def _worth(
    objective: str, n: np.ndarray, costs: np.ndarray, k: np.ndarray | int, right: np.ndarray, called: np.ndarray
) -> np.ndarray:
    """Gain of class ``k`` in an objective (R, ...), higher is better, with ``right`` of the ``called`` rows decided
    for it; ``n`` and ``costs`` (R, C): rows of each class, and what they cost."""

    def of_k(each: np.ndarray) -> np.ndarray:
        return each[:, k, None] if isinstance(k, int) else np.asarray(each[0][k])  # classes a row: of one run

    some = of_k(np.maximum(n, 1))
    if objective == "f1":
        counts = np.broadcast_to([0.0, 1.0], n.shape) if n.shape[1] == 2 else (n > 0).astype(float)
        return np.asarray(of_k(counts) * 2 * right / np.maximum(of_k(n) + called, 1))
    if objective == "g_mean":
        return np.where(of_k(n) > 0, np.log(np.maximum(right / some, NEVER_RIGHT)), 0.0)
    if objective == "balanced_accuracy":
        return np.asarray(right / some)
    return np.asarray(of_k(costs) * right)
