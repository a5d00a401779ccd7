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

from imbalance_bench.alike import alike
from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import curves, probabilities
from imbalance_bench.plugins import in_own_code

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
    ranks = None if ranks is None else np.asarray(ranks)[None]
    slices = {name: rows[None] for name, rows in (slices or {}).items()}
    return evaluate_runs(labels[None], scores[None], class_names, kind, [minority], ranks, slices, own)[0]


def evaluate_runs(
    labels: np.ndarray,
    log_probs: np.ndarray,
    class_names: Sequence[str],
    kind: str,
    minority: Sequence[Sequence[int]],
    ranks: np.ndarray | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
    own: Mapping[str, OneVsRest] | None = None,
) -> list[list[dict[str, Any]]]:
    """``evaluate`` of R runs of n rows each: ``labels`` (R, n), ``log_probs`` and ``ranks`` (R, n, C), ``slices``
    (R, n), the ``minority`` of each run. A run has the numbers that it has alone, to the last digit: each sum goes over
    its own rows or classes, in their order."""
    scores = np.asarray(log_probs, dtype=np.float64)
    if kind == "regression":
        return [_regression(targets, predictions) for targets, predictions in zip(labels, scores)]
    _check_classification(labels, scores, class_names)
    classes = scores.shape[2]
    for few in set(map(tuple, minority)):
        if not set(few) < set(range(classes)):
            raise BenchError(f"minority classes {list(few)} must be some, and not all, of 0..{classes - 1}")
    predicted = scores.argmax(axis=2)
    if ranks is None:
        ranked = np.stack([ranking_scores(scores, c) for c in range(classes)], axis=1)
    else:
        ranked = ranks.swapaxes(1, 2)
    every = np.arange(classes)[:, None]
    of_class, called = labels[:, None] == every, predicted[:, None] == every  # (R, C, n), as ranked
    areas, positive = _areas(of_class, ranked)
    own = METRICS if own is None else own
    of_own = {name: _own_of_runs(name, function, of_class, called, ranked) for name, function in own.items()}
    right, confidence = predicted == labels, np.exp(scores.max(axis=2))
    masses, of_top = _masses(of_class, right, np.exp(scores.swapaxes(1, 2)), confidence)
    values = {**_one_vs_rest(of_class, called), **areas, **of_own, "ece_mass": masses}  # (R, C) each
    of_all = {
        "accuracy": right.mean(axis=1),
        "mcc": _correlations(of_class, called),
        "ece": probabilities.calibration_errors(right, confidence, probabilities.BINS),
        **probabilities.of_probabilities_of_runs(labels, scores, minority, of_top),
    }
    table = np.stack(list(values.values()), axis=2)
    means = _means_of_classes(table, values["recall"], list(values), minority)
    found = []
    for r, mine in enumerate(minority):
        rows = [dict(zip(values, row)) for row in table[r].tolist()]
        groups = {"positive": rows[1] | positive[r]} if classes == 2 else {}
        groups |= means[r]
        if mine and slices:
            cuts = {name: rows_of[r] for name, rows_of in slices.items()}
            groups |= _of_slices(labels[r], predicted[r], mine, cuts)
        groups |= {f"class:{name}": row for name, row in zip(class_names, rows)}
        groups["all"] = {name: float(of_runs[r]) for name, of_runs in of_all.items()}
        found.append(_rows(groups))
    return found


