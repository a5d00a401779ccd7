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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

OBJECTIVES = ("f1", "g_mean", "balanced_accuracy", "cost")
COST = 10.0  # of a missed positive, in false alarms, where nothing else is said
MOST = 1e6  # that it can be set to
PASSES = 5
SAME = 1e-9  # what two sums that are equal may differ by
LOWEST = -745.0  # log-probability that stands for that of 0: log of the smallest float64
NEVER_RIGHT = 1e-9  # recall that stands for 0 in the logarithm of the G-mean: that no class is missed counts most


def costs_of(classes: int, minority: Sequence[int], cost: float = COST) -> np.ndarray:
    """What a wrong decision costs, by the class of its row (C,): ``cost`` for the positive one of two, or the minority
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
    scores = np.maximum(np.asarray(log_probs, np.float64), LOWEST)
    n = np.bincount(labels, minlength=len(costs))
    if (n > 0).sum() < 2:
        return dict.fromkeys(objectives)
    worth = {objective: partial(_worth, objective, n, costs) for objective in objectives}
    if len(costs) > 2:
        return {objective: _ascended(labels, scores, n, worth[objective]) for objective in objectives}
    entering = Entering.of(labels, scores[:, 0] - scores[:, 1], np.zeros(len(labels), np.int64), 1, n)
    return {objective: np.array([0.0, entering.best(0.0, worth[objective])]) for objective in objectives}


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
            if (best := entering.best(found[c], worth)) == found[c]:
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
    """The classes (n,) that offsets (C,) decide for."""
    return (np.maximum(np.asarray(log_probs, np.float64), LOWEST) + tuned).argmax(axis=1)


def as_threshold(tuned: np.ndarray) -> float:
    """The probability of class 1, of two, above which offsets decide for it."""
    return float(1 / (1 + np.exp(tuned[1] - tuned[0])))


def of_decisions(labels: np.ndarray, predicted: np.ndarray, costs: np.ndarray) -> dict[str, np.ndarray]:
    """F1 (of class 1 of two; the mean over classes of several), G-mean (the geometric mean of recalls), balanced
    accuracy and mean cost a row of decisions (..., n), each (...). Classes without rows do not count; F1 of class 1 is
    then nan."""
    classes, each = len(costs), predicted.reshape(-1, len(labels))
    n = np.bincount(labels, minlength=classes)
    cell = each + classes * np.arange(len(each))[:, None]  # of one table of decisions by classes
    called, right = (
        np.bincount(rows, minlength=classes * len(each)).reshape(-1, classes)
        for rows in (cell.ravel(), cell[each == labels])
    )
    some = n > 0
    recalls = right.compress(some, axis=1) / n[some]
    f1 = np.divide(2 * right, n + called, where=some, out=np.full(right.shape, np.nan))
    values = {
        "f1": f1[:, 1] if classes == 2 else f1.compress(some, axis=1).mean(axis=1),
        "g_mean": np.prod(recalls ** (1 / recalls.shape[1]), axis=1),
        "balanced_accuracy": recalls.mean(axis=1),
        "cost": (costs * (n - right)).sum(axis=1) / len(labels),
    }
    return {name: value.reshape(predicted.shape[:-1])[()] for name, value in values.items()}


@dataclass(frozen=True)
class Entering:
    """Rows as the offset of class ``c`` rises: one after the other, in this order, leaves the class of its ``rival``
    and enters c.

    ``right`` and ``called`` (n,): rows that are right, and all that are decided for, of a rival's class once the row
    has left it; ``lost`` (n,): 1 where it was right there; ``gained`` (n + 1,): rows right in c once 0..n have entered.
    ``candidates``: how many rows have entered (those that are equal at once), between the offsets ``low`` and ``high``.
    """

    c: int
    rival: np.ndarray
    right: np.ndarray
    called: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    candidates: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(labels: np.ndarray, enters: np.ndarray, rival: np.ndarray, c: int, n: np.ndarray) -> Entering:
        """``enters`` (n,): the offset above which a row is decided for c."""
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
        low = np.append(-np.inf, enters[gaps - 1])  # offsets within (low, high]
        high = np.append(low[1:], np.inf)
        gained = np.append(0, np.cumsum(y == c))
        return Entering(c, rival, right, called, lost, gained, np.append(0, gaps), low, high)

    def best(self, current: float, worth: Callable[..., np.ndarray]) -> float:
        """The best offset; the ``current`` one where none is better by more than rounding."""
        after = worth(self.rival, self.right, self.called)
        before = worth(self.rival, self.right + self.lost, self.called + 1)
        gained = worth(self.c, self.gained, np.arange(len(self.gained)))
        values = (np.append(0, np.cumsum(after - before)) + gained)[self.candidates]
        best = values >= values.max() - SAME
        if best[np.searchsorted(self.high, current)]:
            return current
        low, high = self.low, self.high
        middle = (low + high) / 2
        at = np.where(middle > low, middle, high)
        at[0], at[-1] = high[0] - 1, low[-1] + 1
        at[(low < 0) & (high >= 0)] = 0
        return float(at[best][np.abs(at[best]).argmin()])


def _worth(
    objective: str, n: np.ndarray, costs: np.ndarray, k: np.ndarray | int, right: np.ndarray, called: np.ndarray
) -> np.ndarray:
    """What class ``k`` adds to an objective, higher is better, with ``right`` of the ``called`` rows decided for it;
    ``n``: rows of each class."""
    some = np.maximum(n, 1)[k]
    if objective == "f1":
        counts = np.array([0.0, 1.0]) if len(n) == 2 else (n > 0).astype(float)
        return counts[k] * 2 * right / np.maximum(n[k] + called, 1)
    if objective == "g_mean":
        return np.where(n[k] > 0, np.log(np.maximum(right / some, NEVER_RIGHT)), 0.0)
    if objective == "balanced_accuracy":
        return right / some
    return costs[k] * right
