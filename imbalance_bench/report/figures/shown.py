"""Shared by the figures of any selection of records: what they show of a cell, its saved predictions, their panels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench import metrics
from imbalance_bench.errors import BenchError
from imbalance_bench.metrics.scoring import parts_of, without_validation
from imbalance_bench.report.glyphs import has_wide, readable
from imbalance_bench.report.records.records import LOWER_IS_BETTER, Record, Run
from imbalance_bench.report.sheet import one_line
from imbalance_bench.report.style import COLOURS, COLUMN, DASHES, canvas
from imbalance_bench.store import arrays

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12
MOST_LINES = 8
MOST_BANDS = 4  # that can be told apart where they overlap
LETTER, LINE = 0.056, 0.14  # inches: the mean width of a letter of a legend, and the height of a line
ROW = 0.15  # inches, a row of a name in one line
AREAS = 3
ALONE = 44  # letters a line of the title of a panel that is alone
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


@dataclass(frozen=True)
class Wanted:
    """The words of a command line that a figure takes. ``metrics``: none: the headline of the records; ``group``: of
    classes; ``part``: test or valid; ``versus``: the method that others are compared with; ``calibration``: one of
    ``calibration.KINDS``; ``rows``, ``columns``: the axes, as of ``selection.locate``, that tell panels and methods
    apart."""

    metrics: tuple[str, ...] = ()
    group: str | None = None
    readout: str = "last"
    part: str = "test"
    versus: str | None = None
    calibration: str = "platt"
    test: str = "nemenyi"
    rows: tuple[str, ...] = ("dataset",)
    columns: tuple[str, ...] = ("method",)


@dataclass(frozen=True)
class Shown:
    """A cell as a figure shows it. ``setting`` as of ``selection.locate``; ``panel``: its data set, with the setting
    where there are several; ``head``: metric and class group; ``scores``: of each run."""

    record: Record
    setting: str
    panel: str
    method: str
    head: tuple[str, str]
    scores: dict[Run, float]

    @property
    def defined(self) -> list[float]:
        return [value for value in self.scores.values() if np.isfinite(value)]

    @property
    def mean(self) -> float:
        """nan where no run has a score."""
        return float(np.mean(self.defined)) if self.defined else float("nan")

    @property
    def label(self) -> str:
        """Its mean and sd as tables print them."""
        sd = f" ± {np.std(self.defined, ddof=1):.3f}" if len(self.defined) > 1 else ""
        return f"{self.mean:.3f}{sd}" if self.defined else "not defined"


@dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run: labels (n,), log-probabilities (n, C), and what classes rank rows by (n, C)."""

    run: int
    labels: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray | None

    def ranked(self, c: int) -> np.ndarray:
        return metrics.ranking_scores(self.scores, c) if self.ranks is None else self.ranks[:, c]


def predictions(record: Record, part: str, readout: str) -> list[RunPredictions]:
    """Predictions of the runs that did not diverge. Raises BenchError where the record has none of part or readout."""
    where = f"{record['labels']['method']} on {record['labels']['dataset']}"
    parts = parts_of(arrays(record, "predictions.npz"))
    if part not in parts:
        raise BenchError(f"{where} has no predictions of validation rows: {without_validation(record)}")
    saved = parts[part]
    met = readout if f"scores_{readout}" in saved or readout != "best" else "last"
    if f"scores_{met}" not in saved:
        known = ", ".join(name.removeprefix("scores_") for name in saved if name.startswith("scores_"))
        raise BenchError(f"{where} has no predictions by --readout {readout}: it has {known}")
    scores, ranks = saved[f"scores_{met}"], saved.get(f"ranks_{met}")
    found = []
    for run in np.unique(saved["run"]).tolist():
        mine = saved["run"] == run
        ranked = None if ranks is None else ranks[mine].astype(np.float64)
        found.append(RunPredictions(run, saved["label"][mine], scores[mine].astype(np.float64), ranked))
    return found


