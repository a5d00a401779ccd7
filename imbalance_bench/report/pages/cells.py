"""The page of a cell: what is in its record and the files beside it, as text, tables, charts and, for the threshold,
its predictions."""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imbalance_bench import metrics, origin, scoring, thresholds
from imbalance_bench.errors import command
from imbalance_bench.report.pages.charts import Line, chart
from imbalance_bench.report.pages.html import Grid, rendered, td
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.collected import numbers_of
from imbalance_bench.report.records.records import LABELS, Record, duration, readout_title
from imbalance_bench.report.sheet import mean_sd, number
from imbalance_bench.report.sheets.scores import class_title, metric_title
from imbalance_bench.report.style import history_of
from imbalance_bench.store import OUTPUTS, Damaged, NotCollected, arrays, has_file

CURVED = 12  # classes that have curves, and runs that are drawn in each
MATRIX = 30  # classes of a confusion matrix that is shown whole
HELD = 3_000_000  # bytes of scores in a page
HISTORY = 9  # columns of history.csv that are drawn
CURVES = {"train_loss": "training loss", "valid_loss": "validation loss", "valid_score": "score of validation rows"}


@dataclass(frozen=True)
class Place:
    """A table that shows a cell: its title, a link to it from the cell's page, and the readings of its preset."""

    title: str
    link: str
    readings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Charts:
    """Drawings of a class, against the rest."""

    number: int
    name: str
    drawings: list[str] = field(default_factory=list)


def cell_page(record: Record, places: Sequence[Place] = ()) -> str:
    """The page as text; ``places``: the tables that show it."""
    labels = record["labels"]
    content: dict[str, Any] = {
        "title": f"{labels['method']} on {labels['dataset']}",
        "labels": [(axis, labels[axis]) for axis in LABELS],
        "record": record,
        "places": places,
        "options": _options(record),
        "again": _again(record),
        "code": _code(record),
        "changed": origin.named(origin.changed(record.get("code", {}))),
        "provenance": frames.provenance_lines([record] if record["status"] == "done" else [], "")[1:],
    }
    if record["status"] == "done":
        content |= _of_numbers(record) | _of_files(record)
    return rendered("cell.html.j2", content, scripts=["tables.js", *(["threshold.js"] if content.get("data") else [])])


def _of_numbers(record: Record) -> dict[str, Any]:
    head = record["headline"]
    name = (head["metric"], head["class_group"], head["iterate"])
    found: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for part, run, _, _, readout, group, metric, value in numbers_of(record):
        found.setdefault((part, readout, group, metric), {})[run] = value
    mine = found.get(("test", name[2], name[1], name[0]), {})
    runs = [run["run"] for run in record["runs"]]
    rows = []
    for (part, readout, group, metric), by_run in found.items():
        values = [value for value in by_run.values() if not math.isnan(value)]
        mean = float(np.mean(values)) if values else None
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        rows.append(
            [
                td(part), td(readout), td(class_title(group)), td(metric_title(metric)),
                td(mean_sd(mean, sd) if mean is not None else "–", mean),
                *(_number(by_run.get(run, math.nan)) for run in runs),
            ]
        )  # fmt: skip
    header = ["rows", "readout", "classes", "metric", "mean ± sd", *(f"run {run}" for run in runs)]
    values = [value for value in mine.values() if not math.isnan(value)]
    return {
        "headline": {
            "metric": metric_title(name[0]),
            "group": class_title(name[1]),
            "text": mean_sd(head["mean"], float(np.std(values, ddof=1)) if len(values) > 1 else None),
            "readout": readout_title(name[2]),
        },
        "runs": _runs(record, metric_title(name[0]), mine),
        "numbers": Grid(header, rows, keys=4),
        "seconds": duration(record["seconds"]),
        "few": scoring.few_classes(record),
    }


def _runs(record: Record, title: str, values: dict[int, float]) -> Grid:
    """A row a run."""
    header = ["run", "fold", "repeat", "seed", "training rows", "validation rows", "test rows", "by class", title, ""]
    rows = []
    for run in record["runs"]:
        counts = run.get("train_counts") or (run.get("info") or {}).get("train_counts") or []
        said = run["failure"] or ("predicts few classes" if run.get("few_classes") else "")
        rows.append(
            [
                td(str(run["run"]), run["run"]), td(str(run["fold"]), run["fold"]),
                td(str(run["repeat"]), run["repeat"]), td(str(run.get("seed", "–")), run.get("seed")),
                *(td(str(run.get(key, "–")), run.get(key)) for key in ("n_train", "n_valid", "n_test")),
                td(_few(counts)), _number(values.get(run["run"], math.nan)), td(said),
            ]
        )  # fmt: skip
    return Grid(header, rows, keys=1, texts=(7, 9))


