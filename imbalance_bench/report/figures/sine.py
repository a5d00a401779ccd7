"""The sine task: data, fits, and the way of the synthetic points (Explicit Gradient, Figure 1 and Appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import CellState, NothingRun, Record
from imbalance_bench.report.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    FigureSpec,
    canvas,
    handles,
    legend_below,
)
from imbalance_bench.store import arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sine_fit(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 1: data and start of the synthetic points; the baseline's fit; ours, with where the points ended."""
    ours, baseline = list(spec.methods)[:2]
    comparable.refuse_several_places(results)
    by_method = {r["labels"]["method"]: r for r in frames.done(results)}
    if ours not in by_method:
        raise NothingRun(spec.name, spec.figure)
    sine = _Sine(by_method[ours])
    drawn, axes = canvas(1, 3, 2.4, sharex=True, sharey=True)
    left, middle, right = axes[0]
    for axis in axes[0]:
        sine.truth(axis)
        sine.data(axis)
        _frame(axis)
        axis.label_outer()
    left.set_title("Data")
    sine.start(left)
    middle.set_title(spec.methods[baseline])
    errors = {}
    if baseline in by_method:
        errors[baseline] = sine.fit(middle, by_method[baseline], readout)
    else:
        middle.text(0.5, 0.05, "not run", transform=middle.transAxes, ha="center")
    right.set_title(spec.methods[ours])
    errors[ours] = sine.fit(right, by_method[ours], readout)
    sine.end(right)
    legend_below(drawn, handles(axes[0]), 6)
    told = "; ".join(f"{spec.methods[m]} {e:.3f}" for m, e in errors.items())
    return drawn, f"Mean squared error against the true sine on the grid: {told}."


def sine_grid(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Appendix A: one fit a panel, real points down, synthetic points across."""
    done = frames.done(results)

    def counts(config: dict[str, Any]) -> tuple[tuple[int, int], int]:
        options = config["dataset"]
        return (options["train"], options["valid"]), options["synthetic"]

    comparable.refuse_several_places(results, lambda r: counts(r.cell.config), same=frames.LABELS)
    down = sorted({counts(r["config"])[0] for r in done})
    across = sorted({counts(r["config"])[1] for r in done})
    drawn, axes = canvas(len(down), len(across), 0.5 + 1.35 * len(down), sharex=True, sharey=True)
    for axis in axes.flat:
        axis.set_visible(False)
    for record in done:
        (train, valid), synthetic = counts(record["config"])
        row, column = down.index((train, valid)), across.index(synthetic)
        axis = axes[row, column]
        axis.set_visible(True)
        sine = _Sine(record)
        sine.truth(axis)
        sine.data(axis)
        error = sine.fit(axis, record, readout)
        sine.end(axis)
        axis.set_title(f"{train} + {valid} real, {synthetic} synthetic", fontsize=8)
        axis.text(0.02, 0.02, f"MSE {error:.3f}", transform=axis.transAxes, fontsize=7.5)
        _frame(axis)
        axis.label_outer()
    legend_below(drawn, handles(axes.flat), 6)
    return drawn, "Real points: training + validation. MSE against the true sine on the grid."


def _frame(axis: Axes) -> None:
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    axis.set_xticks([-5, 0, 5])
    axis.set_yticks([-1, 0, 1])
    axis.set_ylim(-1.7, 1.5)


class _Sine:
    """The sine task of one record (its first run): the points that its settings draw, and where they moved to."""

    def __init__(self, record: Record) -> None:
        data = DATASETS.build(record["config"]["dataset"]).load(Path())
        self.x, self.y = data.x[:, 0], data.y
        self.valid, self.grid = data.valid_rows, data.test_rows
        self.train = np.setdiff1d(np.arange(len(self.y)), np.concatenate([self.valid, self.grid]))
        moved = arrays(record, "artifacts.npz")
        self.start_x, self.end_x = moved["run0_synthetic_start_x"].ravel(), moved["run0_synthetic_end_x"].ravel()
        self.synthetic_y = moved["run0_synthetic_y"].ravel()

    def truth(self, axis: Axes) -> None:
        axis.plot(self.x[self.grid], self.y[self.grid], color=GREEN, linewidth=1.2, label="true sine", zorder=1)

    def data(self, axis: Axes) -> None:
        _points(axis, self.x[self.train], self.y[self.train], BLUE, "^", "training points", 30)
        _points(axis, self.x[self.valid], self.y[self.valid], PURPLE, "s", "validation points", 30)

    def start(self, axis: Axes) -> None:
        _points(axis, self.start_x, self.synthetic_y, VERMILLION, "o", "synthetic points", 16)

    def end(self, axis: Axes) -> None:
        ends = (self.synthetic_y, self.start_x, self.end_x)
        axis.hlines(*ends, color=VERMILLION, linewidth=0.7, alpha=0.6, zorder=2, label="way from the start")
        _points(axis, self.end_x, self.synthetic_y, VERMILLION, "o", "synthetic points", 16)

    def fit(self, axis: Axes, record: Record, readout: str) -> float:
        """Draws what a record predicts on the grid; returns its mean squared error there."""
        saved = arrays(record, "predictions.npz")
        first = saved["run"] == 0
        scores = saved.get(f"scores_{readout}", saved["scores_last"])[first, 0]
        ids = saved["sample_id"][first]
        if not np.array_equal(np.sort(ids), self.grid):
            raise BenchError(f"{record['path']} was tested on other points than the cell beside it: train both again")
        axis.plot(self.x[ids], scores, color=ORANGE, linestyle="--", label="fit", zorder=3)
        return float(np.mean((scores - self.y[ids]) ** 2))


def _points(axis: Axes, x: np.ndarray, y: np.ndarray, colour: str, marker: str, label: str, size: float) -> None:
    axis.scatter(x, y, s=size, color=colour, marker=marker, label=label, zorder=4, linewidths=0.6, edgecolors="white")