def classes_of(record: Record, group: str, run: int) -> list[int]:
    """The classes of a class group in a run. Raises BenchError where there is no such group."""
    names, classes = list(record["data"]["class_names"]), record["data"]["classes"]
    minority = next(r for r in record["runs"] if r["run"] == run).get("minority_classes") or []
    if group == "positive" and classes == 2:
        return [1]
    if group == "macro":
        return list(range(classes))
    if group in ("minority", "majority") and minority:
        return [c for c in range(classes) if (c in minority) == (group == "minority")]
    if (name := group.removeprefix("class:")) in names:
        return [names.index(name)]
    raise BenchError(
        f"no class group {group} in dataset={record['labels']['dataset']}: it has "
        + ", ".join([*(["positive"] if classes == 2 else []), "macro", *(["minority", "majority"] if minority else [])])
        + f" and class:<name>, such as class:{names[-1]}"
    )


def group_title(group: str) -> str:
    """The classes of a group, in words."""
    titles = {"positive": "positive class", "macro": "mean over classes", "all": "likeliest class"}
    if group.startswith("class:"):
        return f"class {group.removeprefix('class:')}"
    return titles.get(group, f"{group} classes")


def groups_title(shown: Sequence[Shown]) -> str:
    """The classes that the panels are of, in words; which panels, where these differ."""
    panels: dict[str, dict[str, None]] = {}
    for one in shown:
        panels.setdefault(group_title(one.head[1]), {})[one.panel] = None
    told = "; ".join(f"{title} of {', '.join(of)}" if len(panels) > 1 else title for title, of in panels.items())
    return told[0].upper() + told[1:]


def by_panel(shown: Sequence[Shown]) -> dict[str, list[Shown]]:
    found: dict[str, list[Shown]] = {}
    for one in shown:
        found.setdefault(one.panel, []).append(one)
    return found


def one_head(shown: Sequence[Shown]) -> None:
    """Raises BenchError where data sets would be compared by different metrics or groups of classes."""
    heads = {one.head: one.record["labels"]["dataset"] for one in shown}
    if len(heads) > 1:
        told = " and ".join(f"{metric} of {group} on {dataset}" for (metric, group), dataset in heads.items())
        raise BenchError(f"{told} cannot share an axis: give one that all have, such as --group macro")


def one_setting(shown: Sequence[Shown]) -> None:
    """Raises BenchError where cells of several settings would count as data sets of their own."""
    settings = {one.setting: one.record["labels"] for one in shown}
    if len(settings) < 2:
        return
    a, b = list(settings.values())[:2]
    differing = [f"{label}={b[label]}" for label in ("ratio", "protocol", "backbone") if a[label] != b[label]]
    which = f"choose one, such as {' '.join(differing)}" if differing else "take one of them from --outputs of its own"
    raise BenchError(
        f"a data set counts once, and these are cells of {len(settings)} settings ({'; '.join(settings)}): {which}"
    )


def wide(shown: Sequence[Shown]) -> pd.DataFrame:
    """Mean scores, data sets × methods."""
    import pandas as pd

    means = {(one.panel, one.method): one.mean for one in shown}
    return pd.DataFrame(
        [[means.get((panel, m), np.nan) for m in methods_of(shown)] for panel in by_panel(shown)],
        index=list(by_panel(shown)),
        columns=methods_of(shown),
    )


def methods_of(shown: Iterable[Shown]) -> list[str]:
    return list(dict.fromkeys(one.method for one in shown))


def refuse_too_many(shown: Sequence[Shown], panels: int = MOST_PANELS, lines: int = MOST_LINES) -> None:
    """Raises BenchError where a figure would have more panels or lines than can be told apart; names those to take."""
    found, methods = by_panel(shown), methods_of(shown)
    if len(found) > panels:
        some = ",".join(dict.fromkeys(one.record["labels"]["dataset"] for one in shown))
        first = ",".join(some.split(",")[:panels])
        raise BenchError(
            f"{len(found)} panels, one a data set and setting, and a figure has at most {panels}: choose some, such as "
            f"dataset={first}"
        )
    if len(methods) > lines:
        first = ",".join(dict.fromkeys(one.record["labels"]["method"] for one in best(shown, lines)))
        raise BenchError(
            f"{len(methods)} methods in one panel, and at most {lines} can be told apart: choose some, such as the "
            f"best, method={first}"
        )


