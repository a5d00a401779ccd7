"""Predictions → numbers: pure functions of saved predictions (numpy only): a new metric is a re-score.

Scores are log-probabilities (n, C); the decision is the class of highest log-probability, the first one on a
tie (binary: class 1 when p1 > 0.5). Of two classes, class 1 is the positive, rarer one.

Degenerate test parts give a documented value and never an error:

* a class without test rows has nan for precision, recall, f1, g_mean, auc_pr, auc_roc and ece_mass; macro values,
  balanced accuracy and the G-mean are then taken over the classes that do have rows (so is scikit-learn's balanced
  accuracy);
* auc_roc, specificity and so g_mean of a class are nan when no row belongs to another class;
* precision of a class that is present but never predicted is 0, and so is its f1 (as with scikit-learn's
  ``zero_division=0``);
* scores that are all equal are one threshold: auc_pr is the share of positives, auc_roc is 0.5;
* a metric of a user's own is nan for a class without test rows; where it gives nan, it is not defined.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.plugins import in_own_code

RECALL_LEVELS = (0.75, 0.5, 0.25)
CALIBRATION_BINS = 15
# Above this log-probability 1 - p is read off the other classes: float32 log p has too few digits near 0.
SATURATED = -1e-4

# A class against the rest: positive (n,) bool, the rows of the class; predicted (n,) bool, those decided for it;
# scores (n,), higher is more positive. One number, higher is better; nan where it is not defined.
OneVsRest = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
METRICS: dict[str, OneVsRest] = {}  # those of users' own, by name


class MetricFailed(BenchError):
    """A metric of a user's own raised, or gave no number; ``name`` says which."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"metric {name} {what}")
        self.name = name


