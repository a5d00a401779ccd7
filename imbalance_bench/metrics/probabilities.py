"""How good probabilities are: log loss, Brier score, calibration errors; pure functions of saved predictions.

Log-probabilities are (n, C) of one run and (R, n, C) of R runs of equally many rows, labels (n,) and (R, n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from imbalance_bench.alike import alike

BINS = 15


def log_losses(labels: np.ndarray, log_probs: np.ndarray) -> np.ndarray:
    """Mean of -log p(label) in nats (R,), of labels (R, n) and log-probabilities (R, n, C); p is clipped to
    [eps, 1 - eps], float64's eps, as scikit-learn does."""
    eps = np.finfo(np.float64).eps
    own = np.take_along_axis(log_probs, labels[..., None], axis=2)[..., 0]
    return np.asarray(-np.minimum(np.maximum(own, math.log(eps)), math.log1p(-eps)).mean(axis=1))


def calibration_errors(right: np.ndarray, confidence: np.ndarray, bins: int) -> np.ndarray:
    """Expected calibration error (R,) of the top class (Guo et al. 2017, eq. 3).

    Σ_b (n_b / n) |accuracy_b - confidence_b| over ``bins`` bins of equal width, (lo, hi], of the top probability: of
    decisions that are ``right``, and their probabilities ``confidence``, (R, n) each.
    """
    runs, n = right.shape
    # rounding may push a probability just past 1: the clip keeps it in the last bin
    bin_of = np.clip(np.searchsorted(_edges(bins), confidence, side="left") - 1, 0, bins - 1)
    cell = bin_of + bins * np.arange(runs)[:, None]
    gap = np.bincount(cell.ravel(), weights=(right - confidence).ravel(), minlength=runs * bins)
    return np.asarray(np.abs(gap).reshape(runs, bins).sum(axis=1) / n)


def _squared_errors(labels: np.ndarray, log_probs: np.ndarray) -> np.ndarray:
    """(..., n) of labels (..., n) and log-probabilities (..., n, C)."""
    error = (np.exp(log_probs) - (labels[..., None] == np.arange(log_probs.shape[-1]))) ** 2
    return np.asarray(error[..., 1] if error.shape[-1] == 2 else error.sum(axis=-1))


def _mean_of_rows(each: np.ndarray) -> float:
    """nan without any."""
    return float(each.mean()) if len(each) else float("nan")


def reliability(events: np.ndarray, p: np.ndarray, bins: int = BINS) -> dict[str, np.ndarray]:
    """A reliability diagram: ``rows``, mean ``predicted`` probability and ``observed`` share of the ``events`` (n,) in
    each bin of probabilities ``p`` (n,). Bins are of equal mass, (lo, hi] between quantiles of p, so that equal
    probabilities are in one bin; bins without rows are left out."""
    rows, predicted, observed = (of_bin[0] for of_bin in _bins_of_equal_mass(events[None], p[None], bins))
    some = rows > 0
    return {
        "rows": rows[some],
        "predicted": predicted[some] / rows[some],
        "observed": observed[some] / rows[some],
    }


def equal_mass_error(events: np.ndarray, p: np.ndarray) -> float:
    """Expected calibration error of probabilities of events over bins of equal mass: Σ_b (n_b / n) |observed -
    predicted| (Nixon et al. 2019)."""
    return float(equal_mass_errors(events[None], p[None])[0])


def equal_mass_errors(events: np.ndarray, p: np.ndarray) -> np.ndarray:
    """``equal_mass_error`` (k,) of each row of events and their probabilities (k, n)."""
    rows, predicted, observed = _bins_of_equal_mass(events, p, BINS)
    n = np.maximum(rows, 1)
    each, found = rows * np.abs(observed / n - predicted / n), np.empty(len(rows))
    for some, at in alike(map(tuple, (rows > 0).tolist())):
        found[at] = each[at].compress(some, axis=1).sum(axis=1) / p.shape[1]
    return found


@cache
def _edges(bins: int) -> np.ndarray:
    return np.linspace(0, 1, bins + 1)


def _bins_of_equal_mass(events: np.ndarray, p: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, sums of probabilities, and events in each bin (k, bins) of each row of probabilities ``p`` (k, n)."""
    k, n = p.shape
    # As np.quantile has them, to the last digit, at a fraction of its time for few rows.
    at = _edges(bins)[1:-1] * (n - 1)
    below, ordered = at.astype(np.int64), np.sort(p, axis=1)
    t, low, high = at - below, ordered[:, below], ordered[:, np.minimum(below + 1, n - 1)]
    edges = np.where(t < 0.5, low + (high - low) * t, high - (high - low) * (1 - t))
    bin_of = np.concatenate([i * bins + np.searchsorted(edges[i], p[i], side="left") for i in range(k)])
    sums = (np.bincount(bin_of, weights, k * bins) for weights in (None, p.ravel(), events.ravel()))
    rows, predicted, observed = (each.reshape(k, bins) for each in sums)
    return rows, predicted, observed


def of_probabilities(labels: np.ndarray, log_probs: np.ndarray, minority: Sequence[int]) -> dict[str, float]:
    """Scores of log-probabilities (n, C) as such.

    ``brier``: mean squared error of the probabilities (Brier 1950), (p1 - y)² of two classes, its sum over several;
    ``brier_minority``: over the rows of the ``minority`` classes, of two classes the positive one, only (Wallace &
    Dahabreh 2012), nan without any; ``log_loss`` as ``log_losses``; ``ece_mass``: ``equal_mass_error`` of the likeliest
    class.
    """
    top = equal_mass_error(log_probs.argmax(axis=1) == labels, np.exp(log_probs.max(axis=1)))
    scores = np.asarray(log_probs, dtype=np.float64)[None]
    found = of_probabilities_of_runs(labels[None], scores, [minority], np.array([top]))
    return {name: float(of_run[0]) for name, of_run in found.items()}


def of_probabilities_of_runs(
    labels: np.ndarray, log_probs: np.ndarray, minority: Sequence[Sequence[int]], ece_mass: np.ndarray
) -> dict[str, np.ndarray]:
    """(R,) each, of labels (R, n) and log-probabilities (R, n, C)."""
    rare: Sequence[Sequence[int]] = [[1]] * len(labels) if log_probs.shape[2] == 2 else minority
    errors = _squared_errors(labels, log_probs)
    mine = [(of_run == np.reshape(few, (-1, 1))).any(axis=0) for of_run, few in zip(labels, rare)]
    return {
        "brier": errors.mean(axis=1),
        "brier_minority": np.array([_mean_of_rows(each[rows]) for each, rows in zip(errors, mine)]),
        "log_loss": log_losses(labels, log_probs),
        "ece_mass": ece_mass,
    }