def best(shown: Sequence[Shown], count: int) -> list[Shown]:
    """One of each of the ``count`` methods whose mean over panels is best, by their ranks."""
    sign = 1 if shown[0].head[0] in LOWER_IS_BETTER else -1
    means: dict[str, list[float]] = {method: [] for method in methods_of(shown)}
    for one in shown:
        means[one.method] += [sign * one.mean] if one.defined else []
    ranked = sorted(means, key=lambda method: float(np.mean(means[method] or [np.inf])))[:count]
    return [next(one for one in shown if one.method == method) for method in ranked]


def style_of(method: str, methods: Sequence[str]) -> dict[str, Any]:
    i = methods.index(method)
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}


def band_note(methods: int, runs: int) -> str:
    if runs < 2:
        return "one run has no band"
    return "bands: one sd" if methods <= MOST_BANDS else f"no bands, one sd, of more than {MOST_BANDS} methods"


def panels(
    titles: Sequence[tuple[str, ...]], height: float, alone: float, letters: int = 17, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure in a column, a panel a title (its lines), two a row of ``height`` inches; of one panel ``alone`` inches
    high. Rows are higher by what titles take; ``letters`` of a title stand in a line."""
    columns = min(len(titles), 2)
    rows = -(-len(titles) // columns)
    letters = letters if len(titles) > 1 else ALONE
    texts = ["\n".join(name_of(line, letters, 3) for line in lines) for lines in titles]
    room = LINE * sum(max(text.count("\n") for text in texts[i * columns :][:columns]) for i in range(rows))
    whole = (alone if len(titles) == 1 else height * rows) + room
    drawn, axes = canvas(rows, columns, whole, COLUMN, **options)
    for axis, text in zip(axes.flat, texts):
        axis.set_title(text)
    for axis in axes.flat[len(titles) :]:
        axis.set_visible(False)
    return drawn, list(axes.flat[: len(titles)])


def name_of(text: str, width: int = 40, most: int = 99) -> str:
    """A name from data in a figure: in lines of ``width`` letters, ``most`` at most, which end behind _ - . / or at a
    space where they can, and shown whatever it begins with."""
    text, lines = readable(one_line(text)), [""]
    width = width // 2 if has_wide(text) else width
    for piece in re.findall(rf"[^\s_./-]{{1,{width}}}[_./-]?|[_./-]|\s", text):
        if len((lines[-1] + piece).rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece if lines[-1] or piece.strip() else ""
    if len(lines) > most:
        lines[most - 1] = f"{lines[most - 1].rstrip()[: width - 1]}…"
    shown = "\n".join(line.rstrip() for line in lines[:most])
    return f" {shown}" if shown.startswith("_") or not shown else shown


def rows_of(names: Sequence[str]) -> tuple[np.ndarray, float]:
    """Where the rows of names lie, which may be of several lines; and the height of all in ``ROW`` inches."""
    heights = np.array([0.3 + 0.7 * (name.count("\n") + 1) for name in names])
    return np.cumsum(heights) - heights / 2, float(heights.sum())


def legend(drawn: Figure, entries: dict[str, Any]) -> None:
    """Label → handle, below a figure, which grows by it, in as many columns as fit."""
    labels = [name_of(label) for label in entries]
    longest = max(len(line) * (1 + has_wide(line)) for label in labels for line in label.split("\n"))
    columns = max(1, min(len(entries), int((COLUMN - 0.1) / (0.42 + LETTER * longest))))
    drawn.legend(list(entries.values()), labels, loc="outside lower center", ncols=columns)
    lines = sum(label.count("\n") + 1 for label in labels)
    drawn.set_figheight(drawn.get_figheight() + 0.1 + LINE * -(-lines // columns))


def areas(axis: Axes, entries: Sequence[tuple[Any, str]]) -> None:
    """Handles and numbers below a panel among others, whose names are below the figure; ``AREAS`` a line."""
    from matplotlib.transforms import ScaledTranslation

    below = ScaledTranslation(0, -0.32, axis.get_figure().dpi_scale_trans)  # type: ignore[union-attr]
    axis.legend(
        [handle for handle, _ in entries],
        [text for _, text in entries],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axis.transAxes + below,
        ncols=AREAS,
        columnspacing=0.6,
        handlelength=1.3,
        handletextpad=0.3,
        borderaxespad=0,
    )
