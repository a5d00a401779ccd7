"""Training of any selection: loss and validation score by epoch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.report.figures.shown import (
    MOST_BANDS,
    Shown,
    Wanted,
    band_note,
    by_panel,
    legend,
    methods_of,
    panels,
    refuse_too_many,
    style_of,
)
from imbalance_bench.report.records.records import Record
from imbalance_bench.report.records.tuning import met
from imbalance_bench.report.style import BLACK, Drawn, history_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LOSS, SCORE = "train_loss", "valid_score"
PANELS = 6  # data sets, of two panels each


@dataclass(frozen=True)
class DrawnLine:
    """A quantity of a cell by epoch, drawn: its mean over ``runs`` and, as ``values`` has it, its sd; ``main``: it is
    the first of its panel and cell; ``dot``: the epoch that validation chose is marked."""

    method: str
    handle: Any
    values: pd.DataFrame
    runs: int
    main: bool
    dot: bool


def curve(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    """Two panels a data set: losses, and validation scores where there are any."""
    import pandas as pd

    histories = {one.record["id"]: by_epoch(one.record) for one in shown}
    told = [one for one in shown if len(histories[one.record["id"]])]
    if not told:
        raise BenchError(
            f"none of {', '.join(methods_of(shown))} has a history of several epochs, as methods have that train a "
            "network: choose one, such as method=cross_entropy"
        )
    refuse_too_many(told, PANELS)
    found, methods = by_panel(told), methods_of(told)
    scored = any(SCORE in histories[one.record["id"]] for one in told)
    quantities = (LOSS, SCORE)[: 1 + scored]
    drawn, axes = panels([(panel,) for panel in found for _ in quantities], 1.5, 2.2)
    lines: list[DrawnLine] = []
    for axis, (here, quantity) in zip(axes, itertools.product(found.values(), quantities)):
        for one in here:
            lines += _lines(axis, one, histories[one.record["id"]], quantity, methods)
        _scale(axis, quantity)
    names: dict[str, Any] = {}
    for line in lines:
        if line.main:
            names.setdefault(line.method, line.handle)
    legend(drawn, names)
    thin = any(len(losses(history)) > 1 for history in histories.values() if len(history))
    absent = [method for method in methods_of(shown) if method not in methods]
    caption = _caption(lines, len(methods), thin, absent)
    return Drawn(drawn, caption, pd.concat([line.values for line in lines], ignore_index=True))


def _lines(axis: Axes, one: Shown, history: pd.DataFrame, quantity: str, methods: Sequence[str]) -> Iterator[DrawnLine]:
    """Draws the losses of a cell, or its validation score."""
    import pandas as pd

    columns = losses(history) if quantity == LOSS else [SCORE] if SCORE in history else []
    for i, column in enumerate(columns):
        style = style_of(one.method, methods) | {"linewidth": 0.6 + 0.6 * (not i)}
        of_epoch = history.dropna(subset=[column]).groupby("epoch")[column]
        mean, sd = of_epoch.mean(), of_epoch.std(ddof=1)
        (handle,) = axis.plot(mean.index, mean, **style)
        if len(methods) <= MOST_BANDS:
            low, high = mean - sd.fillna(0), mean + sd.fillna(0)
            axis.fill_between(mean.index, low, high, color=style["color"], alpha=0.13, linewidth=0)
        at = chosen(one.record, history, mean.index) if quantity == SCORE else None
        if at is not None:
            dot: dict[str, Any] = {"color": style["color"], "edgecolors": BLACK, "linewidths": 0.5}
            axis.scatter([at], [mean.loc[at]], 16, zorder=4, **dot)
        values = pd.DataFrame({
            "panel": one.panel, "method": one.method, "quantity": column, "epoch": mean.index,
            "mean": mean.to_numpy(), "sd": sd.to_numpy(), "runs": of_epoch.count().to_numpy(),
        })  # fmt: skip
        yield DrawnLine(one.method, handle, values, history["run"].nunique(), main=not i, dot=at is not None)


def _scale(axis: Axes, quantity: str) -> None:
    """Logarithmic for losses, where all are above 0; and the titles of the axes."""
    lines = [line.get_ydata() for line in axis.get_lines()]
    if quantity == LOSS and lines and (low := min(map(np.min, lines))) > 0:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.5, max(map(np.max, lines)) * 1.5)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(lambda value, _: "")
    axis.set(xlabel="epoch", ylabel="training loss" if quantity == LOSS else "validation score")
    axis.locator_params(axis="x", integer=True, nbins=4)
    axis.margins(x=0.02)


def _caption(lines: Sequence[DrawnLine], methods: int, thin: bool, absent: Sequence[str]) -> str:
    """``methods``: how many are drawn; ``thin``: some have several losses; ``absent``: those without a history."""
    runs = sorted({line.runs for line in lines})
    caption = f"Means over {' or '.join(map(str, runs))} runs; {band_note(methods, max(runs))}."
    if any(line.dot for line in lines):
        caption += " Dots: the median epoch of the highest validation score, whose network the readout best scores."
    if thin:
        caption += " Thin lines: further losses of a method, which the values name."
    if methods > 1:
        caption += " Losses of different methods are of different functions."
    if absent:
        caption += f" Without a history of epochs: {', '.join(absent)}."
    return caption


def by_epoch(record: Record) -> pd.DataFrame:
    """A row a run and epoch; none of methods that are fitted at once."""
    history = history_of(record)
    if "epoch" not in history or history["epoch"].nunique() < 2 or not (losses(history) or SCORE in history):
        return history.iloc[:0]
    return history.groupby(["run", "epoch"], as_index=False).last()


def losses(history: pd.DataFrame) -> list[str]:
    """The columns of losses, that of training first."""
    named = [name for name in history if str(name).endswith("_loss") and history[name].notna().any()]
    return sorted(named, key=lambda name: name != LOSS)


def chosen(record: Record, history: pd.DataFrame, epochs: Sequence[int]) -> int | None:
    """The epoch nearest the median over runs of the epochs that are best on validation; None where none is kept."""
    if SCORE not in history or met(record, "best") != "best":
        return None
    scores = history.dropna(subset=[SCORE])
    best = scores.loc[scores.groupby("run")[SCORE].idxmax(), "epoch"]
    return int(min(epochs, key=lambda epoch: abs(epoch - np.median(best))))
