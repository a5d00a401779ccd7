"""Methods over many data sets: Dolan-Moré profile, critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.report.published.printed import PrintedTable
from imbalance_bench.report.records import comparable, pairs, statistics
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import CellState, NothingRun
from imbalance_bench.report.sheets.means import MeanRows, friedman_note
from imbalance_bench.report.sheets.scores import score
from imbalance_bench.report.style import BLACK, BLUE, FigureSpec, canvas, handles, legend_below, line_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _wide(spec: FigureSpec, results: Sequence[CellState], readout: str) -> MeanRows:
    """Scores of the figure's methods by data set; incomplete data sets are left out of what is drawn."""
    comparable.refuse_several_places(results, lambda r: r.labels["dataset"])
    values = frames.by_cell(frames.done(results))
    scores = [score(r, values, spec.metric, spec.class_group, readout) for r in results]
    return MeanRows(spec.metric, spec.methods, scores)


def performance_profile(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 3: share of data sets on which a method reaches θ times the best score; beside it the paper's numbers."""
    table = _wide(spec, results, readout)
    thetas = np.linspace(0, 1, 401)
    ours = table.ours.loc[table.sets, table.ranked]
    panels = [(f"Ours ({len(table.sets)} data sets)", statistics.dolan_more(ours, thetas))]
    theirs = _printed_scores(spec)
    if theirs is not None:
        panels.append((f"As printed ({len(theirs)} data sets)", statistics.dolan_more(theirs, thetas)))
    drawn, axes = canvas(1, len(panels), 3.3, sharey=True)
    for axis, (title, profile) in zip(axes[0], panels):
        for method in reversed(list(profile.columns)):
            axis.plot(profile.index, profile[method], label=spec.methods[method], **line_style(spec, method))
        axis.set_title(title)
        axis.set_xlabel("θ (share of the best score)")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1.02)
    axes[0, 0].set_ylabel("share of data sets at or above θ · best")
    legend_below(drawn, handles(axes[0])[::-1], 5)
    return drawn, friedman_note("ours", ours)


def _printed_scores(spec: FigureSpec) -> Any:
    """Printed scores, data sets × the figure's methods, from all its files; None without a file."""
    import pandas as pd

    if not spec.published:
        return None
    cells: dict[tuple[str, str], float] = {}
    for name in spec.published:
        table = PrintedTable(spec.name, name)
        for dataset in table.datasets:
            for method in spec.methods:
                cell = table.find(method, dataset, "native", spec.metric)
                if cell and cell.text:
                    cells[dataset, method] = float(cell.text)
    return pd.Series(cells).unstack().reindex(columns=[m for m in spec.methods if any(k[1] == m for k in cells)])


def critical_difference(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Mean ranks, bars over what Nemenyi's test (α = 0.05) does not tell apart."""
    table = _wide(spec, results, readout)
    scores = table.ours.loc[table.sets, table.ranked]
    if len(table.sets) < 2 or len(table.ranked) < 3:
        raise NothingRun(spec.name, spec.figure, f"{len(table.ranked)} methods on {len(table.sets)} complete sets")
    ranks = table.mean_ranks(table.ours)
    distance = statistics.critical_difference(len(table.ranked), len(table.sets))
    groups = pairs.cliques(pairs.pairwise(scores, "nemenyi"), ranks)
    drawn = _rank_axis({str(m): float(r) for m, r in ranks.items()}, spec.methods, groups, distance)
    note = friedman_note("ours", scores)
    return drawn, f"{note} Nemenyi critical difference at α = 0.05: {distance:.2f} ranks.".lstrip()


def _rank_axis(
    ranks: dict[str, float], titles: dict[str, str], groups: Sequence[Sequence[str]], distance: float
) -> Figure:
    """The diagram of Demšar 2006, Figure 1: a rank axis, names at both sides, bars over groups of methods."""
    ordered = sorted(ranks.items(), key=lambda kv: kv[1])
    half = (len(ordered) + 1) // 2
    height = 0.75 + 0.13 * len(groups) + 0.2 * half
    drawn, axes = canvas(1, 1, height)
    axis = axes[0, 0]
    low, high, margin = 1, len(ordered), 0.55 * len(ordered)
    axis.set_xlim(low - margin, high + margin)
    axis.set_ylim(-height + 0.55, 0.55)
    axis.axis("off")
    axis.plot([low, high], [0, 0], color=BLACK, linewidth=1)
    for tick in range(low, high + 1):
        axis.plot([tick, tick], [0, 0.06], color=BLACK, linewidth=1)
        axis.text(tick, 0.09, str(tick), ha="center", va="bottom", fontsize=8)
    axis.plot([low, low + distance], [0.4, 0.4], color=BLACK, linewidth=1.2, marker="|", markersize=5)
    axis.text(low + distance + 0.08, 0.4, f"critical difference {distance:.2f}", va="center", fontsize=8)
    axis.text(low - 0.15, 0, "mean rank\n(1 is best)", ha="right", va="center", fontsize=7.5, color="#555555")
    for i, group in enumerate(groups):
        y = -0.12 - 0.13 * i
        axis.plot(
            [ranks[group[0]] - 0.04, ranks[group[-1]] + 0.04], [y, y], color=BLUE, linewidth=3, solid_capstyle="round"
        )
    base = -0.2 - 0.13 * len(groups)
    for i, (method, rank) in enumerate(ordered):
        name = titles[method]
        left = i < half
        y = base - 0.2 * (i if left else len(ordered) - 1 - i)
        end = low - 0.2 if left else high + 0.2
        axis.plot([rank, rank, end], [0, y, y], color="#777777", linewidth=0.7, zorder=0)
        text, side = (f"{name}  {rank:.2f} ", "right") if left else (f" {rank:.2f}  {name}", "left")
        axis.text(end, y, text, ha=side, va="center")
    return drawn
