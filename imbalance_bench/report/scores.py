"""One number of a table: the mean of a cell's runs, beside what the paper printed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imbalance_bench.report import frame as frames
from imbalance_bench.report.frame import LOWER_IS_BETTER, Outcome

if TYPE_CHECKING:
    import pandas as pd

METRIC_TITLES = {
    "auc_pr": "AUC-PR", "auc_pr_trapezoid": "AUC-PR (trapezoid)", "auc_roc": "AUC-ROC", "ap_at_0.75": "AP@0.75",
    "ap_at_0.5": "AP@0.5", "ap_at_0.25": "AP@0.25", "f1": "F1", "g_mean": "G-mean", "mse": "MSE", "mae": "MAE",
    "balanced_accuracy": "balanced accuracy", "log_loss": "log loss", "ece": "ECE",
}  # fmt: skip
AXES = ("method", "dataset", "ratio", "backbone", "protocol", "metric")


@dataclass(frozen=True)
class Score:
    """One number of a table. ``iterate`` is the one met; ``runs`` of ``of`` runs gave a number; ``state`` as in
    ``Outcome``, or "reference" for the method that a relative gap is measured from; sd over runs with n - 1."""

    section: str
    method: str
    dataset: str
    ratio: str
    backbone: str
    protocol: str
    metric: str
    class_group: str
    iterate: str
    state: str
    reason: str
    mean: float | None
    sd: float | None
    runs: int
    of: int
    id: str
    published: str = ""
    published_sd: str = ""
    difference: float | None = None
    best: bool = False

    @property
    def place(self) -> tuple[str, ...]:
        """What the methods of one comparison share."""
        return (self.dataset, self.ratio, self.backbone, self.protocol, self.metric)


def score(
    result: Outcome, values: dict[str, pd.DataFrame], metric: str, class_group: str, iterate: str, section: str = ""
) -> Score:
    """The mean over a cell's runs, or why there is none. ``values``: ``frame.by_cell`` of the records."""
    labels: dict[str, Any] = {axis: result.labels[axis] for axis in AXES if axis != "metric"}
    made = Score(
        section=section,
        **labels,
        metric=metric,
        class_group=class_group,
        state=result.state,
        reason=result.reason,
        of=len(result.record["runs"]) if result.state == "done" and result.record else 0,
        id=result.cell.id,
        **frames.average(values.get(result.cell.id), metric, class_group, iterate),
    )
    if made.state == "done" and made.mean is None and not relative(metric):
        reason = f"{metric} of class group {class_group} is not in the record, or in no run defined"
        return replace(made, state="n/a", reason=reason)
    return made


def relative(metric: str) -> tuple[str, str] | None:
    """A relative gap: ``delta_<metric>_vs_<method>_pct`` → (metric, method)."""
    match = re.fullmatch(r"delta_(.+)_vs_(.+)_pct", metric)
    return (match[1], match[2]) if match else None


def mark_best(scores: list[Score], compared: Callable[[Score], Any]) -> list[Score]:
    """Marks the best among scores of equal ``compared(score)`` (None: not compared); what prints alike ties."""
    groups: dict[Any, list[Score]] = {}
    for s in scores:
        if s.mean is not None and (key := compared(s)) is not None:
            groups.setdefault(key, []).append(s)
    best = set()
    for group in groups.values():
        values = [as_printed(s) for s in group]
        extreme = min(values) if group[0].metric in LOWER_IS_BETTER else max(values)
        if len(group) > 1:
            best |= {(s.id, s.metric) for s, value in zip(group, values) if value == extreme}
    return [replace(s, best=(s.id, s.metric) in best) for s in scores]


def decimals(metric: str) -> int:
    return 1 if relative(metric) else 3


def as_printed(score: Score) -> float:
    assert score.mean is not None
    return round(score.mean, decimals(score.metric))


def metric_title(metric: str) -> str:
    gap = relative(metric)
    if gap:
        return f"Δ to {gap[1]} (%)"
    return METRIC_TITLES.get(metric, metric.replace("_", " "))
