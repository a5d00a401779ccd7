"""Methods over many data sets, of any selection: critical difference, Dolan-Moré profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.report.figures.shown import (
    ROW,
    Shown,
    Wanted,
    legend,
    methods_of,
    name_of,
    one_head,
    one_setting,
    panels,
    refuse_too_many,
    rows_of,
    style_of,
    wide,
)
from imbalance_bench.report.records import statistics
from imbalance_bench.report.records.pairs import Test, cliques, pairwise
from imbalance_bench.report.records.records import LOWER_IS_BETTER
from imbalance_bench.report.records.statistics import ALPHA
from imbalance_bench.report.sheets.means import dependence, friedman_note
from imbalance_bench.report.sheets.scores import metric_title
from imbalance_bench.report.style import BLACK, BLUE, Drawn

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

JOINED: tuple[Test, ...] = ("nemenyi", "wilcoxon")
NAME = 24  # letters a line of a method's name beside its rank


def critical_difference(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    """A row a method, by mean rank; beside them a line for each group of methods that the test does not tell apart,
    with a dot at each of its methods."""
    import pandas as pd

    if wanted.test not in JOINED:
        raise BenchError(
            f"--figure cd joins what --test {' or '.join(JOINED)} does not tell apart; {wanted.test} is a table: "
            "leave out --figure"
        )
    scores, left_out = complete(shown, 3)
    higher = shown[0].head[0] not in LOWER_IS_BETTER
    ranks = statistics.mean_ranks(scores, higher).sort_values()
    groups = cliques(pairwise(scores, cast(Test, wanted.test)), ranks, ALPHA)
    n, k = scores.shape
    distance = statistics.critical_difference(k, n, ALPHA) if wanted.test == "nemenyi" else None
    if distance is not None:
        told = f"Nemenyi's test, critical difference {distance:.2f} ranks at α = {ALPHA}"
    else:
        told = f"Wilcoxon's signed-rank tests of all pairs, p adjusted by Holm, at α = {ALPHA}"
    title = metric_title(shown[0].head[0])
    drawn = _ranked(ranks, groups, distance, title)
    values = pd.DataFrame({
        "method": list(ranks.index), "mean_rank": ranks.to_numpy(), "datasets": n,
        **{f"group_{i}": [method in group for method in ranks.index] for i, group in enumerate(groups, 1)},
    })  # fmt: skip
    caption = f"Mean ranks of {k} methods on {n} data sets. Lines join methods not told apart: {told}."
    return Drawn(drawn, " ".join(filter(None, [caption, friedman_note(title, scores), left_out])), values)


def _ranked(ranks: pd.Series, groups: Sequence[Sequence[str]], distance: float | None, title: str) -> Figure:
    """Method → mean rank, in order, as rows; ``groups`` as lines beside them; ``distance`` in ranks as a line above."""
    names = [name_of(method, NAME) for method in ranks.index]
    rows, height = rows_of(names)
    drawn, (axis,) = panels([()], 0, 0.65 + ROW * height)
    axis.hlines(rows, 1, ranks, color="#BBBBBB", linewidth=0.7)
    axis.plot(ranks, rows, "o", color=BLUE, markersize=4)
    for row, rank in zip(rows, ranks):
        axis.annotate(f"{rank:.2f}", (rank, row), (4, 0), textcoords="offset points", va="center", fontsize=6.5)
    highest = float(ranks.max())
    step = 0.06 * max(highest - 1, 1)
    for i, group in enumerate(groups):
        members = [rows[list(ranks.index).index(method)] for method in group]
        x = highest + (5 + i) * step
        axis.plot([x, x], [min(members), max(members)], color=BLACK, linewidth=1.6, solid_capstyle="round")
        axis.plot([x] * len(members), members, "o", color=BLACK, markersize=2.6)
    axis.set_yticks(rows, names)
    axis.set_ylim(height, -0.4)
    axis.set_xlim(1 - step / 2, highest + (5 + len(groups)) * step)
    axis.locator_params(axis="x", nbins=5, integer=True)
    axis.set_xlabel(f"mean rank (1 is best) by {title}")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    if distance is not None:
        axis.plot([1, 1 + distance], [-0.15, -0.15], color=BLACK, linewidth=1.2, marker="|", markersize=5)
    return drawn


def profile(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    """The share of data sets on which a method reaches θ times the best score."""
    refuse_too_many(shown, panels=len(shown))
    scores, left_out = complete(shown, 2)
    metric, methods = shown[0].head[0], list(scores)
    lower = metric in LOWER_IS_BETTER
    if (scores <= 0).any(axis=None) if lower else (scores < 0).any(axis=None):
        raise BenchError(
            f"a profile shows shares of the best score, which {metric} below {'or at ' if lower else ''}0 does not "
            "have: choose another --metric, or --figure cd, which shows ranks"
        )
    thetas = np.linspace(0, 1, 201)
    shares = statistics.dolan_more(1 / scores if lower else scores, thetas)
    drawn, (axis,) = panels([()], 0, 2.3)
    names = {}
    for method in methods:
        (names[method],) = axis.plot(thetas, shares[method], **style_of(method, methods))
    first = float(thetas[(shares.to_numpy() < 1).any(axis=1).argmax()])  # below it every share is 1
    axis.set(xlim=(max(0, first - 0.1), 1), ylim=(0, 1.02))
    axis.set(xlabel="θ (share of the best score)", ylabel="share of data sets")
    legend(drawn, names)
    caption = (
        f"Share of the {len(scores)} data sets on which a method's {metric_title(metric)} is at least θ times the best"
        + (" (at most the best divided by θ: lower is better)." if lower else "; at θ = 1 it is the best.")
    )
    return Drawn(drawn, " ".join(filter(None, [caption, left_out])), shares.reset_index())


def complete(shown: Sequence[Shown], least: int) -> tuple[pd.DataFrame, str]:
    """Scores on the data sets that have all methods, data sets × methods, and which are left out. Raises BenchError
    where there are fewer than two of them, or fewer than ``least`` methods."""
    one_head(shown)
    one_setting(shown)
    methods = methods_of(shown)
    if len(methods) < least:
        raise BenchError(
            f"this figure needs {least} methods or more, and there are {len(methods)} ({', '.join(methods)}): choose "
            "or train more; --figure scatter shows two"
        )
    table = wide(shown)
    whole = table.dropna()
    if len(whole) < 2:
        rare = table.notna().sum().sort_values()
        told = ", ".join(f"{method} on {count}" for method, count in rare[rare < len(table)].items())
        raise BenchError(
            f"this figure needs two data sets that have all {len(methods)} methods, and {len(whole)} of {len(table)} "
            "has: " + (f"leave out methods, or train what is missing ({told})" if told else "train on more data sets")
        )
    absent = [panel for panel in table.index if panel not in whole.index]
    told = f"Left out, since a method has no number there: {', '.join(absent)}." if absent else ""
    dependent = dependence({one.panel: one.record["labels"]["dataset"] for one in shown if one.panel in whole.index})
    return whole, " ".join(filter(None, [told, dependent]))
