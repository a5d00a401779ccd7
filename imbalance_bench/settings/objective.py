"""The number that a sweeper looks for the best of: a metric of its validation rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imbalance_bench.errors import BenchError, suggestion

PARTS = ("valid", "test")
ON_TEST = (
    "a sweeper was given {objective}: what it chose was chosen on the test rows, on which the numbers of the chosen "
    "cell are too good"
)


def has_better_side(metric: str) -> bool:
    """Whether one value of a metric is better than another: of a threshold that was chosen none is."""
    return not metric.startswith("threshold_")


@dataclass(frozen=True)
class Objective:
    """``part``/``metric``, or ``part``/``group``/``metric`` for another class group than that of the headline."""

    text: str
    part: str
    group: str
    metric: str

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Raises BenchError where it does not say of which rows, or which metric, or is of one to choose nothing by."""
        part, _, rest = text.partition("/")
        group, _, metric = rest.rpartition("/")
        if part not in PARTS or not metric:
            raise BenchError(
                f"objective={text} is not <rows>/<metric>: valid/auc_pr, valid/f1, valid/minority/f1; test/... is of "
                "test rows, which are not to be chosen by"
            )
        if not has_better_side(metric):
            raise BenchError(f"objective={text}: no value of {metric} is better than another: choose another metric")
        return cls(text, part, group, metric)

    def of(self, rows: Sequence[Mapping[str, str]], headline: str) -> float:
        """The mean over the runs in which it is defined, at the last epoch.

        Args:
            rows: of a metrics.csv, as ``scoring.from_csv`` reads them.
            headline: the class group of the cell's headline, which is meant where the metric has it; else "all",
                "macro", or the first that has it.

        Raises:
            BenchError: no run has it.
        """
        mine = [row for row in rows if row["part"] == self.part and row["iterate"] == "last"]
        groups = list(dict.fromkeys(row["class_group"] for row in mine if row["metric"] == self.metric))
        if not groups:
            near = suggestion(self.metric, {row["metric"] for row in mine})
            raise BenchError(f"objective={self.text}: there is no metric {self.metric} of these rows: {near}")
        group = self.group or next(g for g in (headline, "all", "macro", *groups) if g in groups)
        if group not in groups:
            raise BenchError(f"objective={self.text}: no class group {group}: {suggestion(group, groups)}")
        wanted = [row for row in mine if (row["class_group"], row["metric"]) == (group, self.metric)]
        defined = [value for row in wanted if not math.isnan(value := float(row["value"] or "nan"))]
        if not defined:
            raise BenchError(f"objective={self.text}: it is defined in no run, as where a class has no row among these")
        return sum(defined) / len(defined)
