"""Probabilities calibrated on validation rows: pure functions of saved predictions (numpy; scikit-learn's isotonic).

Each kind gives log-probabilities q of log-probabilities s (n, C), with parameters from the validation rows of the run,
n_c of class c:

* ``temperature``: q = log softmax(β s), β > 0 of the highest likelihood (Guo et al. 2017, Section 4.2; β = 1 / T);
* ``platt``: two classes: q₁ = log σ(a z + b) of the log-odds z, with Platt's targets (n₁ + 1) / (n₁ + 2) and
  1 / (n₀ + 2) in place of 1 and 0 (Platt 1999); several: each against the rest, then divided by their sum;
* ``isotonic``: the same with the rising step function of z that has the least squared error (Zadrozny & Elkan 2002);
* ``prior``: q = log softmax(s + b) with the b for which the mean probability of each class is its share of the
  validation rows, (n_c + 1) / (n + C): what a change of the class shares alone does to probabilities, as resampling and
  class weights in training change them (Saerens et al. 2002).

Log-probabilities below ``FLOOR`` are taken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

KINDS = ("temperature", "platt", "isotonic", "prior")
FLOOR = float(np.log(np.finfo(np.float64).eps))
LARGEST = 10.0  # |log β|, as in scikit-learn
HALVINGS = 45
STEPS = 100
SMALL = 1e-10

Calibration = Callable[[np.ndarray], np.ndarray]  # log-probabilities (n, C) → calibrated ones


def fitted(kind: str, labels: np.ndarray, log_probs: np.ndarray) -> Calibration | None:
    """The calibration of one of ``KINDS`` that these rows give; labels (n,), log-probabilities (n, C). None where all
    rows are of one class, of which the probability would become 1."""
    if len(np.unique(labels)) < 2:
        return None
    scores = _floored(log_probs)
    if kind == "temperature":
        beta = _temperature(labels, scores)
        return lambda new: _normalised(beta * _floored(new))
    if kind == "prior":
        shift = _prior(labels, scores)
        return lambda new: _normalised(_floored(new) + shift)
    fit = {"platt": _platt, "isotonic": _isotonic}[kind]
    classes = scores.shape[1]
    each = [fit(_odds(scores, c), labels == c) for c in ([1] if classes == 2 else range(classes))]
    return partial(_of_each, each)


def _of_each(each: list[Calibration], new: np.ndarray) -> np.ndarray:
    """Log-probabilities of the positive of two classes, or of each of several against the rest (uniform where all are
    0)."""
    scores = _floored(new)
    if len(each) == 1:
        p = each[0](_odds(scores, 1))
        found = np.stack([1 - p, p], axis=1)
    else:
        found = np.stack([one(_odds(scores, c)) for c, one in enumerate(each)], axis=1)
        total = found.sum(axis=1, keepdims=True)
        found = np.divide(found, total, where=total > 0, out=np.full_like(found, 1 / len(each)))
    with np.errstate(divide="ignore"):
        return np.log(found)


def _floored(log_probs: np.ndarray) -> np.ndarray:
    return np.maximum(np.asarray(log_probs, np.float64), FLOOR)


def _odds(scores: np.ndarray, c: int) -> np.ndarray:
    """Log-odds (n,) of class ``c`` against the rest."""
    return np.asarray(scores[:, c] - np.logaddexp.reduce(np.delete(scores, c, axis=1), axis=1))


def _normalised(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits, axis=1)[:, None]


def _temperature(labels: np.ndarray, scores: np.ndarray) -> float:
    """β: where the slope of the negative log-likelihood, which rises with β, changes its sign."""
    own = scores[np.arange(len(labels)), labels]
    low, high = -LARGEST, LARGEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        p = np.exp(_normalised(np.exp(middle) * scores))
        if ((p * scores).sum(axis=1) - own).sum() < 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _platt(odds: np.ndarray, positive: np.ndarray) -> Calibration:
    n = np.array([(~positive).sum(), positive.sum()])
    target = np.where(positive, (n[1] + 1) / (n[1] + 2), 1 / (n[0] + 2))
    x = np.stack([odds, np.ones(len(odds))], axis=1)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        z = x @ w
        p = _sigmoid(z)
        value = float((np.logaddexp(0, z) - target * z).sum())
        return value, x.T @ (p - target), (x * (p * (1 - p))[:, None]).T @ x

    a, b = _minimum(loss, np.array([0.0, np.log((n[1] + 1) / (n[0] + 1))]))
    return lambda new: _sigmoid(a * new + b)


def _isotonic(odds: np.ndarray, positive: np.ndarray) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(odds, positive.astype(np.float64))
    return lambda new: np.asarray(steps.predict(new))


def _prior(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    n, classes = scores.shape
    share = (np.bincount(labels, minlength=classes) + 1) / (n + classes)

    def loss(b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        moved = scores + np.append(0, b)
        total = np.logaddexp.reduce(moved, axis=1)
        p = np.exp(moved - total[:, None])[:, 1:]
        mean = p.mean(axis=0)
        return float(total.mean() - share[1:] @ b), mean - share[1:], np.diag(mean) - p.T @ p / n

    return np.append(0, _minimum(loss, np.zeros(classes - 1)))


def _minimum(loss: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Where a convex function (its value, slope and curvature) is least: Newton's steps, halved until it falls."""
    for _ in range(STEPS):
        value, slope, curvature = loss(x)
        ridge = SMALL * (1 + np.trace(curvature))  # saturated rows have no curvature
        step = np.linalg.solve(curvature + ridge * np.eye(len(x)), slope)
        gain = float(slope @ step)
        if gain < SMALL * (SMALL + abs(value)):  # one step more is exact to the last digits
            return x - step
        size = 1.0
        while loss(x - size * step)[0] > value - 1e-4 * size * gain:
            size /= 2
            if size < SMALL:
                return x
        x = x - size * step
    return x


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -z))
