"""The sine task: data, fits, and the way of the synthetic points (Explicit Gradient, Figure 1 and Appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.report import frame as frames
from imbalance_bench.report.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    FigureSpec,
    arrays,
    canvas,
    handles,
    legend_below,
)
from imbalance_bench.report.frame import NothingRun, Outcome, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sine_fit(spec: FigureSpec, results: Sequence[Outcome], iterate: str) -> tuple[Figure, str]:
    """Figure 1: data and start of the synthetic points; the baseline's fit; ours, with where the points ended."""
    ours, baseline = list(spec.methods)[:2]
    by_method = {r["labels"]["method"]: r for r in frames.done(results)}
    if ours not in by_method:
        raise NothingRun(spec.name, spec.figure)
    sine = _Sine(by_method[ours])
    drawn, axes = canvas(1, 3, 2.7, sharex=True, sharey=True)
    left, middle, right = axes[0]
    for axis in axes[0]:
        sine.truth(axis)
        sine.data(axis)
        axis.set_xlabel("x")
    left.set_ylabel("y")
    left.set_title("Data")
    sine.start(left)
    middle.set_title(spec.methods[baseline])
    errors = {}
    if baseline in by_method:
        errors[baseline] = sine.fit(middle, by_method[baseline], iterate)
    else:
        middle.text(0.5, 0.05, "not run", transform=middle.transAxes, ha="center")
    right.set_title(spec.methods[ours])
    errors[ours] = sine.fit(right, by_method[ours], iterate)
    sine.end(right)
    left.set_ylim(-1.9, 1.9)
    legend_below(drawn, handles(axes[0]), 4)
    told = "; ".join(f"{spec.methods[m]} {e:.3f}" for m, e in errors.items())
    return drawn, f"Mean squared error against the true sine on the grid: {told}."


def sine_grid(spec: FigureSpec, results: Sequence[Outcome], iterate: str) -> tuple[Figure, str]:
    """Appendix A: one fit a panel, real points down, synthetic points across."""
    done = frames.done(results)

    def counts(record: Record) -> tuple[tuple[int, int], int]:
        options = record["config"]["dataset"]
        return (options["train_points"], options["valid_points"]), options["synthetic_points"]

    down = sorted({counts(r)[0] for r in done})
    across = sorted({counts(r)[1] for r in done})
    drawn, axes = canvas(len(down), len(across), 0.6 + 1.6 * len(down), sharex=True, sharey=True)
    for axis in axes.flat:
        axis.set_visible(False)
    for record in done:
        real, synthetic = counts(record)
        axis = axes[down.index(real), across.index(synthetic)]
        axis.set_visible(True)
        sine = _Sine(record)
        sine.truth(axis)
        sine.data(axis)
        error = sine.fit(axis, record, iterate)
        sine.end(axis)
        axis.set_title(f"{real[0]} + {real[1]} real, {synthetic} synthetic: MSE {error:.2f}", fontsize=7.5)
        axis.set_ylim(-1.9, 1.9)
        axis.label_outer()
    drawn.supxlabel("x", fontsize=8.5)
    drawn.supylabel("y", fontsize=8.5)
    legend_below(drawn, handles(axes.flat), 4)
    return drawn, "Real points: training + validation. MSE against the true sine on the grid."


class _Sine:
    """One run of the sine task: its points, from artifacts.npz, and what a record predicts on the grid."""

    def __init__(self, record: Record) -> None:
        self.points = {k.removeprefix("run0_"): v for k, v in arrays(record, "artifacts.npz").items()}
        predictions = arrays(record, "predictions.npz")
        first = predictions["run"] == 0
        self.x = self._x("test_x")
        order = np.argsort(self.x)
        self.order, self.y = order, predictions["label"][first]
        self.ids = predictions["sample_id"][first]

    def _x(self, key: str) -> np.ndarray:
        return self.points[key].reshape(len(self.points[key]), -1)[:, 0]

    def _scatter(self, axis: Axes, x: str, y: str, colour: str, marker: str, label: str, size: float = 30) -> None:
        style: dict[str, Any] = {"zorder": 4, "linewidths": 0.6, "edgecolors": "white"}
        axis.scatter(self._x(x), self.points[y].ravel(), s=size, color=colour, marker=marker, label=label, **style)

    def truth(self, axis: Axes) -> None:
        axis.plot(self.x[self.order], self.y[self.order], color=GREEN, linewidth=1.2, label="true sine", zorder=1)

    def data(self, axis: Axes) -> None:
        self._scatter(axis, "train_x", "train_y", BLUE, "^", "training points")
        self._scatter(axis, "valid_x", "valid_y", PURPLE, "s", "validation points")

    def start(self, axis: Axes) -> None:
        self._scatter(axis, "synthetic_start_x", "synthetic_y", VERMILLION, "o", "synthetic points", size=16)

    def end(self, axis: Axes) -> None:
        start, end, y = self._x("synthetic_start_x"), self._x("synthetic_end_x"), self.points["synthetic_y"].ravel()
        axis.hlines(y, start, end, color=VERMILLION, linewidth=0.6, alpha=0.55, zorder=2, label="their way")
        self._scatter(axis, "synthetic_end_x", "synthetic_y", VERMILLION, "o", "synthetic points", size=16)

    def fit(self, axis: Axes, record: Record, iterate: str) -> float:
        """Draws what a record predicts; returns its mean squared error."""
        predictions = arrays(record, "predictions.npz")
        first = predictions["run"] == 0
        scores = predictions.get(f"scores_{iterate}", predictions["scores_last"])[first, 0]
        if not np.array_equal(predictions["sample_id"][first], self.ids):
            raise BenchError(f"{record['path']} was tested on other points than the cell beside it: train both again")
        axis.plot(self.x[self.order], scores[self.order], color=ORANGE, linestyle="--", label="fit", zorder=3)
        return float(np.mean((scores - self.y) ** 2))


