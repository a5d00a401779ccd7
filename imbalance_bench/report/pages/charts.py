"""Line charts as inline SVG: text that follows the page's colours in light, dark and print, and needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 360, 250  # of the drawing, in its own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 36
FINE = 0.5  # of those units: what lies nearer to a line is not told apart from it


@dataclass(frozen=True)
class Line:
    """Points of one line; ``name``: what it is told apart by, "" for what needs no legend; ``kind``: run | mean | rest,
    a class of the style sheet; ``number``: of its colour."""

    x: np.ndarray
    y: np.ndarray
    name: str = ""
    kind: str = "run"
    number: int = 0


def chart(
    title: str,
    x_title: str,
    y_title: str,
    lines: Sequence[Line],
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    kind: str = "",
    whole: bool = False,
) -> str:
    """A figure with axes, lines and, where lines have names, a legend; "" where there is nothing to draw.

    ``x`` and ``y``: the ends of the axes; None: those of the lines. ``kind``: a class of the figure. ``whole``: values
    of x are whole numbers.
    """
    lines = [line for line in lines if np.isfinite(line.y).any()]
    if not lines:
        return ""
    x_ends, y_ends = x or _ends([line.x for line in lines]), y or _ends([line.y for line in lines])
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def px(values: np.ndarray) -> np.ndarray:
        return LEFT + across * (values - x_ends[0]) / (x_ends[1] - x_ends[0])

    def py(values: np.ndarray) -> np.ndarray:
        return TOP + up * (1 - (values - y_ends[0]) / (y_ends[1] - y_ends[0]))

    plot = f'data-plot="{LEFT} {TOP} {across} {up}"'  # where threshold.js marks points
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" {plot} role="img" aria-label="{escape(title)}">']
    for tick, text in ticks(*y_ends):
        at = float(py(np.array(tick)))
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{text}</text>')
    for tick, text in ticks(*x_ends, least=1.0 if whole else 0.0):
        at = float(px(np.array(tick)))
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{TOP + up}"/>')
        parts.append(f'<text x="{at:.1f}" y="{TOP + up + 14}" text-anchor="middle">{text}</text>')
    parts.append(f'<text x="{LEFT + across / 2}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(
        f'<text transform="translate(11 {TOP + up / 2}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )
    for line in lines:
        path = _path(px(line.x), py(line.y))
        parts.append(f'<path class="line {line.kind} c{line.number % 8}" d="{path}"/>')
    parts.append("</svg>")
    named = [line for line in lines if line.name]
    legend = "".join(f'<li class="{line.kind} c{line.number % 8}">{escape(line.name)}</li>' for line in named)
    key = f'<ul class="legend">{legend}</ul>' if named else ""
    return f'<figure class="chart {kind}"><figcaption>{escape(title)}</figcaption>{"".join(parts)}{key}</figure>'


def ticks(low: float, high: float, about: int = 5, least: float = 0.0) -> list[tuple[float, str]]:
    """Round numbers within [low, high], no nearer to each other than ``least``, and how they are written."""
    rough = max((high - low) / about, least)
    base = 10.0 ** np.floor(np.log10(rough))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= rough * (1 - 1e-9))
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [(i * step, f"{i * step:.10g}") for i in range(first, last + 1)]


def _ends(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The smallest and largest of the finite values, a little apart where they are one."""
    every = np.concatenate(values).astype(float)
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """The line through the points that are finite. Of points in a row within ``FINE`` of width the first, the last, the
    lowest and the highest: what is left out lies within ``FINE`` of the line, however unevenly points lie along it."""
    some = np.isfinite(x) & np.isfinite(y)
    x, y = x[some], y[some]
    strips = np.floor(x / FINE)
    firsts = np.flatnonzero(np.append(True, strips[1:] != strips[:-1]))
    lasts = np.append(firsts[1:], len(x)) - 1
    by_height = np.lexsort((y, np.repeat(np.arange(len(firsts)), lasts - firsts + 1)))
    kept = np.unique(np.concatenate([firsts, lasts, by_height[firsts], by_height[lasts]]))
    x, y = x[kept], y[kept]
    if len(x) == 1:  # a line of no length is drawn as a dot, by its round ends
        return f"M{x[0]:.1f} {y[0]:.1f}h0"
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y))
