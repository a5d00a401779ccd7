"""Predictions on the page of a cell: curves, a confusion matrix, and the scores that a threshold is moved
over."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imbalance_bench import metrics
from imbalance_bench.metrics import scoring, thresholds
from imbalance_bench.report.pages.charts import Line, chart
from imbalance_bench.report.pages.html import Grid, number_cell, td
from imbalance_bench.report.records.records import Record, readout_title
from imbalance_bench.report.sheets.scores import metric_title
from imbalance_bench.store import arrays

CURVED = 12  # classes that have curves, and runs that are drawn in each
MATRIX = 30  # classes of a confusion matrix that is shown whole
HELD = 3_000_000  # bytes of scores in a page


@dataclass(frozen=True)
class Charts:
    """Drawings of a class, against the rest."""

    number: int
    name: str
    drawings: list[str] = field(default_factory=list)


def of_predictions(record: Record) -> dict[str, Any]:
    """Contents of cell.html.j2 from predictions.npz; ``absent``: why there is nothing. Raises as ``store.arrays``."""
    if record["kind"] != "classification":
        return {"absent": ["A regression has no classes: there are no curves, and no threshold."]}
    parts = scoring.parts_of(arrays(record, "predictions.npz"))
    test, names = parts["test"], [str(name) for name in record["data"]["class_names"]]
    readouts = [name.removeprefix("scores_") for name in test if name.startswith("scores_")]
    if not readouts or test[f"scores_{readouts[0]}"].shape[1] < 2:
        return {}
    readouts.sort(key=lambda readout: readout != "last")
    first = readouts[0]
    shown = _shown_classes(test["label"], len(names))
    return {
        "curves": [Charts(c, names[c], _curves(test, first, c, names[c])) for c in shown],
        "curved_of": len(names),
        "matrix": _matrix(test["label"], test[f"scores_{first}"].argmax(axis=1), names),
        "readout": readout_title(first),
        "data": _data(record, parts, readouts, names),
        "objectives": {name: metric_title(name) for name in thresholds.OBJECTIVES},
        "choices": [(c, names[c]) for c in ([1] if len(names) == 2 else np.argsort(_counts(test, names)).tolist())],
        "readouts": [(readout, readout_title(readout)) for readout in readouts],
    }


def _counts(test: dict[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    return np.bincount(test["label"], minlength=len(names))


def _shown_classes(labels: np.ndarray, classes: int) -> list[int]:
    """The positive class of two; of several the rarest first, ``CURVED`` at most."""
    if classes == 2:
        return [1]
    counts = np.bincount(labels, minlength=classes)
    return [c for c in np.argsort(counts, kind="stable").tolist() if counts[c]][:CURVED]


def _curves(test: dict[str, np.ndarray], readout: str, c: int, name: str) -> list[str]:
    """Precision-recall and ROC, a line a run. Precision falls in steps, whose area is the average precision: straight
    lines between thresholds promise more than any of them gives."""
    ranks = test.get(f"ranks_{readout}")
    pr, roc = [], []
    for i, run in enumerate(np.unique(test["run"]).tolist()[:CURVED]):
        mine = test["run"] == run
        scores = test[f"scores_{readout}"][mine]
        ranked = ranks[mine][:, c] if ranks is not None else metrics.ranking_scores(scores, c)
        positive = test["label"][mine] == c
        if not positive.any() or positive.all() or np.isnan(ranked).any():
            continue
        precision, recall, cuts = metrics.precision_recall_curve(positive, ranked)
        above = len(ranked) - np.searchsorted(np.sort(ranked), cuts)  # rows at or above each cut
        hits = recall[:-1] * positive.sum()
        fpr = np.append((above - hits) / (~positive).sum(), 0.0)
        label = f"run {run}"
        reached, at = np.repeat(recall[-2::-1], 2), np.repeat(precision[-2::-1], 2)  # by falling threshold
        pr.append(Line(np.append(0, reached)[:-1], at, label, number=i))
        roc.append(Line(fpr, recall, label, number=i))
    share = float((test["label"] == c).mean())
    ends = np.array([0.0, 1.0])
    unit = (0.0, 1.0)
    rest = Line(ends, np.full(2, share), f"share of the class, {share:.3f}", "rest")
    drawn = [
        chart(f"Precision and recall: {name}", "recall", "precision", [*pr, rest] if pr else [], unit, unit, "pr"),
        chart(
            f"ROC: {name}", "false-positive rate", "recall", [*roc, Line(ends, ends, "chance", "rest")] if roc else [],
            unit, unit, "roc",
        ),
    ]  # fmt: skip
    return list(filter(None, drawn))


def _matrix(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Counts over all runs of true (down) by predicted (across) class; of many classes the pairs that are taken for
    each other most."""
    classes = len(names)
    counts = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    rows = counts.sum(axis=1)
    if classes > MATRIX:
        off = counts - np.diag(np.diag(counts))
        order = np.argsort(-off, axis=None, kind="stable")[:MATRIX]
        pairs = [(int(i) // classes, int(i) % classes) for i in order if off.flat[i]]
        most = [
            [td(names[a]), td(names[b]), td(str(counts[a, b]), int(counts[a, b])), number_cell(counts[a, b] / rows[a])]
            for a, b in pairs
        ]
        return {"most": Grid(["true class", "taken for", "rows", "share of the class"], most, keys=2)}
    share = counts / np.maximum(rows, 1)[:, None]
    return {
        "names": list(names),
        "rows": [
            (name, [(int(n), float(s)) for n, s in zip(counts[c], share[c])], int(rows[c]))
            for c, name in enumerate(names)
        ],
    }


def _data(
    record: Record, parts: dict[str, dict[str, np.ndarray]], readouts: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Input of threshold.js: labels, runs and scores of test rows as they lie in memory and, of two classes, the
    offsets that each run's validation rows give. Of large cells the first runs, and readouts, that ``HELD`` bytes hold.
    ``curved``: how many runs have curves; the readout whose scores, and so whose thresholds, these are of (null: they
    are of ranks that the method gave).
    """
    test = parts["test"]
    numbers = np.unique(test["run"])
    room = HELD // (4 * len(names))  # rows
    sizes = np.cumsum([int((test["run"] == run).sum()) for run in numbers])
    kept = numbers[sizes <= room] if sizes[0] <= room else numbers[:0]
    if not len(kept):
        return {}
    some = np.isin(test["run"], kept)
    readouts = readouts[: max(1, room // int(some.sum()))]
    of_run = {run["run"]: f"run {run['run']}" for run in record["runs"]}
    labels = test["label"][some]
    return {
        "classes": list(names),
        "names": [of_run[int(run)] for run in kept],
        "of": len(numbers),
        "labels": _encoded(labels, np.int32),
        "runs": _encoded(np.searchsorted(kept, test["run"][some]), np.int32),
        "scores": {r: _encoded(test[f"scores_{r}"][some], np.float32) for r in readouts},
        "tuned": {r: _tuned(record, parts.get("valid"), r, kept.tolist()) for r in readouts} if len(names) == 2 else {},
        "cost": record.get("cost", thresholds.COST),
        "curved": {"runs": CURVED, "readout": None if f"ranks_{readouts[0]}" in test else readouts[0]},
    }


def _encoded(values: np.ndarray, kind: Any) -> str:
    little = np.ascontiguousarray(values).astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def _tuned(
    record: Record, valid: dict[str, np.ndarray] | None, readout: str, runs: Iterable[int]
) -> dict[str, list[float]]:
    """Objective → the offset of class 1 in each run; objectives that every run could be tuned for."""
    if valid is None or f"scores_{readout}" not in valid or scoring.without_validation(record):
        return {}
    costs = thresholds.costs_of(2, (), record.get("cost", thresholds.COST))
    found: dict[str, list[float]] = {objective: [] for objective in thresholds.OBJECTIVES}
    for run in runs:
        mine = valid["run"] == run
        if not mine.any():
            return {}
        of_each = thresholds.offsets_of_each(valid["label"][mine], valid[f"scores_{readout}"][mine], costs)
        for objective, offsets in of_each.items():
            if offsets is not None:
                found[objective].append(float(offsets[1] - offsets[0]))
    return {objective: offsets for objective, offsets in found.items() if len(offsets) == len(list(runs))}
