"""Diagrams that no run stands behind: drawn from a configuration, or computed on made-up points in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.report.figures.style import (
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
from imbalance_bench.report.records.records import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def two_outputs(spec: FigureSpec, results: Sequence[Outcome], iterate: str) -> tuple[Figure, str]:
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


def overloading(spec: FigureSpec, results: Sequence[Outcome], iterate: str) -> tuple[Figure, str]:
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


def decision_boundaries(spec: FigureSpec, results: Sequence[Outcome], iterate: str) -> tuple[Figure, str]:
    """SelectNet, Figure 1: where a linear classifier puts its boundary when the minor class is rare, when unlabelled
    samples predicted minor are added, and when wrongly predicted labelled ones (context data) are added too."""
    rng = np.random.default_rng(0)

    def draw(majors: int, minors: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.r_[rng.normal([-0.5, 0.0], 1.0, (majors, 2)), rng.normal([1.1, 0.0], 0.8, (minors, 2))]
        return x, np.r_[np.zeros(majors), np.ones(minors)]

    (x, y), (pool, _), (test_x, test_y) = draw(200, 8), draw(100, 150), draw(500, 500)
    likelihood = _margin(_linear(x, y), pool)
    taken = pool[likelihood > np.quantile(likelihood, 0.4)]
    added_x, added_y = np.r_[x, taken], np.r_[y, np.ones(len(taken))]
    major = x[y == 0]
    confused = major[_margin(_linear(added_x, added_y), major) > 0]
    context_x = np.r_[added_x, confused, confused]
    context_y = np.r_[added_y, np.zeros(2 * len(confused))]
    panels = {
        "Labelled data": (x, y),
        "+ unlabelled, taken for minor": (added_x, added_y),
        "+ context data": (context_x, context_y),
    }
    drawn, axes = canvas(1, 3, 2.5, sharex=True, sharey=True)
    for axis, (title, (inputs, labels)) in zip(axes[0], panels.items()):
        line = _linear(inputs, labels)
        predicted = _margin(line, test_x) > 0
        right = int((predicted & (test_y == 1)).sum())
        recall, precision = right / int(test_y.sum()), right / max(int(predicted.sum()), 1)
        axis.scatter(*inputs[labels == 0].T, s=6, color=SKY)
        axis.scatter(*inputs[labels == 1].T, s=8, color=ORANGE)
        _boundary(axis, line)
        axis.set_title(f"{title}\nrecall {recall:.2f}, precision {precision:.2f}", fontsize=8)
        axis.set_xlim(-3.5, 3.5)
        axis.set_ylim(-3, 3)
        axis.set_xticks([])
        axis.set_yticks([])
    return drawn, (
        "Made-up points, logistic regression; taken for minor are the 60 % of the pool likeliest to be; recall "
        "and precision of the minor class are on points of their own."
    )


def _linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(w1, w2, b) of a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(x, y)
    return np.r_[fitted.coef_[0], fitted.intercept_]


def _margin(line: np.ndarray, x: np.ndarray) -> np.ndarray:
    return x @ line[:2] + line[2]


def _boundary(axis: Axes, line: np.ndarray) -> None:
    heights = np.array([-3.0, 3.0])
    style: dict[str, Any] = {"color": BLACK, "linewidth": 1.3}
    axis.plot(-(line[2] + line[1] * heights) / line[0], heights, **style)
