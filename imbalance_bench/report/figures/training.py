"""Training of any selection: loss and validation score by epoch."""

from __future__ import annotations

from collections.abc import Sequence
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

LOSS, SCORE = "train_loss", "valid_score"
PANELS = 6  # data sets, of two panels each


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
    drawn, axes = panels([(panel,) for panel in found for _ in range(1 + scored)], 1.5, 2.2)
    rows, places, runs, stopped = [], iter(axes), set(), False
    names: dict[str, Any] = {}
    for panel, here in found.items():
        for column in (LOSS, SCORE)[: 1 + scored]:
            axis = next(places)
            for one in here:
                history = histories[one.record["id"]]
                for i, name in enumerate(losses(history) if column == LOSS else [SCORE] if SCORE in history else []):
                    style = style_of(one.method, methods) | ({"linewidth": 0.6 + 0.6 * (not i)})
                    of_epoch = history.dropna(subset=[name]).groupby("epoch")[name]
                    mean, sd = of_epoch.mean(), of_epoch.std(ddof=1)
                    (line,) = axis.plot(mean.index, mean, **style)
                    if len(methods) <= MOST_BANDS:
                        low, high = mean - sd.fillna(0), mean + sd.fillna(0)
                        axis.fill_between(mean.index, low, high, color=style["color"], alpha=0.13, linewidth=0)
                    if not i:
                        names.setdefault(one.method, line)
                    rows.append(pd.DataFrame({
                        "panel": panel, "method": one.method, "quantity": name, "epoch": mean.index,
                        "mean": mean.to_numpy(), "sd": sd.to_numpy(), "runs": of_epoch.count().to_numpy(),
                    }))  # fmt: skip
                    runs.add(history["run"].nunique())
                    at = chosen(one.record, history, mean.index) if column == SCORE else None
                    if at is not None:
                        stopped = True
                        dot: dict[str, Any] = {"color": style["color"], "edgecolors": BLACK, "linewidths": 0.5}
                        axis.scatter([at], [mean.loc[at]], 16, zorder=4, **dot)
            lines = [line.get_ydata() for line in axis.get_lines()]
            if lines:
                low, high = min(map(np.min, lines)), max(map(np.max, lines))
            if column == LOSS and lines and low > 0:
                axis.set_yscale("log")
                axis.set_ylim(low / 1.5, high * 1.5)
                axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.yaxis.set_minor_formatter(lambda value, _: "")
            axis.set(xlabel="epoch", ylabel="training loss" if column == LOSS else "validation score")
            axis.locator_params(axis="x", integer=True, nbins=4)
            axis.margins(x=0.02)
    legend(drawn, names)
    caption = f"Means over {' or '.join(map(str, sorted(runs)))} runs; {band_note(len(methods), max(runs))}."
    if stopped:
        caption += " Dots: the median epoch of the highest validation score, whose network the readout best scores."
    if any(len(losses(history)) > 1 for history in histories.values() if len(history)):
        caption += " Thin lines: further losses of a method, which the values name."
    if len(methods) > 1:
        caption += " Losses of different methods are of different functions."
    if absent := [method for method in methods_of(shown) if method not in methods]:
        caption += f" Without a history of epochs: {', '.join(absent)}."
    return Drawn(drawn, caption, pd.concat(rows, ignore_index=True))


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
