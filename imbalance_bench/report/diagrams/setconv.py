"""Diagrams of SetConv: no run stands behind them; their numbers are those of the configuration."""

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


def episodes(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 1: an episode in training, the representatives made once afterwards, and inference."""
    method = results[0].cell.config["method"]
    drawn, axes = canvas(1, 3, 2.7)
    parts = {
        "(a) Training, each episode": (
            [
                (f"support set, {method['support']} rows\nat the imbalance ratio", BLACK),
                ("SetConv", BLUE),
                ("a representative\nfor each class", GREEN),
            ],
            "query set, a row of each class:\ncross-entropy, Adam",
        ),
        "(b) After training, once": (
            [
                (f"S_post, {method['post_size']} training rows\nat the imbalance ratio", BLACK),
                ("SetConv, not updated", BLUE),
                ("a representative\nfor each class", GREEN),
            ],
            "kept for inference",
        ),
        "(c) Inference": (
            [("a test row,\na set of one", BLACK), ("SetConv", BLUE), ("a vector", GREEN)],
            "class of the representative\nwith the largest dot product",
        ),
    }
    for axis, (title, (boxes, end)) in zip(axes[0], parts.items()):
        plain(axis, (-1, 1), (-3.2, 0.5))
        axis.set_title(title)
        chain(axis, [box(axis, 0, -i, text, colour) for i, (text, colour) in enumerate(boxes)])
        axis.text(0, -2.6, end, ha="center", va="top", fontsize=8)
    return drawn, f"Sizes are those of method={method['label']}; {method['episodes']} episodes are an epoch."


def anchor_relations(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 2: the anchor is the mean of the minority; the kernel of a row depends on its way to the anchor."""
    rng = np.random.default_rng(3)
    major, minor = rng.normal([0.0, 0.0], [0.9, 0.6], (9, 2)), rng.normal([3.2, 0.7], [0.45, 0.45], (5, 2))
    anchor = minor.mean(axis=0)
    drawn, axes = canvas(1, 1, 2.4)
    axis = axes[0, 0]
    for x, colour in ((major, SKY), (minor, ORANGE)):
        for row in x:
            axis.annotate("", anchor, row, arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 0.8})
    axis.scatter(*major.T, s=22, color=SKY, label="majority rows: inter-class relations")
    axis.scatter(*minor.T, s=22, color=ORANGE, label="minority rows: intra-class relations")
    axis.scatter(*anchor, s=60, color=VERMILLION, marker="D", zorder=3, label="anchor Y, the minority's mean")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(loc="upper left", fontsize=7)
    axis.set_ylim(top=2.6)
    return drawn, "Made-up points; arrows are Y - X_i, from which the MLP g1 makes the weights of row i."


def computation_graph(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 3: the layer as it is configured, from the set and the anchor to one vector."""
    method = results[0].cell.config["method"]
    width = method["width"]
    drawn, axes = canvas(1, 1, 2.5)
    axis = axes[0, 0]
    plain(axis, (-0.6, 4.9), (-1.6, 1.5))
    before = f"\nlinear {method['hidden']}, ReLU" if method["hidden"] else ""
    after = f"\nlinear {method['output']}, ReLU" if method["output"] else ""
    rows = box(axis, 0, 1, "set X  (N × d)" + before, BLACK)
    anchor = box(axis, 0, -1, "anchor Y  (1 × d)" + before, BLACK)
    way = box(axis, 1.5, 0, "Y - X\n(N × d)", BLACK)
    g1 = box(axis, 2.9, 0, f"g1: linear\n(N × {width})", BLUE)
    g2 = box(axis, 2.9, -1.1, f"g2: softmax of W\nover inputs (d × {width})", VERMILLION)
    out = box(axis, 4.4, 0, f"mean of X · (g1 ⊙ g2)\n(1 × {width}){after}", GREEN)
    for boxes in ([rows, way, g1, out], [anchor, way], [g2, out], [rows, out]):
        chain(axis, boxes)
    caption = f"Layers of method={method['label']}; ⊙ is the Khatri-Rao product of Eq. 4, d the width of the vectors."
    return drawn, caption


def text_encoder(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Figure 4: how a text becomes one vector, as backbone=frozen_transformer is configured."""
    encoder = results[0].cell.config["backbone"]
    pooled = "state of [CLS]" if encoder["pooling"] == "cls" else "mean over tokens"
    steps = [
        ("text", BLACK),
        (f"tokens,\n{encoder['max_length']} at most", BLACK),
        (f"{encoder['model'].rpartition('/')[2]}\nnot fine-tuned", BLUE),
        (f"last layer:\n{pooled}" + ("\nlength one" if encoder["normalise"] else ""), GREEN),
        ("vector\nof every method", VERMILLION),
    ]
    drawn, axes = canvas(1, 1, 1.3)
    axis = axes[0, 0]
    places = [0.0, 0.95, 2.75, 4.55, 5.8]
    plain(axis, (-0.5, 6.4), (-0.8, 0.8))
    chain(axis, [box(axis, x, 0, text, colour) for x, (text, colour) in zip(places, steps)])
    return drawn, f"backbone={encoder['label']}: each text is encoded once, and the vectors are kept for all methods."


def confusion_matrix(spec: FigureSpec, results: Sequence[CellState], readout: str) -> tuple[Figure, str]:
    """Table 3: the four counts of one class against the rest, and what is made of them."""
    drawn, axes = canvas(1, 1, 1.7)
    axis = axes[0, 0]
    plain(axis, (0, 7.6), (0, 3.3))
    heads = {(2.3, 2.9): "predicted = c", (3.9, 2.9): "predicted ≠ c", (0.7, 2.0): "true = c", (0.7, 0.9): "true ≠ c"}
    for (x, y), text in heads.items():
        axis.text(x, y, text, ha="center", va="center", fontsize=8)
    for (x, y), (text, colour) in {
        (2.3, 2.0): ("true positive\nTP", GREEN),
        (3.9, 2.0): ("false negative\nFN", VERMILLION),
        (2.3, 0.9): ("false positive\nFP", VERMILLION),
        (3.9, 0.9): ("true negative\nTN", GREEN),
    }.items():
        box(axis, x, y, text, colour)
    formulae = (
        "Spec = TN / (TN + FP)\nSens = recall = TP / (TP + FN)\nprecision = TP / (TP + FP)\n"
        "F1 = 2 precision · recall / (precision + recall)\nG-mean = √(Spec · Sens)"
    )
    axis.text(5.0, 1.5, formulae, va="center", fontsize=8)
    return drawn, "Of several classes each has its own counts, against all others together."
