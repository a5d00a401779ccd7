"""The picture of the summary table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imbalance_bench.errors import BenchError
from imbalance_bench.report.figures.style import BLACK, BLUE, SKY, Drawing, canvas, finished, styled
from imbalance_bench.report.frame import LOWER_IS_BETTER
from imbalance_bench.report.means import MeanRows
from imbalance_bench.report.scores import Score, metric_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12


def bars(scores: Sequence[Score], title: str, provenance: list[str]) -> Drawing:
    """A panel for each setting and data set, a bar for each method, whiskers of one sd; the best is darker.

    More than ``MOST_PANELS`` panels are not drawn: a panel of means over data sets stands for those of a setting.
    """
    drawn, caption = styled(lambda: _bars([s for s in scores if s.mean is not None]))
    return finished(drawn, "summary", title, caption, provenance)


def _bars(scores: Sequence[Score]) -> tuple[Figure, str]:
    if not scores:
        raise BenchError("there is no number to draw: every cell was declined")
    by_section: dict[str, dict[str, list[Score]]] = {}
    for s in scores:
        by_section.setdefault(s.section, {}).setdefault(s.dataset, []).append(s)
    if sum(map(len, by_section.values())) > MOST_PANELS:
        panels = [_means(section, sets) for section, sets in by_section.items()]
        caption = "Means over the data sets on which every method was run; whiskers: one sd over data sets."
    else:
        panels = [_cells(section, name, cells) for section, sets in by_section.items() for name, cells in sets.items()]
        caption = "Means over the runs of a cell; whiskers: one sd."
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    most = max(len(values) for _, _, values in panels)
    drawn, axes = canvas(rows, columns, (0.75 + 0.2 * most) * rows)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (name, metric, values) in zip(axes.flat, panels):
        _panel(axis, values, metric)
        axis.set_title(name)
    if len(by_section) == 1:
        caption += f" {next(iter(by_section))}."
    else:
        caption += f" Settings, in this order: {'; '.join(by_section)}."
    return drawn, caption


Panel = tuple[str, str, dict[str, tuple[float, float | None]]]


def _cells(section: str, dataset: str, cells: Sequence[Score]) -> Panel:
    return dataset, cells[0].metric, {s.method: (s.mean or 0.0, s.sd) for s in cells}


def _means(section: str, sets: dict[str, list[Score]]) -> Panel:
    cells = [s for group in sets.values() for s in group]
    methods = {s.method: s.method for s in cells}
    table = MeanRows(cells[0].metric, methods, cells)
    values = table.ours.loc[table.sets, table.ranked]
    spread = {m: float(values[m].std(ddof=1)) if len(values) > 1 else None for m in values}
    return f"{len(table.sets)} data sets", cells[0].metric, {m: (float(values[m].mean()), spread[m]) for m in values}


def _panel(axis: Axes, values: dict[str, tuple[float, Any]], metric: str) -> None:
    means = [mean for mean, _ in values.values()]
    best = min(means) if metric in LOWER_IS_BETTER else max(means)
    axis.barh(
        range(len(means)),
        means,
        xerr=[sd or 0.0 for _, sd in values.values()],
        height=0.66,
        color=[BLUE if mean == best else SKY for mean in means],
        error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": BLACK},
    )
    axis.set_yticks(range(len(means)), list(values))
    axis.set_xlabel(metric_title(metric))
    axis.set_xlim(left=0)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