def metric(name: str) -> Callable[[OneVsRest], OneVsRest]:
    """Decorates a metric of a user's own, ``function(positive, predicted, scores)`` as in ``OneVsRest``: it is computed
    beside the others for every class, and so for the groups of classes (but for slices).

    Raises:
        BenchError: the name is taken or none, or what it decorates is no function of three arguments.
    """
    if not isinstance(name, str):
        raise BenchError('a metric has a name: write @metric("my_metric") above the function')
    if name in built_in():
        raise BenchError(f"a metric {name} exists already: give yours another name")
    if not name.isidentifier() or name.endswith("_pct"):
        raise BenchError(f"metric {name!r}: a name is of letters, digits and _, and does not end with _pct (100 times)")

    def register(function: OneVsRest) -> OneVsRest:
        if not inspect.isfunction(function):
            raise BenchError(f"metric {name} is a function, and not a {type(function).__name__}")
        known = METRICS.get(name, function)
        if (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise BenchError(f"metric {name} is registered twice: {known.__module__} and {function.__module__}")
        try:
            inspect.signature(function).bind(*[None] * 3)
        except TypeError as error:
            raise BenchError(
                f"metric {name} takes three arrays, (positive, predicted, scores); {function.__qualname__}"
                f"{inspect.signature(function)} does not"
            ) from error
        METRICS[name] = function
        return function

    return register


def evaluate(
    labels: np.ndarray,
    log_probs: np.ndarray,
    class_names: Sequence[str],
    kind: str = "classification",
    minority: Sequence[int] = (),
    ranks: np.ndarray | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
    own: Mapping[str, OneVsRest] | None = None,
) -> list[dict[str, Any]]:
    """All metrics of one run's predictions.

    Args:
        labels: (n,) class indices 0..C-1; targets for regression.
        log_probs: (n, C) log-probabilities, -inf allowed; regression: predictions (n, 1).
        class_names: C names, used in the group ``class:<name>``.
        kind: ``classification`` or ``regression``.
        minority: the minority classes of this run.
        ranks: (n, C), what each class ranks rows by in areas under curves; None: ``ranking_scores`` of the
            log-probabilities.
        slices: name → (n,) bool, rows whose minority is scored apart.
        own: metrics of the user's own; None: all of ``METRICS``.

    Returns:
        One ``{"class_group", "metric", "value"}`` a number. Groups: ``positive`` (two classes only: class 1),
        ``macro`` (mean over classes, each against the rest; but ``g_mean``: the geometric mean of all recalls),
        ``minority`` and ``majority`` (the same mean over these classes; so F1 is a mean of F1s, not that of mean
        precision and recall; absent without minority classes), ``minority_<slice>`` and
        ``minority_other`` (F1 and recall of the minority rows in a slice, and in none, against all majority rows, the
        mean over the minority classes; absent without slices), ``class:<name>``, and ``all`` (what belongs to no
        class: accuracy, log loss, calibration, errors).

    Raises:
        BenchError: no rows, shapes that do not fit, labels out of range, no log-probabilities.
        MetricFailed: a metric of the user's own raised, or gave no number.
    """
    labels, scores = np.asarray(labels), np.asarray(log_probs, dtype=np.float64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise BenchError(f"cannot score predictions {scores.shape} against labels {labels.shape}")
    if kind == "regression":
        return _regression(labels, scores)
    _check_classification(labels, scores, class_names)

    classes = scores.shape[1]
    if not set(minority) < set(range(classes)):
        raise BenchError(f"minority classes {list(minority)} must be some, and not all, of 0..{classes - 1}")
    predicted = scores.argmax(axis=1)
    ranked = [ranking_scores(scores, c) for c in range(classes)] if ranks is None else list(np.asarray(ranks).T)
    own = METRICS if own is None else own
    of_class = labels == np.arange(classes)[:, None]
    counts = [_counts(positive, scores_of) for positive, scores_of in zip(of_class, ranked)]
    table = [_one_vs_rest(of_class[c], predicted == c, ranked[c], counts[c], own) for c in range(classes)]
    events, p = [*of_class, predicted == labels], [*np.exp(scores.T), np.exp(scores.max(axis=1))]
    *of_classes, of_top = _equal_mass_errors(np.stack(events), np.stack(p))
    for row, error, positive in zip(table, of_classes, of_class):
        row["ece_mass"] = error if positive.any() else float("nan")
    groups: dict[str, dict[str, float]] = {}
    if classes == 2:
        groups["positive"] = table[1] | _curve_summaries(*counts[1])
    recalls = np.array([row["recall"] for row in table])
    recalls = recalls[~np.isnan(recalls)]
    groups["macro"] = _mean_over(table)
    groups["macro"]["g_mean"] = float(np.prod(recalls ** (1 / len(recalls))))
    groups["macro"]["balanced_accuracy"] = float(recalls.mean())
    if minority:
        groups["minority"] = _mean_over([table[c] for c in minority])
        groups["majority"] = _mean_over([table[c] for c in range(classes) if c not in minority])
    if minority and slices:
        rivals = ~np.isin(labels, minority)
        other = ~np.any(list(slices.values()), axis=0)
        for name, rows in {**slices, "other": other}.items():
            parts = [_of_part((labels == c) & rows, rivals, predicted == c) for c in minority]
            groups[f"minority_{name}"] = _mean_over(parts)
    for name, row in zip(class_names, table):
        groups[f"class:{name}"] = row
    groups["all"] = {
        "accuracy": float(np.mean(predicted == labels)),
        "ece": expected_calibration_error(labels, scores),
        **_of_probabilities(labels, scores, minority, of_top),
    }
    return _rows(groups)


def ranking_scores(log_probs: np.ndarray, c: int) -> np.ndarray:
    """Scores (n,) that order rows by the probability of class ``c`` without ties at either end.

    log p_c saturates at 0 in float32 although the other classes' log-probabilities still tell rows apart, so
    rows are ordered by the log-odds: log p1 - log p0 for two classes; for more, log p_c - log(1 - p_c), where
    1 - p_c is summed over the other classes only once p_c is near 1 (a sum's rounding would break true ties
    elsewhere).
    """
    log_probs = np.asarray(log_probs, dtype=np.float64)
    if log_probs.shape[1] == 2:
        return log_probs[:, c] - log_probs[:, 1 - c]
    own = log_probs[:, c]
    not_own = np.log(-np.expm1(np.minimum(own, SATURATED)))
    near = own > SATURATED
    not_own[near] = np.logaddexp.reduce(np.delete(log_probs[near], c, axis=1), axis=1)
    return own - not_own


def average_precision(labels01: np.ndarray, scores: np.ndarray) -> float:
    """Average precision: Σ over thresholds of precision times gain in recall; tied scores are one threshold.

    ``labels01``: (n,), 1 or True for positives; ``scores``: (n,), higher is more positive. nan when there is
    no positive row or a score is nan.
    """
    scores = np.asarray(scores)
    if np.isnan(scores).any():
        return float("nan")
    return _average_precision(*_counts(labels01, scores))


def precision_recall_curve(labels01: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall (t + 1,) at every distinct score, by rising threshold, and the thresholds (t,).

    The last point is (precision 1, recall 0), which has no threshold; recall is nan without positive rows.
    """
    scores = np.asarray(scores)
    return *_precision_recall(*_counts(labels01, scores)), np.unique(scores)


def log_loss(labels: np.ndarray, log_probs: np.ndarray) -> float:
    """Mean of -log p(label) in nats; p clipped to [eps, 1 - eps], float64's eps, as scikit-learn does."""
    eps = np.finfo(np.float64).eps
    own = np.asarray(log_probs, dtype=np.float64)[np.arange(len(labels)), labels]
    return float(-np.minimum(np.maximum(own, math.log(eps)), math.log1p(-eps)).mean())


def expected_calibration_error(labels: np.ndarray, log_probs: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error of the top class (Guo et al. 2017, eq. 3).

    Σ_b (n_b / n) |accuracy_b - confidence_b| over ``bins`` bins of equal width, (lo, hi], of the top
    probability.
    """
    log_probs = np.asarray(log_probs, dtype=np.float64)
    confidence = np.exp(log_probs.max(axis=1))
    correct = log_probs.argmax(axis=1) == labels
    edges = _edges(bins)
    # rounding may push a probability just past 1: the clip keeps it in the last bin
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def brier_score(labels: np.ndarray, log_probs: np.ndarray, minority: Sequence[int] | None = None) -> float:
    """Mean squared error of the probabilities (Brier 1950): (p1 - y)² of two classes, its sum over several.

    ``minority``: over the rows of these classes only (Wallace & Dahabreh 2012, of the positive class), nan without any.
    """
    return _mean_of_rows(_squared_errors(labels, log_probs), labels, minority)


def _squared_errors(labels: np.ndarray, log_probs: np.ndarray) -> np.ndarray:
    error = (np.exp(log_probs) - (labels[:, None] == np.arange(log_probs.shape[1]))) ** 2
    return error[:, 1] if error.shape[1] == 2 else error.sum(axis=1)


def _mean_of_rows(each: np.ndarray, labels: np.ndarray, classes: Sequence[int] | None) -> float:
    """The mean over the rows of some classes, None for all; nan without any."""
    if classes is not None:
        each = each[(labels == np.reshape(classes, (-1, 1))).any(axis=0)]
    return float(each.mean()) if len(each) else float("nan")


def reliability(events: np.ndarray, p: np.ndarray, bins: int = CALIBRATION_BINS) -> dict[str, np.ndarray]:
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
    return _equal_mass_errors(events[None], p[None])[0]


def _equal_mass_errors(events: np.ndarray, p: np.ndarray) -> list[float]:
    """``equal_mass_error`` of each row of events and their probabilities (k, n)."""
    rows, predicted, observed = _bins_of_equal_mass(events, p, CALIBRATION_BINS)
    n = np.maximum(rows, 1)
    each = rows * np.abs(observed / n - predicted / n)
    return [float(error[some].sum() / p.shape[1]) for error, some in zip(each, rows > 0)]


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
    """What is said of log-probabilities (n, C) as such: ``brier``, ``brier_minority`` (the positive class of two),
    ``log_loss``, ``ece_mass`` (``equal_mass_error`` of the likeliest class)."""
    top = equal_mass_error(log_probs.argmax(axis=1) == labels, np.exp(log_probs.max(axis=1)))
    return _of_probabilities(labels, log_probs, minority, top)


def _of_probabilities(
    labels: np.ndarray, log_probs: np.ndarray, minority: Sequence[int], ece_mass: float
) -> dict[str, float]:
    rare = [1] if log_probs.shape[1] == 2 else minority
    errors = _squared_errors(labels, log_probs)
    return {
        "brier": _mean_of_rows(errors, labels, None),
        "brier_minority": _mean_of_rows(errors, labels, rare),
        "log_loss": log_loss(labels, log_probs),
        "ece_mass": ece_mass,
    }


def _check_classification(labels: np.ndarray, scores: np.ndarray, class_names: Sequence[str]) -> None:
    classes = scores.shape[1]
    if classes < 2 or len(class_names) != classes:
        raise BenchError(f"cannot score {classes} columns of scores for {len(class_names)} classes")
    if labels.min() < 0 or labels.max() >= classes or (labels != labels.astype(np.int64)).any():
        raise BenchError(f"labels must be class indices 0..{classes - 1}, not {labels.min()}..{labels.max()}")
    with np.errstate(over="ignore"):
        sums = np.exp(scores).sum(axis=1)
    wrong = ~(np.abs(sums - 1) < 1e-3)  # written so that nan counts as wrong
    if wrong.any():
        row = int(wrong.argmax())
        raise BenchError(
            f"scores are not log-probabilities: the probabilities of row {row} sum to {sums[row]:g}"
            f" ({int(wrong.sum())} of {len(sums)} rows are wrong)"
        )


def _counts(labels01: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives (t,), cumulative, at each distinct score from the highest to the lowest."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_tie = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    tp = np.cumsum(np.asarray(labels01, dtype=bool)[order], dtype=np.int64)[last_of_tie]
    return tp, last_of_tie + 1 - tp


def _precision_recall(tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    recall = tp / tp[-1] if tp[-1] else np.full(len(tp), np.nan)
    return np.append((tp / (tp + fp))[::-1], 1.0), np.append(recall[::-1], 0.0)


def _average_precision(tp: np.ndarray, fp: np.ndarray) -> float:
    if not tp[-1]:
        return float("nan")
    gained = tp - _before(tp)
    return float(np.sum(gained * (tp / (tp + fp))) / tp[-1])


def _auc_roc(tp: np.ndarray, fp: np.ndarray) -> float:
    if not tp[-1] or not fp[-1]:
        return float("nan")
    widths, heights = fp - _before(fp), tp + _before(tp)
    return float(np.sum(widths * heights) / (2 * tp[-1] * fp[-1]))


def _before(counts: np.ndarray) -> np.ndarray:
    """Cumulative counts one threshold earlier."""
    return np.concatenate([[0], counts[:-1]])


def _one_vs_rest(
    positive: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    counts: tuple[np.ndarray, np.ndarray],
    own: Mapping[str, OneVsRest],
) -> dict[str, float]:
    """Of a class; ``counts``: ``_counts`` of its rows and scores."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    tp, fp = int((positive & predicted).sum()), int((~positive & predicted).sum())
    nan = float("nan")
    recall = tp / n_positive if n_positive else nan
    specificity = 1 - fp / n_negative if n_negative else nan
    return {
        "precision": (tp / (tp + fp) if tp else 0.0) if n_positive else nan,
        "recall": recall,
        "f1": 2 * tp / (n_positive + tp + fp) if n_positive else nan,
        "specificity": specificity,
        "g_mean": math.sqrt(recall * specificity),
        "auc_pr": _average_precision(*counts),
        "auc_roc": _auc_roc(*counts),
    } | {name: _own(name, function, positive, predicted, scores) for name, function in own.items()}


def _own(name: str, function: OneVsRest, positive: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> float:
    if not positive.any():
        return float("nan")
    try:
        value: Any = function(positive.copy(), predicted.copy(), scores.copy())  # whatever it does to them
    except Exception as error:
        raise MetricFailed(name, f"failed: {in_own_code(error, [function.__module__])}") from error
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, int | float):
        what = f"{type(value).__name__} {np.shape(value)}" if isinstance(value, np.ndarray) else repr(value)
        raise MetricFailed(name, f"gives one number (nan where it is not defined), and not {what}")
    return float(value)


@cache
def built_in() -> set[str]:
    """The names of the metrics that are here."""
    half = np.log(np.full((2, 2), 0.5))
    groups = evaluate(np.arange(2), half, ("no", "yes"), own={})
    return {row["metric"] for row in [*groups, *_regression(np.zeros(1), np.zeros((1, 1)))]}


def _of_part(positive: np.ndarray, negative: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """F1 and recall of some of a class's rows against some others; nan without rows."""
    n, tp, fp = int(positive.sum()), int((positive & predicted).sum()), int((negative & predicted).sum())
    return {"f1": 2 * tp / (n + tp + fp), "recall": tp / n} if n else {"f1": float("nan"), "recall": float("nan")}


def _curve_summaries(tp: np.ndarray, fp: np.ndarray) -> dict[str, float]:
    """Of the precision-recall curve: its area by trapezoids, and the highest precision at recall ≥ r."""
    precision, recall = _precision_recall(tp, fp)
    area = float(np.sum((recall[:-1] - recall[1:]) * (precision[:-1] + precision[1:]) / 2))
    reached = {r: precision[recall >= r] for r in RECALL_LEVELS}
    return {"auc_pr_trapezoid": area} | {
        f"ap_at_{r:g}": float(p.max()) if len(p) else float("nan") for r, p in reached.items()
    }


def _mean_over(table: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each metric's mean over the classes (rows of ``table``) in which it is defined."""
    values = np.array([list(row.values()) for row in table]).T.copy()
    means = np.add.reduce(values, axis=1) / len(table)  # nan where any of them is
    return {
        metric: _mean_of_defined(of_metric.tolist()) if math.isnan(mean) else mean
        for metric, mean, of_metric in zip(table[0], means.tolist(), values)
    }


def _mean_of_defined(values: Sequence[float]) -> float:
    defined = [v for v in values if not math.isnan(v)]
    return float(np.add.reduce(defined) / len(defined)) if defined else float("nan")  # np.mean, at a third of its time


def _regression(targets: np.ndarray, predictions: np.ndarray) -> list[dict[str, Any]]:
    if predictions.shape[1] != 1 or not (np.isfinite(predictions).all() and np.isfinite(targets).all()):
        raise BenchError(f"cannot score predictions {predictions.shape}: regression needs one finite column")
    error = predictions[:, 0] - targets
    return _rows({"all": {"mse": float(np.mean(error**2)), "mae": float(np.mean(np.abs(error)))}})


def _rows(groups: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    return [
        {"class_group": group, "metric": metric, "value": value}
        for group, metrics in groups.items()
        for metric, value in metrics.items()
    ]