def _areas(of_class: np.ndarray, ranked: np.ndarray) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
    """The areas under curves of rankings (R, C, n), (R, C) each; and of two classes what else is said of the second
    one's curve, a run."""
    runs, classes, n = ranked.shape
    found = {name: np.empty(runs * classes) for name in ("auc_pr", "auc_roc")}
    positive: list[dict[str, float]] = [{}] * runs
    for at, tp, fp in curves.counts(of_class.reshape(-1, n), ranked.reshape(-1, n)):
        found["auc_pr"][at], found["auc_roc"][at] = curves.average_precision(tp, fp), curves.auc_roc(tp, fp)
        if classes == 2 and (second := at % 2 == 1).any():
            of_each = curves.summaries(tp[second], fp[second])
            for run, row in zip(at[second] // 2, np.stack(list(of_each.values()), axis=1).tolist()):
                positive[run] = dict(zip(of_each, row))
    return {name: area.reshape(runs, classes) for name, area in found.items()}, positive


def _correlations(of_class: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Matthews' correlation coefficient (R,) of labels and decisions (R, C, n), over several classes R_K (Gorodkin
    2004); 0 where either of them is constant."""
    n, right = of_class.shape[2], (of_class & called).sum(axis=(1, 2))
    there, said = of_class.sum(axis=2), called.sum(axis=2)
    spread = (n**2 - (there**2).sum(axis=1)) * (n**2 - (said**2).sum(axis=1)).astype(np.float64)
    return np.asarray((n * right - (there * said).sum(axis=1)) / np.sqrt(np.where(spread, spread, np.inf)))


def _masses(
    of_class: np.ndarray, right: np.ndarray, p: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``equal_mass_error`` of each class (R, C), nan of those without rows, and of the likeliest one (R,)."""
    events, of_events = np.concatenate([of_class, right[:, None]], 1), np.concatenate([p, confidence[:, None]], 1)
    rows = events.shape[2]
    found = probabilities.equal_mass_errors(events.reshape(-1, rows), of_events.reshape(-1, rows))
    found = found.reshape(events.shape[:2])
    return np.where(of_class.any(axis=2), found[:, :-1], np.nan), found[:, -1]


def _means_of_classes(
    table: np.ndarray, recall: np.ndarray, names: Sequence[str], minority: Sequence[Sequence[int]]
) -> list[dict[str, dict[str, float]]]:
    """Each run's groups of classes: means of the ``table`` (R, C, metrics)."""
    found = [{"macro": row} for row in _means_over(table, names)]
    for present, at in alike(map(tuple, (~np.isnan(recall)).tolist())):
        recalls = recall[at].compress(present, axis=1)
        g_mean, balanced = np.prod(recalls ** (1 / recalls.shape[1]), axis=1), recalls.mean(axis=1)
        for run, g, b in zip(at, g_mean.tolist(), balanced.tolist()):
            found[run]["macro"] |= {"g_mean": g, "balanced_accuracy": b}
    for few, at in alike(map(tuple, minority)):
        if few:
            many = [c for c in range(table.shape[1]) if c not in few]
            of_few, of_many = (_means_over(table[at][:, list(some)], names) for some in (few, many))
            for run, one, other in zip(at, of_few, of_many):
                found[run] |= {"minority": one, "majority": other}
    return found


def _of_slices(
    labels: np.ndarray, predicted: np.ndarray, minority: Sequence[int], slices: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """The minority rows of a run that lie in each slice, and in none."""
    rivals = ~np.isin(labels, minority)
    other = ~np.any(list(slices.values()), axis=0)
    found = {}
    for name, rows in {**slices, "other": other}.items():
        parts = [_of_part((labels == c) & rows, rivals, predicted == c) for c in minority]
        of_each = np.array([[list(part.values()) for part in parts]])
        (found[f"minority_{name}"],) = _means_over(of_each, list(parts[0]))
    return found


def ranking_scores(log_probs: np.ndarray, c: int) -> np.ndarray:
    """Scores (..., n) that order rows by the probability of class ``c`` without ties at either end, from
    log-probabilities (..., n, C).

    log p_c saturates at 0 in float32 although the other classes' log-probabilities still tell rows apart, so
    rows are ordered by the log-odds: log p1 - log p0 for two classes; for more, log p_c - log(1 - p_c), where
    1 - p_c is summed over the other classes only once p_c is near 1 (a sum's rounding would break true ties
    elsewhere).
    """
    log_probs = np.asarray(log_probs, dtype=np.float64)
    if log_probs.shape[-1] == 2:
        return np.asarray(log_probs[..., c] - log_probs[..., 1 - c])
    own = log_probs[..., c]
    not_own = np.log(-np.expm1(np.minimum(own, SATURATED)))
    near = own > SATURATED
    not_own[near] = np.logaddexp.reduce(np.delete(log_probs[near], c, axis=1), axis=1)
    return own - not_own


def average_precision(labels01: np.ndarray, scores: np.ndarray) -> float:
    """Average precision: Σ over thresholds of precision times gain in recall; tied scores are one threshold.

    ``labels01``: (n,), 1 or True for positives; ``scores``: (n,), higher is more positive. nan when there is
    no positive row or a score is nan.
    """
    return float(average_precisions(np.asarray(labels01, bool)[None], np.asarray(scores)[None])[0])


def average_precisions(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """``average_precision`` (k,) of each of k rankings: positive (k, n) bool, scores (k, n)."""
    found = np.empty(len(scores))
    for at, tp, fp in curves.counts(positive, scores):
        found[at] = curves.average_precision(tp, fp)
    undefined = np.isnan(scores)
    if undefined.any():
        found[undefined.any(axis=1)] = np.nan
    return found


def precision_recall_curve(labels01: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall (t + 1,) at every distinct score, by rising threshold, and the thresholds (t,).

    The last point is (precision 1, recall 0), which has no threshold; recall is nan without positive rows.
    """
    scores = np.asarray(scores)
    ((_, tp, fp),) = curves.counts(np.asarray(labels01, bool)[None], scores[None])
    precision, recall = curves.precision_recall(tp, fp)
    return precision[0], recall[0], np.unique(scores)


def roc_curve(labels01: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False- and true-positive rate (t + 1,) from (0, 0) on at every distinct score, by falling threshold; nan without
    rows of the kind that a rate is of."""
    ((_, tp, fp),) = curves.counts(np.asarray(labels01, bool)[None], np.asarray(scores)[None])
    fpr, tpr = (np.append(0, n) / n[-1] if n[-1] else np.full(len(n) + 1, np.nan) for n in (fp[0], tp[0]))
    return fpr, tpr


def _check_classification(labels: np.ndarray, scores: np.ndarray, class_names: Sequence[str]) -> None:
    """Of runs, labels (R, n) and scores (R, n, C); the first that is wrong is named."""
    classes = scores.shape[2]
    if classes < 2 or len(class_names) != classes:
        raise BenchError(f"cannot score {classes} columns of scores for {len(class_names)} classes")
    unknown = (labels < 0) | (labels >= classes) | (labels != labels.astype(np.int64))
    if unknown.any():
        mine = labels[unknown.any(axis=1).argmax()]
        raise BenchError(f"labels must be class indices 0..{classes - 1}, not {mine.min()}..{mine.max()}")
    with np.errstate(over="ignore"):
        sums = np.exp(scores).sum(axis=2)
    wrong = ~(np.abs(sums - 1) < 1e-3)  # written so that nan counts as wrong
    if wrong.any():
        run = int(wrong.any(axis=1).argmax())
        row = int(wrong[run].argmax())
        raise BenchError(
            f"scores are not log-probabilities: the probabilities of row {row} sum to {sums[run, row]:g}"
            f" ({int(wrong[run].sum())} of {sums.shape[1]} rows are wrong)"
        )


def _one_vs_rest(of_class: np.ndarray, called: np.ndarray) -> dict[str, np.ndarray]:
    """Of decisions, each class against the rest, (R, C) each: the rows of each class, and those decided for it, (R, C,
    n)."""
    positives, tp, all_called = of_class.sum(axis=2), (of_class & called).sum(axis=2), called.sum(axis=2)
    negatives, fp = of_class.shape[2] - positives, all_called - tp
    none = positives == 0
    recall = tp / np.where(none, np.nan, positives)
    specificity = 1 - fp / np.where(negatives == 0, np.nan, negatives)
    return {
        "precision": np.where(none, np.nan, tp / np.maximum(all_called, 1)),
        "recall": recall,
        "f1": 2 * tp / np.where(none, np.nan, positives + all_called),
        "specificity": specificity,
        "g_mean": np.sqrt(recall * specificity),
    }


def _own_of_runs(
    name: str, function: OneVsRest, of_class: np.ndarray, called: np.ndarray, ranked: np.ndarray
) -> np.ndarray:
    """A metric of the user's own, (R, C), of each class of each run, (R, C, n) each."""
    of_runs = zip(of_class, called, ranked)
    return np.array([[_own(name, function, *of_one) for of_one in zip(*of_run)] for of_run in of_runs])


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


def _means_over(table: np.ndarray, names: Sequence[str]) -> list[dict[str, float]]:
    """Each run's mean of each metric over the classes of ``table`` (R, C, metrics) in which it is defined."""
    values = np.ascontiguousarray(table.swapaxes(1, 2))
    means = np.add.reduce(values, axis=2) / values.shape[2]  # nan where any of them is
    for run, i in np.argwhere(np.isnan(means)).tolist():
        means[run, i] = _mean_of_defined(values[run, i].tolist())
    return [dict(zip(names, row)) for row in means.tolist()]


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
