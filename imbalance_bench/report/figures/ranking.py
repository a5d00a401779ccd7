"""Precision-recall and ROC curves of any selection: means over runs, whose areas are the metrics of the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from imbalance_bench import metrics
from imbalance_bench.report.figures.shown import (
    AREAS,
    LINE,
    MOST_BANDS,
    Shown,
    Wanted,
    areas,
    band_note,
    by_panel,
    classes_of,
    groups_title,
    legend,
    methods_of,
    panels,
    predictions,
    style_of,
)
from imbalance_bench.report.style import Drawn

LEVELS = np.linspace(0, 1, 201)
Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]


def step_precision(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Precision at each recall of ``LEVELS``: that of the highest threshold which reaches it. The steps have the area
    that average precision is; lines between the thresholds would promise more (Davis and Goadrich 2006). nan without
    positive rows."""
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    if np.isnan(recall[0]):
        return np.full(len(LEVELS), np.nan)
    precision, recall = precision[-2::-1], recall[-2::-1]  # by falling threshold, without the end that has none
    return precision[np.searchsorted(recall, np.maximum(LEVELS, 1e-9) - 1e-12)]


def true_positive_rate(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """True-positive rate at each false-positive rate of ``LEVELS``, on straight lines between the thresholds; the
    highest where there are several. nan without rows of either kind."""
    fpr, tpr = metrics.roc_curve(positive, scores)
    return np.interp(LEVELS, fpr, tpr) if np.isfinite(fpr[-1] + tpr[-1]) else np.full(len(LEVELS), np.nan)


def precision_recall(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    def no_skill(share: float) -> tuple[list[float], list[float]]:
        return [0, 1], [share, share]

    caption = (
        "Precision at each recall is that of the highest threshold which reaches it, so that the area is the average "
        "precision (AUC-PR) of the records; no skill: the share of positives."
    )
    return _curves(shown, wanted, step_precision, no_skill, ("recall", "precision"), caption)


def roc(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    def no_skill(share: float) -> tuple[list[float], list[float]]:
        return [0, 1], [0, 1]

    caption = "Averaged at each false-positive rate; the area is the AUC-ROC of the records."
    return _curves(shown, wanted, true_positive_rate, no_skill, ("false-positive rate", "true-positive rate"), caption)


def by_run(one: Shown, wanted: Wanted, curve: Curve) -> tuple[np.ndarray, float]:
    """The curve of each run (runs, len(LEVELS)), the mean over the classes of the group that have rows; and the mean
    share of their rows."""
    found, shares = [], []
    for run in predictions(one.record, wanted.part, wanted.readout):
        classes = [c for c in classes_of(one.record, one.head[1], run.run) if (run.labels == c).any()]
        each = [curve(run.labels == c, run.ranked(c)) for c in classes]
        shares += [float((run.labels == c).mean()) for c in classes]
        if defined := [values for values in each if np.isfinite(values).all()]:
            found.append(np.mean(defined, axis=0))
    return np.array(found).reshape(-1, len(LEVELS)), float(np.mean(shares)) if shares else float("nan")


def _curves(
    shown: Sequence[Shown],
    wanted: Wanted,
    curve: Curve,
    no_skill: Callable[[float], tuple[list[float], list[float]]],
    axes_titles: tuple[str, str],
    caption: str,
) -> Drawn:
    import pandas as pd

    found, methods = by_panel(shown), methods_of(shown)
    alone = len(found) == 1
    drawn, axes = panels([(panel,) for panel in found], 1.65 + LINE * -(-len(methods) // AREAS), 2.3)
    steps: Any = {"drawstyle": "steps-pre"} if curve is step_precision else {}
    step: Any = "pre" if steps else None
    rows, names, counts, banded = [], {}, set(), len(methods) <= MOST_BANDS
    for axis, (panel, here) in zip(axes, found.items()):
        entries, share = [], float("nan")
        for one in here:
            each, of_class = by_run(one, wanted, curve)
            if not len(each):
                continue
            share = of_class
            mean, sd = each.mean(axis=0), each.std(axis=0, ddof=1) if len(each) > 1 else np.zeros(len(LEVELS))
            style = style_of(one.method, methods)
            start = [] if steps else [0.0]  # of a ROC curve, whose first rise is at 0
            (line,) = axis.plot([*start, *LEVELS], [*start, *mean], **steps, **style)
            if banded:
                low, high = np.clip(mean - sd, 0, 1), np.clip(mean + sd, 0, 1)
                axis.fill_between(LEVELS, low, high, step=step, color=style["color"], alpha=0.13, linewidth=0)
            entries.append((line, f"{one.mean:.3f}"))
            names[f"{one.method}  {one.label}" if alone else one.method] = line
            counts.add(len(each))
            rows.append(pd.DataFrame({
                "panel": panel, "method": one.method, "class_group": one.head[1], axes_titles[0]: LEVELS,
                axes_titles[1]: mean, "sd": sd if len(each) > 1 else np.nan, "runs": len(each),
            }))  # fmt: skip
        (chance,) = axis.plot(*no_skill(share), color="#888888", linewidth=0.9, linestyle=":")
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=axes_titles[0], ylabel=axes_titles[1])
        if not alone:
            areas(axis, entries)
    legend(drawn, names | {"no skill": chance})
    runs = " or ".join(map(str, sorted(counts)))
    band = band_note(len(methods), max(counts, default=0))
    what = f"{groups_title(shown)}, mean over {runs} runs; {band}; numbers: area."
    return Drawn(drawn, f"{what} {caption}", pd.concat(rows) if rows else None)
