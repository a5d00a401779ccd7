"""Shared by all figures: colours, canvas, legend, and the finished files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imbalance_bench.report.records.records import Record
from imbalance_bench.report.sheet import Drawing
from imbalance_bench.report.sheets.scores import metric_title
from imbalance_bench.store import Damaged, file_of, remedy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Okabe and Ito's colours, told apart by the colour-blind and in grey; ours is always the first.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222",
)  # fmt: skip
COLOURS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK, "#7F7F7F", "#8C6D31", "#5E4FA2")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)), (0, (3, 1, 1, 1)), (0, (9, 1)), "-")
WIDTH = 6.8  # inches, the text width of a two-column paper
COLUMN = 3.3  # ... and a column of it; on a phone such a figure is as wide as the screen
STYLE: Any = {
    "font.size": 8.5, "axes.titlesize": 9, "axes.titleweight": "bold", "axes.labelsize": 8.5, "legend.fontsize": 8,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#555555", "axes.linewidth": 0.7, "axes.grid": True, "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False,
    "legend.columnspacing": 1.2, "legend.handlelength": 1.7, "legend.handletextpad": 0.5, "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True, "savefig.facecolor": "white", "svg.fonttype": "path",
    "svg.hashsalt": "imbalance_bench", "text.parse_math": False,  # names from data may hold $
}  # fmt: skip
# Letters of a figure in a column: at 390 px as large as a page's small print.
SMALLEST = 6.5
NARROW: Any = STYLE | {
    "font.size": 7, "axes.titlesize": 7.5, "axes.labelsize": 7, "legend.fontsize": 6.8, "xtick.labelsize": SMALLEST,
    "ytick.labelsize": SMALLEST, "lines.linewidth": 1.2, "axes.titlepad": 3, "axes.labelpad": 2, "xtick.major.pad": 2,
    "ytick.major.pad": 2, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "legend.labelspacing": 0.3,
}  # fmt: skip


@dataclass(frozen=True)
class FigureSpec:
    """The ``paper:`` node of a figure's preset.

    ``draw``: a name of ``DRAWINGS``; ``methods``: label → heading, in the order of the legend, ours first;
    ``published``: files of printed numbers, for a panel beside ours; ``caption``: what the paper's figure shows;
    ``titles`` as in ``tables.TableSpec``; ``metrics``: one a row of panels, in place of ``metric``;
    ``across``: an axis whose values get a column of panels each; ``iterates``: readout → its place on the x-axis,
    which ``x_title`` names.
    """

    name: str
    figure: str
    draw: str
    title: str
    metric: str
    class_group: str
    iterate: str
    methods: dict
    caption: str
    published: list | None = None
    titles: dict | None = None
    metrics: list | None = None
    across: str | None = None
    iterates: dict | None = None
    x_title: str = ""

    def heading(self, axis: str, value: str) -> str:
        title = (self.titles or {}).get(axis, {}).get(value)
        return title or (metric_title(value) if axis == "metric" else value)


class Drawn(NamedTuple):
    """The result of a drawing: the figure, what its caption must add, and the numbers shown where they stand nowhere
    else."""

    figure: Figure
    caption: str
    values: pd.DataFrame | None = None


def styled(draw: Callable[[], tuple[Any, ...]], style: Any = STYLE) -> Drawn:
    import matplotlib

    with matplotlib.rc_context(style):
        return Drawn(*draw())


def finished(
    drawn: Figure, name: str, title: str, caption: str, provenance: list[str], values: pd.DataFrame | None = None
) -> Drawing:
    """Both formats, without the date of drawing: the same records give the same bytes. A figure in a column keeps its
    width; of others the margins are cut."""
    import matplotlib

    files = {}
    narrow = drawn.get_figwidth() == COLUMN
    dpi = 300 if narrow else 200
    cut: Any = {} if narrow else {"bbox_inches": "tight", "pad_inches": 0.05}
    with matplotlib.rc_context(STYLE):
        for form, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": dpi})):
            buffer = io.BytesIO()
            drawn.savefig(buffer, format=form, **cut, **options)
            files[form] = buffer.getvalue()
    png = _of_few_colours(files["png"]) if narrow else files["png"]
    return Drawing(name, title, caption, provenance, files["svg"], png, values)


def _of_few_colours(png: bytes) -> bytes:
    """The same picture in 256 colours, which are enough for lines and less than half of the bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(256).save(buffer, "png", dpi=image.info["dpi"], optimize=True)
    return buffer.getvalue()


def canvas(rows: int, columns: int, height: float, width: float = WIDTH, **options: Any) -> tuple[Figure, np.ndarray]:
    """A figure without pyplot, whose global state would outlive it, and its axes (rows, columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots(rows, columns, squeeze=False, **options)


def handles(axes: Iterable[Axes]) -> list[Any]:
    """One handle a label over several axes."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            found.setdefault(label, handle)
    return list(found.values())


def legend_below(drawn: Figure, entries: Sequence[Any], columns: int) -> None:
    drawn.legend(handles=list(entries), loc="outside lower center", ncols=min(columns, len(entries)))


def history_of(record: Record) -> pd.DataFrame:
    """The rows of a record's history.csv; none where it has no columns."""
    import pandas as pd

    name = "history.csv"
    content = file_of(record, name)
    try:
        return pd.read_csv(io.BytesIO(content))
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except ValueError as error:  # of pandas or of UTF-8
        raise Damaged(record["path"] / name, f"is damaged ({error})", remedy(record, name)) from error


def line_style(spec: FigureSpec, method: str) -> dict[str, Any]:
    index = list(spec.methods).index(method) if method in spec.methods else len(spec.methods)
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def plain(axis: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Makes an axis a canvas for boxes, from x[0] to x[1] and from y[0] to y[1]."""
    axis.axis("off")
    axis.set_xlim(*x)
    axis.set_ylim(*y)


def box(axis: Axes, x: float, y: float, text: str, colour: str) -> Text:
    """Text in a box around (x, y)."""
    style = {"boxstyle": "round,pad=0.4", "facecolor": "#F7F7F7", "edgecolor": colour, "linewidth": 0.9}
    return axis.text(x, y, text, ha="center", va="center", fontsize=7.5, bbox=style)


def chain(axis: Axes, boxes: Sequence[Text]) -> None:
    """Arrows from each box to the next, from edge to edge."""
    for a, b in zip(boxes, boxes[1:]):
        ends: dict[str, Any] = {"patchA": a.get_bbox_patch(), "patchB": b.get_bbox_patch(), "shrinkA": 2, "shrinkB": 2}
        axis.annotate("", b.get_position(), a.get_position(), arrowprops={"arrowstyle": "->", "linewidth": 0.8, **ends})
