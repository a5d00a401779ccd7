"""Samples that methods with a pool add in each round, and how many of these carry their true label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import CellState, Record
from imbalance_bench.report.style import COLOURS, FigureSpec, canvas, history_of, line_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ADDED = {
    "added_unlabelled_minor": "unlabelled, minor",
    "added_unlabelled_confused": "unlabelled, confused",
    "added_labelled_minor": "labelled, minor",
    "added_labelled_confused": "labelled, confused",
}
PRECISION = "selection_precision"


def added_samples(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """SelectNet, Figure 2: samples added in each round by the first method, and beside it how many of those that each
    method adds are labelled rightly; lines are means over runs, bands their range."""
    comparable.refuse_several_places(results)
    histories = {r["labels"]["method"]: _rounds(r) for r in frames.done(results)}
    ours = next((m for m in spec.methods if m in histories), None)
    if ours is None or not {*ADDED} <= {*histories[ours]}:
        raise BenchError(f"the history of method={ours} does not say what was added: draw method=selectnet")
    drawn, axes = canvas(1, 2, 3.0)
    for i, (column, title) in enumerate(ADDED.items()):
        _band(axes[0, 0], histories[ours], column, label=title, color=COLOURS[i])
    axes[0, 0].set_title(f"{spec.methods[ours]}: samples added")
    axes[0, 0].set_ylabel("samples")
    axes[0, 0].set_ylim(bottom=0)
    for method in [m for m in reversed(spec.methods) if PRECISION in histories.get(m, ())]:
        _band(axes[0, 1], histories[method], PRECISION, label=spec.methods[method], **line_style(spec, method))
    axes[0, 1].set_title("Precision of the selection")
    axes[0, 1].set_ylabel("share with the true label")
    axes[0, 1].set_ylim(0, 1.02)
    for axis in axes[0]:
        axis.set_xlabel("round")
        axis.locator_params(axis="x", integer=True)
        axis.legend(loc="best", fontsize=7)
    runs = histories[ours]["run"].nunique()
    last = histories[ours].dropna(subset=[*ADDED]).groupby("round")[[*ADDED]].mean().iloc[-1]
    most = ADDED[str(last.idxmax())]
    return (
        drawn,
        f"{runs} runs: lines are means, bands the range. In the last round most are {most} ({last.max():.0f}).",
    )


def _rounds(record: Record) -> pd.DataFrame:
    """One row for each run and round: the rows of history.csv that say what was added."""
    rows = history_of(record)
    return rows.dropna(subset=["round"]) if "round" in rows else rows.iloc[:0]


def _band(axis: Axes, history: pd.DataFrame, column: str, **style: Any) -> None:
    by_round = history.dropna(subset=[column]).groupby("round")[column]
    mean = by_round.mean()
    axis.plot(mean.index, mean, **style)
    axis.fill_between(mean.index, by_round.min(), by_round.max(), color=style["color"], alpha=0.15, linewidth=0)
