"""The diagrams of the DOS paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imbalance_bench.report.records.records import CellState
from imbalance_bench.report.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    SKY,
    VERMILLION,
    FigureSpec,
    box,
    canvas,
    chain,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def two_outputs(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """DOS, Figure 1: the network's layers, with the embedding f and the class posteriors g as its two outputs."""
    network = results[0].cell.config["backbone"]
    layers = [f"conv {n}\n{network['kernel']}×{network['kernel']}\npool 2" for n in network["conv"]]
    layers = ["image x", *layers, *(f"full\n{n}" for n in network["hidden"]), "softmax"]
    drawn, axes = canvas(1, 1, 2.0)
    axis = axes[0, 0]
    plain(axis, (-0.6, len(layers) + 0.6), (-1.5, 1.3))
    chain(axis, [box(axis, i, 0.2, layer, BLACK) for i, layer in enumerate(layers)])
    last = len(layers) - 1
    for x, colour, text in (
        (last - 1, BLUE, "f(x): embedding\nl'f pulls it to its targets"),
        (last, VERMILLION, "g(f(x)): classes\nl'g"),
    ):
        axis.annotate("", (x, -0.75), (x, -0.25), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.2})
        axis.text(x, -0.85, text, ha="center" if x < last else "left", va="top", fontsize=8, color=colour)
    return drawn, f"Layers of backbone={network['label']}; single-task training uses g alone."


def overloading(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """DOS, Figure 2: a minority sample, its k in-class neighbours (Eq. 1), and the targets that weights make."""
    k = results[0].cell.config["method"]["k_minority"]
    rng = np.random.default_rng(4)
    major = rng.normal([0.0, 0.0], [1.1, 0.8], (60, 2))
    minor = rng.normal([2.1, 0.6], [0.6, 0.6], (12, 2))
    at = minor[np.argmin(((minor - minor.mean(axis=0)) ** 2).sum(axis=1))]
    near = minor[np.argsort(((minor - at) ** 2).sum(axis=1))[: k + 1]]  # itself and its k nearest
    targets = rng.dirichlet(np.ones(k + 1), 4) @ near
    drawn, axes = canvas(1, 2, 2.7)
    for axis, title in zip(axes[0], (f"Neighbours, k = {k}", "Targets: weighted means (enlarged)")):
        axis.scatter(*major.T, s=12, color=SKY, label="majority")
        axis.scatter(*minor.T, s=16, color=ORANGE, label="minority")
        axis.scatter(*at, s=46, color=VERMILLION, marker="D", zorder=3, label="f(x)")
        axis.set_title(title)
        axis.set_xticks([])
        axis.set_yticks([])
        for v in near[1:]:
            axis.plot(*zip(at, v), color=VERMILLION, linewidth=0.7, zorder=1)
    axes[0, 1].scatter(*targets.T, s=40, color=GREEN, marker="X", zorder=4, label="targets")
    for target in targets:
        axes[0, 1].annotate("", target, at, arrowprops={"arrowstyle": "->", "color": GREEN, "linewidth": 0.9})
    (left, low), (right, high) = near.min(axis=0) - 0.15, near.max(axis=0) + 0.15
    axes[0, 1].set_xlim(left, right)
    axes[0, 1].set_ylim(low, high)
    axes[0, 1].legend(loc="lower left", fontsize=7)
    return drawn, f"Made-up points; {len(targets)} weight vectors drawn uniformly from the simplex."
