"""The diagram of the SelectNet paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.report.records.records import CellState
from imbalance_bench.report.style import BLACK, ORANGE, SKY, FigureSpec, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def decision_boundaries(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
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
