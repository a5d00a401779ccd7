"""The picture of the summary table."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imbalance_bench.errors import BenchError
from imbalance_bench.report.glyphs import drawn_with, letters_for, readable
from imbalance_bench.report.records.records import LOWER_IS_BETTER
from imbalance_bench.report.sheet import Drawing
from imbalance_bench.report.sheets.means import MeanRows
from imbalance_bench.report.sheets.scores import Score, metric_title
from imbalance_bench.report.style import BLACK, BLUE, SKY, STYLE, canvas, finished, styled
from imbalance_bench.settings.objective import has_better_side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12


def bars(scores: Sequence[Score], title: str, provenance: list[str]) -> Drawing:
    """A panel for each setting and data set, a bar for each method, whiskers of one sd; the best is darker.

    More than ``MOST_PANELS`` panels are not drawn: a panel of means over data sets stands for those of a setting.
    """
    letters = letters_for(text for s in scores for text in (s.dataset, s.method, s.section))
    with drawn_with(letters):
        drawn, caption, _ = styled(lambda: _bars([s for s in scores if s.mean is not None]), STYLE | letters.style)
    return finished(drawn, "summary", title, " ".join(filter(None, [caption, letters.note])), provenance)


def _bars(scores: Sequence[Score]) -> tuple[Figure, str]:
    if not scores:
        raise BenchError("there is no number to draw: every cell was declined")
    by_section: dict[str, dict[str, list[Score]]] = {}
    for s in scores:
        by_section.setdefault(s.section, {}).setdefault(s.dataset, []).append(s)
    several = len(by_section) > 1
    if sum(map(len, by_section.values())) > MOST_PANELS:
        caption = "Means over the data sets on which every method was run; whiskers: one sd over data sets."
        panels = [
            _means(_wrapped(section) if several else "", [s for cells in sets.values() for s in cells])
            for section, sets in by_section.items()
        ]
    else:
        caption = "Means over the runs of a cell; whiskers: one sd."
        panels = [
            _cells(f"{dataset}\n{_wrapped(section)}" if several else dataset, cells)
            for section, sets in by_section.items()
            for dataset, cells in sets.items()
        ]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    methods = list(dict.fromkeys(m for _, _, values in panels for m in values))
    drawn, axes = canvas(rows, columns, (0.8 + 0.2 * len(methods)) * rows, sharey=True)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (name, metric, values) in zip(axes.flat, panels):
        _panel(axis, methods, values, metric)
        axis.set_title(readable(name), fontsize=7.5 if several else 9)
    axes[0, 0].invert_yaxis()
    return drawn, caption if len(by_section) > 1 else f"{caption} {next(iter(by_section))}."


def _wrapped(section: str) -> str:
    return textwrap.fill(section.partition(", ")[2], 32)


Panel = tuple[str, str, dict[str, tuple[float, float | None]]]


def _cells(title: str, cells: Sequence[Score]) -> Panel:
    return title, cells[0].metric, {s.method: (s.mean or 0.0, s.sd) for s in cells}


def _means(title: str, cells: Sequence[Score]) -> Panel:
    table = MeanRows(cells[0].metric, {s.method: s.method for s in cells}, cells)
    values = table.ours.loc[table.sets, table.ranked]
    spread = {m: float(values[m].std(ddof=1)) if len(values) > 1 else None for m in values}
    bars = {m: (float(values[m].mean()), spread[m]) for m in values} if len(values) else {}
    return f"{title}\n{len(table.sets)} of {len(table.datasets)} data sets", cells[0].metric, bars


def _panel(axis: Axes, methods: list[str], values: dict[str, tuple[float, float | None]], metric: str) -> None:
    means = [mean for mean, _ in values.values()]
    best = (min if metric in LOWER_IS_BETTER else max)(means, default=0.0) if has_better_side(metric) else None
    axis.barh(
        [methods.index(m) for m in values],
        means,
        xerr=[math.nan if sd is None else sd for _, sd in values.values()],
        height=0.66,
        color=[BLUE if mean == best else SKY for mean in means],
        error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": BLACK},
    )
    axis.set_yticks(range(len(methods)), list(map(readable, methods)))
    axis.set_xlabel(metric_title(metric))
    axis.set_xlim(left=0)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
