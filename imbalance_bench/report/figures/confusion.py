"""Confusion matrices of any selection: counts and row shares, means over runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.report.figures.shown import (
    ALONE,
    MOST_PANELS,
    Shown,
    Wanted,
    classes_of,
    name_of,
    panels,
    predictions,
)
from imbalance_bench.report.style import BLACK, COLUMN, SMALLEST, Drawn, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOTH, SHARES, MOST = 6, 11, 32  # classes with counts and shares in their cells, with shares, and at all


def confusion(shown: Sequence[Shown], wanted: Wanted) -> Drawn:
    """A panel a cell; rows are labels, columns decisions. A class group leaves other classes together as one."""
    import pandas as pd

    found = [(one, *matrices(one, wanted)) for one in shown]
    most = max(len(names) for _, names, _ in found)
    if most > MOST:
        raise BenchError(
            f"{most} classes would make cells of less than {COLUMN / MOST:.1f} inches: choose some by --group minority "
            "or --group class:<name>, with all others as one"
        )
    small = most <= 3
    titles = [(one.panel, one.method) for one, _, _ in found]
    if small:
        drawn, axes = panels(titles, 1.7, 2.3, 14)
    else:
        figures = canvas(len(found), 1, COLUMN * len(found), COLUMN)
        drawn, axes = figures[0], list(figures[1].flat)
        for axis, lines in zip(axes, titles):
            axis.set_title("\n".join(name_of(line, ALONE, 3) for line in lines))
    rows = []
    for axis, (one, names, each) in zip(axes, found):
        with np.errstate(invalid="ignore"):
            shares = each / each.sum(axis=2, keepdims=True)
        share = _mean_of_defined(shares)
        counts = each.mean(axis=0)
        _matrix(axis, names, counts, share, small and len(found) > 1)
        rows.append(pd.DataFrame({
            "panel": one.panel, "method": one.method, "label": np.repeat(names, len(names)),
            "decision": names * len(names), "count": counts.ravel(), "row_share": share.ravel(), "runs": len(each),
        }))  # fmt: skip
    runs = " or ".join(map(str, sorted({len(each) for _, _, each in found})))
    inside = "share of the row's rows" + (" and, below it, how many" if most <= BOTH else "")
    inside = f"in each cell the {inside}" if most <= SHARES else "the darker, the larger the share of the row's rows"
    caption = f"Rows are labels, columns decisions; {inside}; means over {runs} runs."
    return Drawn(drawn, caption, pd.concat(rows, ignore_index=True))


def refuse_many_matrices(shown: Sequence[Shown]) -> None:
    """Raises BenchError where there are more cells than a figure has room for."""
    if len(shown) > MOST_PANELS:
        methods = ",".join(dict.fromkeys(one.record["labels"]["method"] for one in shown[:MOST_PANELS]))
        raise BenchError(
            f"{len(shown)} matrices, one a method and data set, and a figure has room for {MOST_PANELS}: choose some, "
            f"such as dataset={shown[0].record['labels']['dataset']} method={methods}"
        )


def matrices(one: Shown, wanted: Wanted) -> tuple[list[str], np.ndarray]:
    """The names of classes, and counts (runs, labels, decisions)."""
    names = [str(name) for name in one.record["data"]["class_names"]]
    index = np.arange(len(names))
    if wanted.group not in (None, "macro", "all", "positive"):
        kept = sorted({c for run in one.record["runs"] for c in classes_of(one.record, str(wanted.group), run["run"])})
        if len(kept) < len(names):
            index = np.array([kept.index(c) if c in kept else len(kept) for c in range(len(names))])
            names = [*(names[c] for c in kept), f"the other {len(names) - len(kept)}"]
    each = []
    for run in predictions(one.record, wanted.part, wanted.readout):
        pairs = index[run.labels.astype(np.int64)] * len(names) + index[run.scores.argmax(axis=1)]
        each.append(np.bincount(pairs, minlength=len(names) ** 2).reshape(len(names), len(names)))
    return names, np.array(each)


def _mean_of_defined(shares: np.ndarray) -> np.ndarray:
    """Over runs in which the class has rows; nan where it has none in any."""
    some = np.isfinite(shares)
    total = np.where(some, shares, 0).sum(axis=0)
    return np.divide(total, some.sum(axis=0), where=some.any(axis=0), out=np.full(total.shape, np.nan))


def _count(rows: float) -> str:
    """A mean over runs, as wide as a square has room for: 0.3, 24, 1234, 12e3."""
    if rows >= 9999.5:
        return f"{rows / 1000:.0f}e3"
    return f"{rows:.0f}" if rows >= 99.5 or rows == round(rows) else f"{rows:.1f}"


def _matrix(axis: Axes, names: Sequence[str], counts: np.ndarray, share: np.ndarray, narrow: bool) -> None:
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    n = len(names)
    for i in range(n if n <= SHARES else 0):
        for j in range(n):
            text = "–" if np.isnan(share[i, j]) else f"{share[i, j]:.2f}"
            if n <= BOTH:
                text += f"\n{_count(counts[i, j])}"
            colour = "white" if share[i, j] > 0.55 else BLACK
            axis.text(j, i, text, ha="center", va="center", color=colour, fontsize=SMALLEST)
    letters, longest = 9 if narrow else 12, max(map(len, names))
    shown = [name_of(name, letters, 2 if n <= BOTH else 1) for name in names]
    upright: dict[str, Any] = {} if longest <= 3 or n <= 3 and longest <= letters else {"rotation": 90}
    axis.set_xticks(range(n), shown, **upright)
    axis.set_yticks(range(n), shown)
    axis.set(xlabel="decision", ylabel="label")
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
