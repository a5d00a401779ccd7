"""Diagrams of MISO: no run stands behind them; their numbers are those of the configuration."""

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
    handles,
    legend_below,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def overlap(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 1: minority samples with a majority sample among their k nearest neighbours, before anchors are added to
    the part of the minority that does not overlap and after the samples have followed them."""
    k = results[0].cell.config["method"]["neighbours"]
    rng = np.random.default_rng(2)
    major = rng.normal([0.0, 0.0], [0.8, 0.7], (50, 2))
    minor = np.r_[rng.normal([3.4, 0.5], 0.3, (12, 2)), rng.normal([1.2, 0.3], 0.45, (6, 2))]
    before = _difficult(minor, major, k)
    anchors = minor[~before].mean(axis=0) + rng.normal(0, 0.35, (int(before.sum()), 2))
    moved = minor.copy()
    moved[before] += 0.8 * (anchors - minor[before])
    drawn, axes = canvas(1, 2, 2.7, sharex=True, sharey=True)
    shares = []
    for axis, title, points in ((axes[0, 0], "Before", minor), (axes[0, 1], "After", moved)):
        hard = _difficult(points, major, k)
        shares.append(hard.mean())
        axis.scatter(*major.T, s=12, color=SKY, label="majority")
        axis.scatter(*points[~hard].T, s=16, color=ORANGE, label="minority")
        axis.scatter(*points[hard].T, s=28, color=VERMILLION, marker="D", label="minority, difficult")
        axis.set_title(f"{title}: {100 * hard.mean():.0f} % difficult")
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0, 1].scatter(*anchors.T, s=34, color=GREEN, marker="X", zorder=3, label="anchors")
    for start, end in zip(minor[before], moved[before]):
        axes[0, 1].annotate("", end, start, arrowprops={"arrowstyle": "->", "color": VERMILLION, "linewidth": 0.7})
    legend_below(drawn, handles(axes.flat), 4)
    return drawn, f"Made-up points; difficult: a majority point among the {k} nearest neighbours."


def _difficult(minor: np.ndarray, major: np.ndarray, k: int) -> np.ndarray:
    """Marks the rows of ``minor`` (n, 2) that have a row of ``major`` among their k nearest others."""
    distances = np.linalg.norm(minor[:, None] - np.r_[minor, major][None], axis=2)
    distances[np.arange(len(minor)), np.arange(len(minor))] = np.inf
    of_majority = np.argsort(distances, axis=1)[:, :k] >= len(minor)
    return np.asarray(of_majority.any(axis=1))


def semantic_oversampling(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 2: shared encoder, semantic fusion, two decoders and discriminators, and the bounds of mutual information
    between what is fused and each side."""
    method = results[0].cell.config["method"]
    drawn, axes = canvas(1, 1, 3.2)
    axis = axes[0, 0]
    plain(axis, (-0.7, 7.3), (-2.1, 2.1))
    few = box(axis, 0, 1.4, "difficult\nsample x⁺", ORANGE)
    many = box(axis, 0, -1.4, "majority\nsample x⁻", SKY)
    reads = [box(axis, 1.5, y, f"encoder\n{method['layers']} layers", BLACK) for y in (1.4, -1.4)]
    q, k = (box(axis, 2.7, y, name, BLUE) for y, name in ((1.4, "Q"), (-1.4, "K")))
    fused = box(axis, 3.5, 0, f"semantic fusion\n{method['heads']} heads", BLUE)
    latent = box(axis, 5.0, 0, "Q̄", BLUE)
    write = box(axis, 5.2, 1.4, f"minority decoder\n{method['layers']} layers", BLACK)
    repeat = box(axis, 4.4, -1.4, f"majority decoder\n{method['layers']} layers", BLACK)
    anchor = box(axis, 6.7, 1.4, "anchor\n+ discriminator", GREEN)
    copy = box(axis, 6.3, -1.4, "text\n+ discriminator", GREEN)
    bounds = box(axis, 6.5, 0, "MINE: raise I(Q; Q̄),\nlower I(K; Q̄)", VERMILLION)
    for boxes in ([few, reads[0], q, fused, latent, write, anchor], [many, reads[1], k, fused], [latent, bounds]):
        chain(axis, boxes)
    chain(axis, [k, repeat, copy])
    axis.plot([1.5, 1.5], [-0.9, 0.9], color=BLACK, linewidth=0.8, linestyle=":")
    axis.text(1.42, 0, "shared", rotation=90, ha="right", va="center", fontsize=7.5)
    sizes = f"width {method['width']}, batches of {method['batch_size']}"
    return drawn, f"Sizes are those of method={method['label']}: {sizes}."
