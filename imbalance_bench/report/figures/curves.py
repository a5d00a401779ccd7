"""Curves of single cells: precision-recall, and the convergence of Explicit Gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import CellState, Record
from imbalance_bench.report.style import (
    SKY,
    VERMILLION,
    FigureSpec,
    canvas,
    handles,
    history_of,
    legend_below,
    line_style,
)
from imbalance_bench.store import arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure


RECALLS = np.linspace(0, 1, 201)


def precision_recall(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 2: precision at recall ≥ r (the highest such, as in AP@r), mean over the runs; a panel a ratio."""
    comparable.refuse_several_places(results, lambda r: (r.labels["dataset"], r.labels["ratio"]))
    panels: dict[tuple[str, str], dict[str, Record]] = {}
    for record in frames.done(results):
        labels = record["labels"]
        panels.setdefault((labels["dataset"], labels["ratio"]), {})[labels["method"]] = record
    drawn, axes = canvas(1, len(panels), 2.9, sharey=True)
    runs = set()
    for axis, ((dataset, ratio), here) in zip(axes[0], panels.items()):
        for method in [m for m in reversed(spec.methods) if m in here]:
            curves, share = _curves(here[method], readout)
            runs.add(len(curves))
            axis.plot(RECALLS, curves.mean(axis=0), label=spec.methods[method], **line_style(spec, method))
        axis.axhline(share, color="#999999", linewidth=0.8, label="share of positives")
        axis.set_title(f"{dataset} {ratio_title(ratio)}")
        axis.set_xlabel("recall")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
    axes[0, 0].set_ylabel("precision")
    legend_below(drawn, handles(axes[0])[::-1], 5)
    return drawn, f"Mean over {' or '.join(map(str, sorted(runs)))} runs of the highest precision at recall ≥ r."


def ratio_title(ratio: str) -> str:
    number = ratio.removeprefix("ir_")
    return f"{number}:1" if number.isdigit() else ratio


def _curves(record: Record, readout: str) -> tuple[np.ndarray, float]:
    """Precision (runs, len(RECALLS)) of class 1, and its share of the test rows."""
    from imbalance_bench import metrics

    saved = arrays(record, "predictions.npz")
    scores = saved.get(f"scores_{readout}", saved["scores_last"])
    if scores.shape[1] != 2:
        dataset = record["labels"]["dataset"]
        raise BenchError(f"a precision-recall figure needs two classes; dataset={dataset} has {scores.shape[1]}")
    curves = []
    for run in np.unique(saved["run"]):
        mine = saved["run"] == run
        positive = saved["label"][mine] == 1
        precision, recall, _ = metrics.precision_recall_curve(positive, metrics.ranking_scores(scores[mine], 1))
        # rising thresholds: recall falls; the end point (precision 1, recall 0) is not a threshold and is left out
        precision, recall = precision[-2::-1], recall[-2::-1]
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        curves.append(highest[np.searchsorted(recall, RECALLS - 1e-12)])
    return np.array(curves), float((saved["label"] == 1).mean())


def convergence(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Losses of the meta phase and how far the synthetic points moved, by epoch: each run thin, their mean thick."""
    comparable.refuse_several_places(results, same=frames.LABELS)
    record = frames.done(results)[0]
    rows = history_of(record)
    panels = {
        "inner_loss": "Inner loss (step 1)",
        "outer_loss": "Outer loss (step 2)",
        "synthetic_move": "Movement of the points",
    }
    absent = [c for c in panels if c not in rows]
    if absent:
        method = record["labels"]["method"]
        raise BenchError(f"the history of method={method} has no {', '.join(absent)}: draw method=explicit_gradient")
    meta = rows.dropna(subset=list(panels))
    drawn, axes = canvas(1, 3, 2.4)
    for axis, (column, title) in zip(axes[0], panels.items()):
        for _, run in meta.groupby("run"):
            axis.plot(run["epoch"], run[column], color=SKY, linewidth=0.7, label="a run")
        mean = meta.groupby("epoch")[column].mean()
        axis.plot(mean.index, mean, color=VERMILLION, label="mean")
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.margins(x=0.02)
        axis.locator_params(axis="x", nbins=4, integer=True)
    axes[0, 0].set_ylabel("cross-entropy (nats)")
    axes[0, 1].set_ylabel("cross-entropy (nats)")
    axes[0, 2].set_ylabel("mean distance")
    legend_below(drawn, handles(axes[0]), 2)
    dataset, ratio = record["labels"]["dataset"], ratio_title(record["labels"]["ratio"])
    runs = f"{meta['run'].nunique()} runs on {dataset} {ratio}"
    return drawn, f"{runs}; distances in scaled features; the epochs before the meta phase are left out."
