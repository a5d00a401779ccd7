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
    rare = [1] if classes == 2 else list(minority)
    return np.where(np.isin(np.arange(classes), rare), cost, 1.0)


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
    scores = np.maximum(np.asarray(log_probs, np.float64), LOWEST)
    classes = scores.shape[1]
    present = np.unique(labels)
    if len(present) < 2:
        return None
    shifted, found = scores.copy(), np.zeros(classes)
    for _ in range(PASSES if classes > 2 else 1):
        before = found.copy()
        for c in present.tolist() if classes > 2 else [1]:
            shifted[:, c] = -np.inf  # the class of which the offset is sought, among its rivals
            found[c] = _best(labels, scores[:, c], shifted, c, found[c], partial(_worth, objective, labels, costs))
            shifted[:, c] = scores[:, c] + found[c]
        if (found == before).all():
            break
    return found


def decide(log_probs: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    """The classes (n,) that offsets (C,) decide for."""
    return (np.maximum(np.asarray(log_probs, np.float64), LOWEST) + tuned).argmax(axis=1)


def as_threshold(tuned: np.ndarray) -> float:
    """The probability of class 1, of two, above which offsets decide for it."""
    return float(1 / (1 + np.exp(tuned[1] - tuned[0])))


def of_decisions(labels: np.ndarray, predicted: np.ndarray, costs: np.ndarray) -> dict[str, float]:
    """F1 (of class 1 of two; the mean over classes of several), G-mean (the geometric mean of recalls), balanced
    accuracy and mean cost a row of decisions (n,). Classes without rows do not count; F1 of class 1 is then nan."""
    classes = len(costs)
    n, right, called = (
        np.bincount(rows, minlength=classes) for rows in (labels, labels[labels == predicted], predicted)
    )
    some = n > 0
    recalls = right[some] / n[some]
    f1 = np.divide(2 * right, n + called, where=some, out=np.full(classes, np.nan))
    return {
        "f1": float(f1[1] if classes == 2 else f1[some].mean()),
        "g_mean": float(np.prod(recalls ** (1 / len(recalls)))),
        "balanced_accuracy": float(recalls.mean()),
        "cost": float((costs * (n - right)).sum() / len(labels)),
    }


def _best(
    labels: np.ndarray, own: np.ndarray, rivals: np.ndarray, c: int, current: float, worth: Callable[..., np.ndarray]
) -> float:
    """The best offset of class ``c``, whose log-probabilities are ``own`` (n,), against ``rivals`` (n, C), those of the
    others with their offsets; the ``current`` one where none is better by more than rounding."""
    rival = rivals.argmax(axis=1)
    enters = rivals[np.arange(len(labels)), rival] - own  # the offset above which a row is decided for c
    order = np.argsort(enters, kind="stable")
    enters, y, rival = enters[order], labels[order], rival[order]

    # As the offset rises, one row after the other leaves its rival's class: hits and sizes of both after each row.
    classes, of_rival = rivals.shape[1], rival == y
    right, called = np.bincount(rival[of_rival], minlength=classes), np.bincount(rival, minlength=classes)
    left, lost = _within(rival, np.ones(len(y), np.int64)), _within(rival, of_rival.astype(np.int64))
    after = worth(rival, right[rival] - lost, called[rival] - left)
    before = worth(rival, right[rival] - lost + of_rival, called[rival] - left + 1)
    gained = worth(c, np.append(0, np.cumsum(y == c)), np.arange(len(y) + 1))
    values = np.append(0, np.cumsum(after - before)) + gained

    gaps = np.flatnonzero(np.append(enters[1:] != enters[:-1], True)) + 1  # how many rows have entered, ties at once
    candidates = np.append(0, gaps)
    low = np.append(-np.inf, enters[gaps - 1])  # offsets within (low, high]
    high = np.append(enters[np.append(0, gaps[:-1])], np.inf)
    middle = (low + high) / 2
    at = np.where(middle > low, middle, high)
    at[0], at[-1] = high[0] - 1, low[-1] + 1
    at[(low < 0) & (high >= 0)] = 0
    values = values[candidates]
    best = values >= values.max() - SAME
    if best[np.searchsorted(high, current)]:
        return current
    return float(at[best][np.abs(at[best]).argmin()])


def _within(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Running sums of ``values`` (n,) within each of the ``groups`` (n,)."""
    order = np.argsort(groups, kind="stable")
    sums = np.cumsum(values[order])
    first = np.flatnonzero(np.append(True, np.diff(groups[order]) != 0))
    start = np.repeat(sums[first] - values[order][first], np.diff(np.append(first, len(groups))))
    found = np.empty(len(groups), np.int64)
    found[order] = sums - start
    return found


def _worth(
    objective: str, labels: np.ndarray, costs: np.ndarray, k: np.ndarray | int, right: np.ndarray, called: np.ndarray
) -> np.ndarray:
    """What class ``k`` adds to an objective, higher is better, with ``right`` of the ``called`` rows decided for it."""
    n = np.bincount(labels, minlength=len(costs))
    some = np.maximum(n[k], 1)
    if objective == "f1":
        counts = np.array([0.0, 1.0]) if len(n) == 2 else (n > 0).astype(float)
        return counts[k] * 2 * right / np.maximum(n[k] + called, 1)
    if objective == "g_mean":
        return np.where(n[k] > 0, np.log(np.maximum(right / some, NEVER_RIGHT)), 0.0)
    if objective == "balanced_accuracy":
        return right / some
    return costs[k] * right
