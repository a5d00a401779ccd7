"""Areas under curves of many rankings at once: numpy only, (k, ...) where one ranking alone has (...).

Each ranking has the numbers that it has alone, to the last digit: rankings of equally many thresholds are one array,
and each sum goes over its own thresholds, from the highest score to the lowest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from imbalance_bench.alike import alike

RECALL_LEVELS = (0.75, 0.5, 0.25)
AT_ONCE = 1 << 20  # scores that are ranked at once


def counts(positive: np.ndarray, scores: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """True and false positives, cumulative, at each distinct score from the highest to the lowest.

    Args:
        positive: (k, n) bool.
        scores: (k, n), higher is more positive.

    Yields:
        The places (m,) of rankings with t distinct scores each, and their true and false positives, (m, t) each.
    """
    n = scores.shape[1]
    some = max(AT_ONCE // n, 1)
    for start in range(0, len(scores), some):
        mine, of_mine = scores[start : start + some], positive[start : start + some]
        k = len(mine)
        order = np.argsort(-mine, axis=1, kind="stable") + n * np.arange(k)[:, None]
        ranked, hits = mine.ravel()[order], of_mine.ravel()[order].cumsum(axis=1, dtype=np.int64)
        tied = ranked[:, 1:] == ranked[:, :-1]
        if not tied.any():
            yield np.arange(start, start + k), hits, np.arange(1, n + 1) - hits
            continue
        last_of_tie = np.ones((k, n), bool)
        np.logical_not(tied, out=last_of_tie[:, :-1])
        for t, at in alike(last_of_tie.sum(axis=1).tolist()):
            row, last = np.nonzero(last_of_tie[at])
            tp = hits[np.array(at)[row], last].reshape(-1, t)
            yield np.array(at) + start, tp, last.reshape(-1, t) + 1 - tp


def precision_recall(tp: np.ndarray, fp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (k, t + 1) by rising threshold, with (1, 0) at the end; recall is nan without positives."""
    ends = np.ones((len(tp), 1))
    precision, recall = tp / (tp + fp), _share(tp, tp[:, -1:])
    return np.concatenate([precision[:, ::-1], ends], axis=1), np.concatenate([recall[:, ::-1], 0 * ends], axis=1)


def average_precision(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """(k,): Σ over thresholds of precision times gain in recall; nan without positives."""
    gained = tp - _before(tp)
    return _share(np.sum(gained * (tp / (tp + fp)), axis=1), tp[:, -1])


def auc_roc(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """(k,): the area under the receiver operating characteristic; nan without positives or without negatives."""
    widths, heights = fp - _before(fp), tp + _before(tp)
    return _share(np.sum(widths * heights, axis=1), 2 * tp[:, -1] * fp[:, -1])


def summaries(tp: np.ndarray, fp: np.ndarray) -> dict[str, np.ndarray]:
    """Of the precision-recall curve, (k,) each: its area by trapezoids, and the highest precision at recall ≥ r."""
    precision, recall = precision_recall(tp, fp)
    found = {
        "auc_pr_trapezoid": np.sum(
            (recall[:, :-1] - recall[:, 1:]) * (precision[:, :-1] + precision[:, 1:]) / 2, axis=1
        )
    }
    for r in RECALL_LEVELS:
        highest = np.where(recall >= r, precision, -np.inf).max(axis=1)
        found[f"ap_at_{r:g}"] = np.where(tp[:, -1] > 0, highest, np.nan)
    return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """nan of nothing."""
    return part / np.where(whole > 0, whole, np.nan)


def _before(cumulative: np.ndarray) -> np.ndarray:
    """Cumulative counts one threshold earlier."""
    found = np.zeros_like(cumulative)
    found[:, 1:] = cumulative[:, :-1]
    return found
