"""Cells side by side: bars of methods grouped by data set, and lines over the readouts of a trained run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import CellState
from imbalance_bench.report.sheets.scores import Score, score
from imbalance_bench.report.style import BLACK, COLOURS, DASHES, Drawn, FigureSpec, canvas, handles, legend_below

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALUES = ("method", "dataset", "ratio", "backbone", "class_group", "metric", "iterate", "state", "mean", "sd", "runs")


def grouped_bars(spec: FigureSpec, results: Sequence[CellState], readout: str) -> Drawn:
    """A row of panels a metric, a column a value of ``spec.across``; in a panel a group a data set, with its imbalance
    ratio in brackets, and in it a bar a method; whiskers of one sd over runs."""
    scores = _scores(spec, results, [readout])
    named = _names(spec, results)
    width = 0.84 / len(spec.methods)

    def panel(axis: Axes, here: Sequence[Score]) -> None:
        groups = list(dict.fromkeys(named[s.id] for s in here))
        for i, (method, title) in enumerate(spec.methods.items()):
            mine = [s for s in here if s.method == method and s.mean is not None]
            axis.bar(
                [groups.index(named[s.id]) + (i + 0.5) * width - 0.42 for s in mine],
                [s.mean or 0.0 for s in mine],
                width,
                yerr=[math.nan if s.sd is None else s.sd for s in mine],
                color=COLOURS[i % len(COLOURS)],
                hatch="" if i < len(COLOURS) else "////",
                edgecolor="white",
                linewidth=0.3,
                error_kw={"elinewidth": 0.6, "ecolor": BLACK},
                label=title,
            )
        many = len(groups) > 4
        axis.set_xticks(range(len(groups)), groups, rotation=30 if many else 0, ha="right" if many else "center")
        axis.set_xlim(-0.55, len(groups) - 0.45)
        axis.set_ylim(0, 1.02)
        axis.tick_params(axis="x", length=0)
        axis.grid(axis="x", visible=False)

    drawn = _panels(spec, scores, panel, sharex="col")
    ratio = "The value in brackets is the imbalance ratio. " if any("(" in name for name in named.values()) else ""
    return Drawn(drawn, f"{ratio}Means over {_runs(scores)} runs; whiskers: one sd.", _frame(scores))


def over_iterates(spec: FigureSpec, results: Sequence[CellState], readout: str) -> Drawn:
    """A row of panels a metric, a column a value of ``spec.across``; in a panel a line a data set (and method) over
    ``spec.iterates`` of the same trained runs; whiskers of one sd over runs."""
    places = spec.iterates or {}
    scores = _scores(spec, results, list(places))
    named = {i: name.replace("\n", " ") for i, name in _names(spec, results).items()}
    if len(spec.methods) > 1:
        named = {r.cell.id: f"{named[r.cell.id]}, {spec.methods[r.labels['method']]}" for r in results}
    lines = list(dict.fromkeys(named.values()))

    def panel(axis: Axes, here: Sequence[Score]) -> None:
        for i, line in enumerate(lines):
            mine = [s for s in here if named[s.id] == line and s.mean is not None]
            if mine:
                axis.errorbar(
                    [places[s.iterate] for s in mine],
                    [s.mean or 0.0 for s in mine],
                    yerr=[math.nan if s.sd is None else s.sd for s in mine],
                    color=COLOURS[i % len(COLOURS)],
                    linestyle=DASHES[i % len(DASHES)],
                    marker="o",
                    markersize=3,
                    elinewidth=0.7,
                    label=line,
                )
        axis.set_xscale("log")
        axis.set_xticks(list(places.values()), [str(x) for x in places.values()], rotation=45)
        axis.minorticks_off()
        axis.set_ylim(0, 1.02)

    drawn = _panels(spec, scores, panel, sharex=True, x_title=spec.x_title)
    return Drawn(drawn, f"Means over {_runs(scores)} runs; whiskers: one sd.", _frame(scores))


def _scores(spec: FigureSpec, results: Sequence[CellState], readouts: Sequence[str]) -> list[Score]:
    axes = ("dataset", "ratio", *([spec.across] if spec.across else []))
    comparable.refuse_several_places(results, lambda r: tuple(r.labels.get(axis) for axis in axes))
    values = frames.by_cell(frames.done(results))
    return [
        score(result, values, metric, spec.class_group, readout)
        for metric in spec.metrics or [spec.metric]
        for result in results
        for readout in readouts
    ]


def _names(spec: FigureSpec, results: Sequence[CellState]) -> dict[str, str]:
    """The data set of each cell as it stands in a figure: "SemEval (5.4)"; the ratio is that of the cell's rows."""
    ratios: dict[tuple[str, str], str] = {}
    for record in frames.done(results):
        if counts := record["data"].get("class_counts"):
            labels = record["labels"]
            ratios[labels["dataset"], labels["ratio"]] = f"\n({max(counts) / min(counts):.1f})"
    return {
        r.cell.id: spec.heading("dataset", r.labels["dataset"])
        + ratios.get((r.labels["dataset"], r.labels["ratio"]), "")
        for r in results
    }


def _panels(
    spec: FigureSpec,
    scores: Sequence[Score],
    draw: Callable[[Axes, Sequence[Score]], None],
    sharex: bool | str,
    x_title: str = "",
) -> Figure:
    metrics = spec.metrics or [spec.metric]
    columns = list(dict.fromkeys(getattr(s, spec.across) for s in scores)) if spec.across else [""]
    drawn, axes = canvas(len(metrics), len(columns), 0.9 + 1.6 * len(metrics), sharey="row", sharex=sharex)
    for row, metric in zip(axes, metrics):
        row[0].set_ylabel(spec.heading("metric", metric))
        for axis, column in zip(row, columns):
            here = [s for s in scores if s.metric == metric and (not spec.across or getattr(s, spec.across) == column)]
            draw(axis, here)
    for axis, column in zip(axes[0], columns):
        axis.set_title(spec.heading(spec.across, column) if spec.across else "")
    for axis in axes[-1]:
        axis.set_xlabel(x_title)
    legend_below(drawn, handles(axes.flat), 4)
    return drawn


def _runs(scores: Sequence[Score]) -> str:
    return " or ".join(map(str, sorted({s.runs for s in scores if s.runs})))


def _frame(scores: Sequence[Score]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{key: asdict(s)[key] for key in VALUES} for s in scores])
