"""Reliability diagrams of any selection: probabilities as predicted, and calibrated on the validation rows of each
run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.metrics import calibration, probabilities
from imbalance_bench.metrics.scoring import TUNED_ON, without_validation
from imbalance_bench.report.figures.shown import (
    AREAS,
    LINE,
    RunPredictions,
    Shown,
    Wanted,
    areas,
    by_panel,
    classes_of,
    groups_title,
    legend,
    methods_of,
    panels,
    predictions,
    style_of,
)
from imbalance_bench.report.style import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 14  # points², the dot of a curve's largest bin
RARE = 0.25  # share of events below which axes go by square roots
TICKS, RARE_TICKS = (0, 0.25, 0.5, 0.75, 1), (0.01, 0.1, 0.3, 0.6, 1)


def reliability(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    """Two panels a data set: as predicted, and calibrated; only the first where no record can be calibrated."""
    import pandas as pd

    found, methods = by_panel(shown), methods_of(shown)
    without = {one.method: reason for one in shown if (reason := why_not_calibrated(one, wanted))}
    stages = ["as predicted", wanted.calibration]
    stages = stages if any(not why_not_calibrated(one, wanted) for one in shown) else stages[:1]
    titles = [(panel, *([stage] if len(stages) > 1 else [])) for panel in found for stage in stages]
    drawn, axes = panels(titles, 1.65 + LINE * -(-len(methods) // AREAS), 2.5)
    rows, names = [], {}
    for axis, (here, stage) in zip(axes, itertools.product(found.values(), stages)):
        entries = []
        axis.plot([0, 1], [0, 1], color="#888888", linewidth=0.9, linestyle=":")
        for one in here:
            if stage != stages[0] and why_not_calibrated(one, wanted):
                continue
            events, p, error = pooled(one, wanted, stage != stages[0])
            if not len(p):
                continue
            bins = probabilities.reliability(events, p)
            style = style_of(one.method, methods)
            axis.plot(bins["predicted"], bins["observed"], **style | {"linewidth": 0.8})
            size = SIZE * bins["rows"] / bins["rows"].max()
            axis.scatter(bins["predicted"], bins["observed"], size, color=style["color"], linewidths=0)
            (line,) = axis.plot([], [], marker="o", markersize=3, **style)
            entries.append((line, f"{error:.3f}"))
            names[one.method] = line
            where = {"panel": one.panel, "stage": stage, "method": one.method, "class_group": one.head[1]}
            rows.append(pd.DataFrame(where | {"ece": error} | bins))
        axis.set(xlabel="predicted", ylabel="observed")
        areas(axis, entries)
    values = pd.concat(rows, ignore_index=True)
    rare = float((values["observed"] * values["rows"]).sum() / values["rows"].sum()) < RARE
    for axis in axes:
        _scale(axis, rare)
    legend(drawn, names)
    held = values["rows"]
    caption = (
        f"{groups_title(shown)}: mean predicted probability and observed share in "
        f"{probabilities.BINS} bins of equal mass over the rows of all runs, {held.min()} to {held.max()} rows "
        "each (areas of dots). Numbers: expected calibration error over such bins, the mean over runs."
    )
    caption += f" {wanted.calibration}: calibrated on the validation rows of each run." if len(stages) > 1 else ""
    caption += " Axes go by square roots." if rare else ""
    notes = [f"{method} is not calibrated: {reason}." for method, reason in without.items()]
    return Drawn(drawn, " ".join([caption, *notes]), values)


def _scale(axis: Axes, rare: bool) -> None:
    """From 0 to 1; of rare events by square roots, so that small probabilities stand apart."""
    ticks = RARE_TICKS if rare else TICKS
    scale: Any = ("function",) if rare else ("linear",)
    options: Any = {"functions": (lambda p: np.sqrt(np.maximum(p, 0)), np.square)} if rare else {}
    axis.set_xscale(*scale, **options)
    axis.set_yscale(*scale, **options)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set(xlim=(0, 1), ylim=(0, 1))


def why_not_calibrated(one: Shown, wanted: Wanted) -> str:
    if wanted.part == "valid":
        return "its validation rows are shown, which it would be fitted on"
    return "" if one.record.get("validation") in TUNED_ON else without_validation(one.record)


def pooled(one: Shown, wanted: Wanted, calibrated: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Events and their probabilities, of the rows of all runs (and of each class of the group); and the calibration
    error, the mean over runs (of the mean over classes)."""
    valid = {v.run: v for v in predictions(one.record, "valid", wanted.readout)} if calibrated else {}
    events, p, errors = [], [], []
    for run in predictions(one.record, wanted.part, wanted.readout):
        scores = run.scores
        if calibrated:
            fitted = calibration.fitted(wanted.calibration, valid[run.run].labels, valid[run.run].scores)
            if fitted is None:  # one class among the validation rows
                continue
            scores = fitted(scores)
        each = list(_events(one, run, scores))
        errors += [np.mean([probabilities.equal_mass_error(*pair) for pair in each])] if each else []
        events += [event for event, _ in each]
        p += [probability for _, probability in each]
    if not events:
        return np.zeros(0, bool), np.zeros(0), float("nan")
    return np.concatenate(events), np.concatenate(p), float(np.mean(errors))


def _events(one: Shown, run: RunPredictions, scores: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if one.head[1] == "all":
        yield scores.argmax(axis=1) == run.labels, np.exp(scores.max(axis=1))
        return
    for c in classes_of(one.record, one.head[1], run.run):
        if (run.labels == c).any():
            yield run.labels == c, np.exp(scores[:, c])
