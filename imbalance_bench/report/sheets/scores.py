"""One number of a table: the mean of a cell's runs, beside what the paper printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Any

from imbalance_bench.metrics import scoring
from imbalance_bench.report.published.sides import Side
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import LOWER_IS_BETTER, CellState, Record, readout_title
from imbalance_bench.report.sheet import Footnotes, mean_sd
from imbalance_bench.settings.config import labels_shown

METRIC_TITLES = {
    "auc_pr": "AUC-PR", "auc_pr_trapezoid": "AUC-PR (trapezoid)", "auc_roc": "AUC-ROC", "ap_at_0.75": "AP@0.75",
    "ap_at_0.5": "AP@0.5", "ap_at_0.25": "AP@0.25", "f1": "F1", "g_mean": "G-mean", "mse": "MSE", "mae": "MAE",
    "f1_tuned": "F1, tuned threshold", "g_mean_tuned": "G-mean, tuned threshold",
    "balanced_accuracy_tuned": "balanced accuracy, tuned threshold", "cost_tuned": "cost, tuned threshold",
    "balanced_accuracy": "balanced accuracy", "log_loss": "log loss", "mcc": "MCC", "ece": "ECE",
    "n_classes": "classes", "n_train": "training images", "n_test": "test images",
    "n_instances": "instances", "n_majority": "majority",
    "n_minority": "minority", "imbalance_ratio": "IR", "n_features": "width", "mean_norm": "mean norm",
    "minority_share": "minority / majority", "words_mean": "mean words", "near_copies": "near-copies",
    "distinct_1": "distinct-1", "distinct_2": "distinct-2",
    "sources_distinct_2": "distinct-2 of the sources",
}  # fmt: skip
AXES = ("method", "dataset", "ratio", "backbone", "protocol", "trainer", "class_group", "metric")
# What a table of settings shows: numbers of the configuration, and of the record where the cell was run.
FACTS: dict[str, Callable[[CellState], float | None]] = {
    "batch_size": lambda o: o.cell.config["trainer"]["batch_size"],
    "training_rounds": lambda o: _rounds(o.cell.config),
    "n_classes": lambda o: o.record["data"]["classes"] if o.state == "done" and o.record else None,
    "n_train": lambda o: o.record["runs"][0]["n_train"] if o.state == "done" and o.record else None,
    "n_test": lambda o: o.record["runs"][0]["n_test"] if o.state == "done" and o.record else None,
    "n_features": lambda o: o.record["data"]["features"] if o.state == "done" and o.record else None,
    "mean_norm": lambda o: _mean_norm(o.record["runs"]) if o.state == "done" and o.record else None,
}
COUNTS = ("n_instances", "n_majority", "n_minority")
DECIMALS = dict.fromkeys((*FACTS, *COUNTS), 0) | {"mean_norm": 2, "imbalance_ratio": 2, "words_mean": 0}


def _rounds(config: dict[str, Any]) -> float | None:
    """Rounds of a method that begins with a share ``initial`` of the epochs as plain training; others have none."""
    epochs, initial = config["trainer"]["epochs"], config["method"].get("initial")
    return None if initial is None else epochs - round(initial * epochs)


def _mean_norm(runs: list[Record]) -> float | None:
    """Mean Euclidean norm of the training rows as the network sees them, over runs; of methods that record it."""
    norms = [run["info"]["mean_norm"] for run in runs if "mean_norm" in run["info"]]
    return sum(norms) / len(norms) if norms else None


@dataclass(frozen=True)
class Score:
    """One number of a table. ``method``: how the table addresses its row (``sides.Side``); ``iterate``: the readout
    found; ``runs`` of ``of`` runs gave a number, ``few_classes``: how many of them predict few, in words; ``state`` as
    in ``CellState.in_words``, or "reference" for the method that a relative gap is measured from; sd over runs with
    n - 1; ``exchanged``: what the paper printed as the metric that it seems to have exchanged with this one;
    ``stand_in``: what it printed is of another data set; ``chosen``: of which networks this one is the best."""

    section: str
    method: str
    dataset: str
    ratio: str
    backbone: str
    protocol: str
    trainer: str
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
    exchanged: str = ""
    difference: float | None = None
    best: bool = False
    few_classes: str = ""
    stand_in: bool = False
    chosen: str = ""

    @property
    def spreads(self) -> float | None:
        """The difference to the paper's value in units of the standard deviation that it prints or, where it prints
        none or 0.00, of ours over runs; None without either."""
        spread = float(self.published_sd or 0) or self.sd
        return self.difference / spread if self.difference is not None and spread else None


def score(
    result: CellState,
    values: dict[str, frames.Values],
    metric: str,
    class_group: str,
    readout: str,
    section: str = "",
    row: str = "",
) -> Score:
    """The mean over a cell's runs, or why there is none.

    ``values``: ``records.by_cell`` of the records; ``row``: how the row is addressed (``sides.Side``), where that says
    more than the label of the cell's method.
    """
    named = labels_shown(result.labels, result.cell.config)
    labels: dict[str, Any] = {axis: named[axis] for axis in frames.LABELS}
    runs = result.record["runs"] if result.state == "done" and result.record else []
    name, scale = recorded(metric)
    asked = Side.of(row).readout or readout
    found = frames.average(values.get(result.cell.id), name, class_group, asked)
    scaled = {k: scale * v if k in ("mean", "sd") and v is not None else v for k, v in found.items()}
    made = Score(
        section=section,
        **labels | {"method": row or labels["method"]},
        metric=metric,
        class_group=class_group,
        state=result.in_words,
        reason=result.reason,
        of=len(runs),
        few_classes=scoring.few_classes(result.record),
        id=result.cell.id,
        **scaled,
    )
    if metric in FACTS and made.mean is None:
        made = replace(made, mean=FACTS[metric](result), sd=None, runs=len(runs), few_classes="")
    if made.state == "done" and made.mean is None and not relative(metric):
        by = f" by {frames.readout_title(asked)}" if asked != readout else ""
        what = name if metric in FACTS else f"{name} of class group {class_group}{by}"
        return replace(made, state="n/a", reason=f"{what} is not in the record, or in no run defined")
    return made


def recorded(metric: str) -> tuple[str, float]:
    """The metric of the records behind one of a table, and what it is multiplied by: ``<metric>_pct`` is 100 times
    it."""
    if metric.endswith("_pct") and not relative(metric):
        return metric.removesuffix("_pct"), 100.0
    return metric, 1.0


def relative(metric: str) -> tuple[str, str] | None:
    """A relative gap: ``delta_<metric>_vs_<method>_pct`` → (metric, method)."""
    match = re.fullmatch(r"delta_(.+)_vs_(.+)_pct", metric)
    return (match[1], match[2]) if match else None


def mark_best(scores: list[Score], compared: Callable[[Score], Any], lower: Container[str] = ()) -> list[Score]:
    """Marks the best among scores of equal ``compared(score)`` (None: not compared); what prints alike ties. ``lower``:
    metrics of which lower is better, as it is of errors anyway."""
    groups: dict[Any, list[int]] = {}
    for place, s in enumerate(scores):
        if s.mean is not None and (key := compared(s)) is not None:
            groups.setdefault(key, []).append(place)
    best: set[int] = set()
    for group in groups.values():
        values = [as_printed(scores[place]) for place in group]
        metric = scores[group[0]].metric
        extreme = min(values) if metric in lower or recorded(metric)[0] in LOWER_IS_BETTER else max(values)
        if len(group) > 1:
            best |= {place for place, value in zip(group, values) if value == extreme}
    return [replace(s, best=place in best) for place, s in enumerate(scores)]


def decimals(metric: str) -> int:
    if relative(metric):
        return 1
    return DECIMALS.get(metric, 2 if recorded(metric)[1] == 100 else 3)


def as_printed(score: Score) -> float:
    assert score.mean is not None
    return round(score.mean, decimals(score.metric))


def score_text(score: Score, readout: str, footnotes: Footnotes) -> str:
    """ "0.640 ± 0.012" of a score that has a number, with the marks of what is to be known of it; ``readout``: the one
    that was asked for."""
    text = mean_sd(score.mean or 0.0, score.sd, decimals(score.metric))
    if score.runs < score.of:
        text = footnotes.mark(text, f"over {score.runs} of {score.of} runs: the others diverged or are undefined")
    text = footnotes.mark(text, score.few_classes)
    text = footnotes.mark(text, score.chosen)
    if score.iterate != readout:
        text = footnotes.mark(text, f"{readout_title(score.iterate)}: this method keeps no other")
    return text


def metric_title(metric: str) -> str:
    gap = relative(metric)
    if gap:
        return f"Δ to {gap[1]} (%)"
    name, scale = recorded(metric)
    title = METRIC_TITLES.get(name) or re.sub(".+_(after|change)", r"\1", name).replace("_", " ")  # beside ..._before
    return title + (" (%)" if scale == 100 else "")


def class_title(class_group: str) -> str:
    return {"macro": "all classes", "all": "all classes"}.get(class_group, class_group.removeprefix("class:"))