def _few(counts: Sequence[int]) -> str:
    return " / ".join(map(str, counts[:6])) + (f" and {len(counts) - 6} classes more" if len(counts) > 6 else "")


def _number(value: float) -> Any:
    return td("–", muted=True) if math.isnan(value) else td(number(value, 4), value)


def _of_files(record: Record) -> dict[str, Any]:
    """What is drawn of history.csv and predictions.npz; why there is none, where one is missing."""
    content: dict[str, Any] = {"histories": [], "absent": []}
    for name, make in (("history.csv", _histories), ("predictions.npz", _predictions)):
        try:
            if "collected" in record or has_file(record, name):
                found = make(record)
                content["absent"] += found.pop("absent", [])
                content |= found
            else:
                content["absent"].append(f"The run wrote no {name}.")
        except (Damaged, NotCollected) as error:
            content["absent"].append(str(error))
    return content


def _histories(record: Record) -> dict[str, Any]:
    history = history_of(record)
    if history.empty or not {"run", "epoch"} <= set(history.columns):
        return {}
    if history["epoch"].nunique() < 2:
        return {"absent": ["One epoch only: there is no training curve."]}
    known = [*CURVES, *(c for c in history.columns if c not in ("run", "epoch", *CURVES))]
    drawn = []
    for column in [c for c in known if c in history.columns and history[c].dtype.kind in "fi"][:HISTORY]:
        runs = history[["run", "epoch", column]].dropna()
        lines = [
            Line(run["epoch"].to_numpy(), run[column].to_numpy(), "a run" if i == 0 else "")
            for i, (_, run) in enumerate(runs.groupby("run"))
        ]
        if len(lines) > 1:
            mean = runs.groupby("epoch")[column].mean()
            lines = [*lines[:CURVED], Line(mean.index.to_numpy(), mean.to_numpy(), "mean", "mean")]
        title = CURVES.get(column, column.replace("_", " "))
        drawn.append(chart(title[:1].upper() + title[1:], "epoch", "", lines))
    return {"histories": list(filter(None, drawn))}


def _predictions(record: Record) -> dict[str, Any]:
    if record["kind"] != "classification":
        return {"absent": ["A regression has no classes: there are no curves, and no threshold."]}
    parts = scoring.parts_of(arrays(record, "predictions.npz"))
    test, names = parts["test"], [str(name) for name in record["data"]["class_names"]]
    readouts = [name.removeprefix("scores_") for name in test if name.startswith("scores_")]
    if not readouts or test[f"scores_{readouts[0]}"].shape[1] < 2:
        return {}
    first = "last" if "last" in readouts else readouts[0]
    shown = _shown_classes(test["label"], len(names))
    return {
        "curves": [Charts(c, names[c], _curves(test, first, c, names[c])) for c in shown],
        "curved_of": len(names),
        "matrix": _matrix(test["label"], test[f"scores_{first}"].argmax(axis=1), names),
        "readout": readout_title(first),
        "data": _data(record, parts, [first, *(r for r in readouts if r != first)], names),
        "objectives": {name: metric_title(name) for name in thresholds.OBJECTIVES},
        "choices": [(c, names[c]) for c in ([1] if len(names) == 2 else np.argsort(_counts(test, names)).tolist())],
        "readouts": [(r, readout_title(r)) for r in [first, *(r for r in readouts if r != first)]],
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
            [td(names[a]), td(names[b]), td(str(counts[a, b]), int(counts[a, b])), _number(counts[a, b] / rows[a])]
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
    """What threshold.js counts: labels, runs and scores of test rows as they lie in memory and, of two classes, the
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


def _options(record: Record) -> Grid:
    options = sorted(comparable.flatten(record["config"]).items())
    return Grid(["option", "value"], [[td(key), td(_text(value))] for key, value in options], texts=(1,))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _again(record: Record) -> str:
    """The command that trains the cell again, from the folder in which the report was made."""
    if "collected" in record:
        return ""
    outputs = str(record["path"].parents[5])
    place = [f"paths.outputs={outputs}"] if outputs != OUTPUTS else []
    return f"{command('train')} {shlex.join(['-cp', str(record['path']), '-cn', 'config', 'cache=overwrite', *place])}"


def _code(record: Record) -> Grid:
    rows = [[td(module), td(content)] for module, content in sorted(record.get("code", {}).items())]
    return Grid(["module", "SHA-256, its first 12 digits"], rows, texts=(1,))
