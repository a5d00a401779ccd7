"""Differences to a baseline with their intervals, and two methods or two metrics against each other over data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.report.figures.shown import (
    MARKERS,
    MOST_LINES,
    MOST_PANELS,
    ROW,
    Shown,
    Wanted,
    best,
    by_panel,
    legend,
    methods_of,
    name_of,
    one_head,
    one_setting,
    panels,
    rows_of,
    style_of,
    wide,
)
from imbalance_bench.report.records import statistics
from imbalance_bench.report.records.pairs import by_split, corrected_t, splits_of
from imbalance_bench.report.records.records import LOWER_IS_BETTER
from imbalance_bench.report.records.statistics import PairedDifference
from imbalance_bench.report.sheets.means import dependence
from imbalance_bench.report.sheets.scores import metric_title
from imbalance_bench.report.style import BLACK, BLUE, Drawn

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINES = ("cross_entropy", "logistic_regression")
MOST_ROWS = 40
NAME = 20  # letters a line of a method's name beside its row
MARK: Any = {"color": "#999999", "markersize": 4, "markeredgewidth": 0.7}
NAMED = 6  # points of a scatter that carry their names


def bars(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    """A panel a data set, a row a method: the mean paired difference to the baseline over runs, and its interval; and a
    panel of their mean over data sets, alone where there are more than ``MOST_PANELS``."""
    import pandas as pd

    baseline = baseline_of(shown, wanted)
    gains = differences(shown, baseline)
    methods = list(dict.fromkeys(method for of in gains.values() for method in of))
    whole = [place for place, of in gains.items() if len(of) == len(methods)]
    over = {m: [gains[p][m].mean for p in whole or gains if m in gains[p]] for m in methods}
    (metric, group), lower = shown[0].head, shown[0].head[0] in LOWER_IS_BETTER
    methods.sort(key=lambda method: (1 if lower else -1) * float(np.mean(over[method])))
    if len(methods) > MOST_ROWS:
        raise BenchError(f"{len(methods)} methods, and a figure has room for {MOST_ROWS}: choose some by method=...")
    places = gains if len(gains) <= MOST_PANELS else {}
    mean = f"mean over {len(whole)} data sets"
    if len(gains) > 1:
        one_head(shown)
        one_setting(shown)
    if len(whole) > 1:
        places = places | {mean: {method: statistics.difference(each) for method, each in over.items()}}
    if not places:
        raise BenchError(
            f"{len(gains)} data sets are shown by a mean over those that have all {len(methods)} methods, and "
            f"{'one has' if whole else 'none has'}: leave out methods, or choose {MOST_PANELS} data sets at most"
        )
    drawn = _rows(methods, places, {mean: over})
    better = "lower" if lower else "higher"
    drawn.supxlabel(name_of(f"{metric_title(metric)} minus that of {baseline} ({better} is better)", 60), fontsize=7)
    values = pd.DataFrame([
        {"panel": place, "method": method, "baseline": baseline, "metric": metric, "class_group": group,
         "difference": gain.mean, "low": gain.low, "high": gain.high, "pairs": gain.pairs}
        for place, of in {**gains, **places}.items() for method, gain in of.items()
    ])  # fmt: skip
    return Drawn(drawn, _caption(shown, baseline, list(gains), whole, len(methods)), values)


def _rows(
    methods: Sequence[str],
    places: dict[str, dict[str, PairedDifference]],
    marks: dict[str, dict[str, list[float]]],
) -> Figure:
    """A panel a place, a row a method; ``marks``: place → method → the differences that its mean is over, in grey."""
    names = [name_of(method, NAME) for method in methods]
    ys, height = rows_of(names)
    at = dict(zip(methods, ys))
    drawn, axes = panels([(place,) for place in places], 0.55 + ROW * height, 0.6 + ROW * height, 15, sharey=True)
    for axis, (place, of) in zip(axes, places.items()):
        for method in methods if place in marks else ():
            axis.plot(marks[place][method], [at[method]] * len(marks[place][method]), "|", **MARK)
        _dots(axis, {at[method]: gain for method, gain in of.items()})
        axis.set_yticks(ys, names)
        axis.set_ylim(height, 0)
    return drawn


def _caption(shown: Sequence[Shown], baseline: str, places: Sequence[str], whole: Sequence[str], methods: int) -> str:
    """``places``: the data sets with differences; ``whole``: those of them that have all so many methods."""
    caption = (
        f"Paired differences to {baseline} over runs on the same rows; bars: 95 % interval of the mean, corrected for "
        "the training rows that runs share (Nadeau and Bengio 2003); filled: it does not hold 0."
    )
    if any(1 < len({*splits.values()}) < len(splits) for splits in (splits_of(one.record) for one in shown)):
        caption += " Runs of the same rows, which differ in seeds, count by their mean."
    if len(whole) > 1:
        caption += f" That of the mean over {len(whole)} data sets is over these (Student's), the grey marks."
        dependent = dependence({one.panel: one.record["labels"]["dataset"] for one in shown if one.panel in whole})
        caption += f" {dependent}" if dependent else ""
    if lacking := [place for place in places if place not in whole] if len(places) > 1 else []:
        caption += f" Left out of a mean over data sets, without all {methods} methods: {', '.join(lacking)}."
    if absent := [panel for panel in by_panel(shown) if panel not in places]:
        caption += f" Left out, without runs in common: {', '.join(absent)}."
    return caption


def differences(shown: Sequence[Shown], baseline: str) -> dict[str, dict[str, PairedDifference]]:
    """Panel → method → its differences to the baseline. Raises BenchError where there are none."""
    found: dict[str, dict[str, PairedDifference]] = {}
    for panel, here in by_panel(shown).items():
        base = [one for one in here if one.method == baseline]
        gains = {one.method: difference(one, base[0]) for one in here if base and one.method != baseline}
        if gains := {method: gain for method, gain in gains.items() if gain.pairs}:
            found[panel] = gains
    if not found:
        raise BenchError(f"no method has runs in common with {baseline}: train one on the same data and protocol")
    return found


def difference(one: Shown, other: Shown) -> PairedDifference:
    """On the same splits, as of ``pairs.by_split``; its interval as of ``pairs.corrected_t``."""
    splits = by_split((one.scores, other.scores), (one.record, other.record))
    _, (low, high) = corrected_t(splits.one - splits.other, splits.share)
    return replace(statistics.paired_difference(splits.one, splits.other), low=low, high=high)


def _dots(axis: Axes, gains: dict[float, PairedDifference]) -> None:
    axis.axvline(0, color="#888888", linewidth=0.8)
    for y, gain in gains.items():
        if np.isfinite(gain.low):
            axis.plot([gain.low, gain.high], [y, y], color=BLUE, linewidth=1.2, solid_capstyle="butt")
        face = BLUE if gain.low > 0 or gain.high < 0 else "white"
        axis.plot([gain.mean], [y], marker="o", markersize=3.6, color=BLUE, markerfacecolor=face, markeredgewidth=0.9)
    axis.locator_params(axis="x", nbins=3)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def baseline_of(shown: Sequence[Shown], wanted: Wanted) -> str:
    """The method that others are compared with: the one asked for, else a plain one, else the first."""
    methods = methods_of(shown)
    if len(methods) < 2:
        raise BenchError(f"one method, {methods[0]}, has none to be compared with: choose others too, or train them")
    if wanted.versus is None:
        return next((m for m in BASELINES if m in methods), methods[0])
    return _named(shown, wanted.versus)


def _named(shown: Sequence[Shown], method: str) -> str:
    """A method by its name in the figure, or by its label where that is of one only."""
    if method in (methods := methods_of(shown)):
        return method
    of_label = list(dict.fromkeys(one.method for one in shown if one.record["labels"]["method"] == method))
    if len(of_label) == 1:
        return of_label[0]
    if of_label:
        raise BenchError(
            f"--versus {method} is {len(of_label)} methods here: say which, {' or '.join(map(repr, of_label))}"
        )
    raise BenchError(f"--versus {method} is not among the methods shown: {suggestion(method, methods)}")


def scatter(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    """Two methods over data sets by one metric."""
    x, y = _two_methods(shown, wanted)
    table = wide(shown)[[x, y]].dropna()
    if table.empty:
        raise BenchError(f"{x} and {y} were run on no data set both: train them on the same")
    metric, lower = shown[0].head[0], shown[0].head[0] in LOWER_IS_BETTER
    gain = statistics.paired_difference(table[y].to_numpy(), table[x].to_numpy())
    drawn, (axis,) = panels([()], 0, 3.2)
    _points(axis, table)
    what = metric_title(metric)
    axis.set_xlabel(name_of(f"{what} of {x}", 46))
    axis.set_ylabel(name_of(f"{what} of {y}", 46))
    above, below = ((x, gain.wins), (y, gain.losses)) if lower else ((y, gain.wins), (x, gain.losses))
    for (method, count), (place, ha, va) in zip((above, below), ((0.02, "left", "top"), (0.98, "right", "bottom"))):
        text = name_of(f"{method} better: {count}", 26)
        axis.text(place, 1 - place, text, transform=axis.transAxes, ha=ha, va=va, fontsize=7)
    ties = f", {gain.ties} equal" if gain.ties else ""
    p = statistics.signed_rank((table[y] - table[x]).to_numpy())
    caption = (
        f"A point a data set, means over runs; {above[0]} is better above the diagonal: on {above[1]}, {below[0]} on "
        f"{below[1]}{ties}, of {len(table)} (Wilcoxon's signed-rank test: p = {p:.2g}, n = {len(table)})."
    )
    return Drawn(drawn, caption, table.rename_axis("panel").reset_index())


def _two_methods(shown: Sequence[Shown], wanted: Wanted) -> tuple[str, str]:
    """The baseline and the other; raises BenchError where there are not two, or data sets that do not compare."""
    one_head(shown)
    one_setting(shown)
    methods = methods_of(shown)
    if len(methods) < 2:
        raise BenchError(
            f"a scatter compares two methods (there is only {methods[0]}): choose method=A,B, or give two metrics, "
            "such as --metric f1,auc_pr"
        )
    x = baseline_of(shown, wanted)
    others = [m for m in methods if m != x]
    if len(others) > 1:
        raise BenchError(
            f"a scatter compares two methods, and there are {len(methods)}: choose two, such as "
            f"method={','.join(_label(shown, m) for m in (x, others[0]))}"
        )
    return x, others[0]


def _points(axis: Axes, table: pd.DataFrame) -> None:
    """A point a row of two columns on axes of one range; those that are farthest from the diagonal carry their
    names."""
    x, y = table
    axis.axline((0, 0), slope=1, color="#888888", linewidth=0.8, linestyle=":")
    axis.scatter(table[x], table[y], 16, color=BLUE, edgecolors="white", linewidths=0.5, zorder=3)
    low, high = float(table.min(axis=None)), float(table.max(axis=None))
    margin = 0.06 * (high - low or 1)
    axis.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    far = (table[y] - table[x]).abs().sort_values(ascending=False).index[:NAMED]
    for panel in far:
        point = (table.loc[panel, x], table.loc[panel, y])
        left = point[0] > (low + high) / 2  # so that no name leaves the axes
        offset, side = ((-4, 0), "right") if left else ((4, 0), "left")
        style: Any = {"ha": side, "va": "center", "fontsize": 6.5, "color": "#444444"}
        axis.annotate(name_of(panel, 18), point, offset, textcoords="offset points", **style)


def _label(shown: Sequence[Shown], method: str) -> str:
    return next(one.record["labels"]["method"] for one in shown if one.method == method)


def two_metrics(shown: Sequence[Shown], wanted: Wanted, others: Sequence[Shown]) -> Drawn:
    """A point a data set and method: by one metric, and by another."""
    import pandas as pd

    second = {(one.panel, one.method): one for one in others}
    pairs = [(one, second[one.panel, one.method]) for one in shown if (one.panel, one.method) in second]
    if not pairs:
        raise BenchError(
            f"no cell has both {shown[0].head[0]} and {others[0].head[0]}: give two that the same cells have"
        )
    methods = methods_of(one for one, _ in pairs)
    if len(methods) > MOST_LINES:
        first = ",".join(dict.fromkeys(one.record["labels"]["method"] for one in best(shown, MOST_LINES)))
        raise BenchError(
            f"{len(methods)} methods, and at most {MOST_LINES} can be told apart: choose some, such as method={first}"
        )
    drawn, (axis,) = panels([()], 0, 3.0)
    names: dict[str, Any] = {}
    for i, method in enumerate(methods):
        x, y = zip(*((a.mean, b.mean) for a, b in pairs if a.method == method))
        colour = style_of(method, methods)["color"]
        names[method] = axis.scatter(x, y, s=16, color=colour, marker=MARKERS[i], edgecolors=BLACK, linewidths=0.3)
    groups = [" / ".join(dict.fromkeys(one.head[1] for one in side)) for side in zip(*pairs)]
    along, up = (f"{metric_title(one.head[0])} ({of})" for one, of in zip(pairs[0], groups))
    axis.set_xlabel(name_of(along, 46))
    axis.set_ylabel(name_of(up, 46))
    legend(drawn, names)
    rows = [
        {"panel": a.panel, "method": a.method, **{f"{o.head[0]} ({o.head[1]})": o.mean for o in (a, b)}}
        for a, b in pairs
    ]
    return Drawn(drawn, f"A point a data set and method, means over runs: {len(pairs)} points.", pd.DataFrame(rows))
