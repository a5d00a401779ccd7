"""Mean and mean-rank rows over data sets, and whether the methods differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imbalance_bench.report.published.printed import PrintedTable
from imbalance_bench.report.records import statistics
from imbalance_bench.report.records.records import LOWER_IS_BETTER
from imbalance_bench.report.sheet import Item, mean_sd, number
from imbalance_bench.report.sheets.scores import Score
from imbalance_bench.settings.objective import has_better_side

if TYPE_CHECKING:
    import pandas as pd


class MeanRows:
    """Mean and mean rank over the data sets on which every ranked method has a number;
    none of fewer than two.

    Ranked are those methods of ``heads`` (label → heading) that have at least one number and are not ``restricted``
    to some data sets. The paper's side is computed again from its printed values on the same sets, so that both sides
    of a difference mean the same; what it printed itself stands below.
    """

    def __init__(
        self,
        metric: str,
        heads: dict[str, str],
        scores: Sequence[Score],
        restricted: Container[str] = (),
        printed: PrintedTable | None = None,
    ) -> None:
        import pandas as pd

        self.metric = metric
        self.printed = printed
        self.heads = heads
        self.datasets = list(dict.fromkeys(s.dataset for s in scores))
        methods = list(dict.fromkeys(s.method for s in scores))
        cells = {(s.dataset, s.method): s for s in scores if s.metric == self.metric}

        def wide(value: Callable[[Score], float | None]) -> pd.DataFrame:
            rows = [[value(cells[d, m]) if (d, m) in cells else None for m in methods] for d in self.datasets]
            return pd.DataFrame(rows, index=self.datasets, columns=methods, dtype=float)

        self.ours = wide(lambda s: s.mean)
        self.paper = wide(lambda s: float(s.published) if s.published else None)
        self.ranked = [m for m in heads if m in methods and m not in restricted and self.ours[m].notna().any()]
        self.sets = list(self.ours[self.ranked].dropna().index) if self.ranked else []
        self.paper_is_whole = bool(self.sets) and self.paper.loc[self.sets, self.ranked].notna().all(axis=None)

    def rows(self, heads: dict[str, str]) -> list[list[Item]]:
        """The rows below the rule of a block whose columns are the methods ``heads``."""
        if len(self.sets) < 2:
            return []
        compared = heads.keys() <= self.heads.keys() and has_better_side(self.metric)
        over = f"({len(self.sets)} of {len(self.datasets)} sets)"
        rows = [[Item(f"mean {over}"), *(self._mean(m, compared) for m in heads)]]
        if compared and len(self.ranked) > 1:
            rows.append([Item(f"mean rank {over}"), *(self._rank(m) for m in heads)])
        if compared:
            rows += [[Item(f"{title}, as printed"), *cells] for title, cells in self._as_printed(heads)]
        return rows

    def _mean(self, method: str, compared: bool) -> Item:
        values = self.ours.loc[self.sets, method]
        missing = int(values.isna().sum())
        if missing:
            return Item(f"– (lacks {missing})", muted=True)
        mean, sd = float(values.mean()), float(values.std(ddof=1))
        best = compared and _is_best(method, self._means, lower=self.metric in LOWER_IS_BETTER)
        aside = ""
        if self.paper.loc[self.sets, method].notna().all():
            theirs = float(self.paper.loc[self.sets, method].mean())
            aside = f"({number(theirs)}, {number(mean - theirs, signed=True)})"
        return Item(mean_sd(mean, sd), aside, bold=best)

    def _rank(self, method: str) -> Item:
        if method not in self.ranked:
            return Item("not ranked", muted=True)
        ours = self._ranks
        best = _is_best(method, ours.round(2), lower=True)
        aside = ""
        if self.paper_is_whole:
            theirs = self._printed_ranks[method]
            aside = f"({number(theirs, 2)}, {number(ours[method] - theirs, 2, signed=True)})"
        return Item(number(ours[method], 2), aside, bold=best)

    @cached_property  # each of these is asked for by every method
    def _means(self) -> pd.Series:
        return self.ours.loc[self.sets, self.ranked].mean().round(3)

    @cached_property
    def _ranks(self) -> pd.Series:
        return self.mean_ranks(self.ours)

    @cached_property
    def _printed_ranks(self) -> pd.Series:
        return self.mean_ranks(self.paper)

    def mean_ranks(self, values: pd.DataFrame) -> pd.Series:
        return statistics.mean_ranks(values.loc[self.sets, self.ranked], self.metric not in LOWER_IS_BETTER)

    def _as_printed(self, heads: dict[str, str]) -> list[tuple[str, list[Item]]]:
        if self.printed is None:
            return []
        rows = []
        for title, metric in (("mean", self.metric), ("mean rank", "mean_rank")):
            found = [self.printed.summary(m, metric) for m in heads]
            if any(cell and cell.text for cell in found):
                rows.append((title, [Item("", f"({cell})" if cell and cell.text else "") for cell in found]))
        return rows

    def notes(self) -> list[str]:
        """Notes on the sets and methods that the mean rows leave out, and on whether the methods differ (Friedman)."""
        if not self.ranked:
            return []
        lacking = [d for d in self.datasets if d not in self.sets]
        notes = []
        if lacking and len(self.sets) < 2:
            few = f"only {self.sets[0]}" if self.sets else "no data set"
            notes.append(f"No mean rows: of {len(self.datasets)} data sets {few} has a number of every ranked method.")
        elif lacking:
            notes.append(f"Left out of the mean rows, since a ranked method has no number there: {', '.join(lacking)}.")
        unranked = [self.heads[m] for m in self.heads if m in self.ours and m not in self.ranked]
        if unranked:
            notes.append(f"Not ranked, and not in the test below: {', '.join(unranked)}.")
        if len(self.sets) < 2 or len(self.ranked) < 2 or not has_better_side(self.metric):
            return notes
        for name, values in (("ours", self.ours), ("the printed values on the same sets", self.paper)):
            if name == "ours" or self.paper_is_whole:
                notes.append(friedman_note(name, values.loc[self.sets, self.ranked]))
        return list(filter(None, notes))

    def frame_rows(self) -> list[dict[str, Any]]:
        """The mean rows for the tidy file."""
        if len(self.sets) < 2:
            return []
        ours, ranks = self.ours.loc[self.sets, self.ranked], self.mean_ranks(self.ours)
        over = f"mean_over_{len(self.sets)}_datasets"
        rows = []
        for method in self.ranked:
            sd = float(ours[method].std(ddof=1))
            where = {"method": method, "dataset": over}
            rows.append({**where, "metric": self.metric, "mean": float(ours[method].mean()), "sd": sd})
            rows.append({**where, "metric": "mean_rank", "mean": float(ranks[method])})
        return rows


def _is_best(method: str, values: pd.Series, lower: bool) -> bool:
    if method not in values or len(values) < 2:
        return False
    return bool(values[method] == (values.min() if lower else values.max()))


def dependence(datasets: Mapping[str, str]) -> str:
    """That the units of a test over data sets (unit → data set) are not all of data sets of their own; else ""."""
    if len({*datasets.values()}) == len(datasets):
        return ""
    return "Several of these are of one data set, and not independent as the test takes them."


def friedman_note(name: str, values: pd.DataFrame) -> str:
    """Whether the methods (columns) differ over the data sets (rows), in a line; "" where nothing can be said."""
    test = statistics.friedman(values)
    if math.isnan(test.p):
        return ""
    by = f"Iman-Davenport F({test.dof[0]}, {test.dof[1]}) = {test.f:.2f}, " if test.method == "F" else f"{test.method} "
    p = f"p = {test.p:.3f}" if test.p >= 0.001 else f"p = {test.p:.1e}"
    few = f" Fewer than 5 sets: full agreement itself gives p = {test.smallest:.2g}." if test.cells < 5 else ""
    return f"Friedman test of {name} ({test.methods} methods, {test.cells} sets): χ² = {test.chi2:.2f}, {by}{p}.{few}"
