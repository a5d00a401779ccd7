"""The page of a cell: what is in its record and the files beside it, as text, tables, charts and, for the threshold,
its predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from imbalance_bench import origin
from imbalance_bench.metrics import scoring
from imbalance_bench.report.pages.charts import Line, chart
from imbalance_bench.report.pages.html import Grid, number_cell, rendered, td
from imbalance_bench.report.pages.making import TableLink, again, options_grid
from imbalance_bench.report.pages.predictions import of_predictions
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.collected import numbers_of
from imbalance_bench.report.records.records import LABELS, Record, duration, readout_title
from imbalance_bench.report.records.selection import shown_labels
from imbalance_bench.report.sheet import Item, mean_sd
from imbalance_bench.report.sheets.scores import class_title, metric_title
from imbalance_bench.report.style import history_of
from imbalance_bench.store import CellFolder, Damaged, NotCollected, has_file

DRAWN = 12  # runs in a training curve
HISTORY = 9  # columns of history.csv that are drawn
CURVES = {"train_loss": "training loss", "valid_loss": "validation loss", "valid_score": "score of validation rows"}


def cell_page(record: Record, places: Sequence[TableLink] = ()) -> str:
    """The page as text; ``places``: the tables that show it."""
    labels = shown_labels(record)
    content: dict[str, Any] = {
        "title": f"{labels['method']} on {labels['dataset']}",
        "labels": [(axis, labels[axis]) for axis in LABELS],
        "record": record,
        "places": places,
        "options": options_grid(record["config"]),
        "again": "" if "collected" in record else again(record["path"], "cache=overwrite"),
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
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for part, run, _, _, readout, group, metric, value in numbers_of(record):
        found.setdefault((part, readout, group, metric), {})[run] = value
    mine = found.get(("test", name[2], name[1], name[0]), {})
    runs = [run["run"] for run in record["runs"]]
    rows = []
    for (part, readout, group, metric), by_run in found.items():
        rows.append(
            [
                td(part), td(readout), td(class_title(group)), td(metric_title(metric)), _over_runs(by_run.values()),
                *(number_cell(by_run.get(run, math.nan)) for run in runs),
            ]
        )  # fmt: skip
    header = ["rows", "readout", "classes", "metric", "mean ± sd", *(f"run {run}" for run in runs)]
    return {
        "headline": {
            "metric": metric_title(name[0]),
            "group": class_title(name[1]),
            "text": _over_runs(mine.values()).text,
            "readout": readout_title(name[2]),
            "over": f"mean ± sd over {len(mine)} runs" if len(mine) > 1 else "one run",
        },
        "diverged": diverged(record),
        "failed_since": "" if "collected" in record else CellFolder(record["path"]).error().partition("\n")[0],
        "runs": _runs(record, metric_title(name[0]), mine),
        "numbers": Grid(header, rows, keys=4),
        "seconds": duration(record["seconds"]),
        "few": scoring.few_classes(record),
    }


def _runs(record: Record, title: str, values: dict[int, float]) -> Grid:
    """A row a run."""
    header = ["run", "fold", "repeat", "seed", "training rows", "validation rows", "test rows", "by class", title]
    rows, notes = [], []
    for run in record["runs"]:
        counts = run.get("train_counts") or (run.get("info") or {}).get("train_counts") or []
        said = run["failure"] or ("predicts few classes" if run.get("few_classes") else "")
        notes.append(said)
        rows.append(
            [
                td(str(run["run"]), run["run"]), td(str(run["fold"]), run["fold"]),
                td(str(run["repeat"]), run["repeat"]), td(str(run.get("seed", "–")), run.get("seed")),
                *(td(str(run.get(key, "–")), run.get(key)) for key in ("n_train", "n_valid", "n_test")),
                td(_few(counts)), number_cell(values.get(run["run"], math.nan)),
            ]
        )  # fmt: skip
    if any(notes):
        header.append("note")
        rows = [[*row, td(note)] for row, note in zip(rows, notes)]
    return Grid(header, rows, keys=1, texts=(7, 9))


def _over_runs(values: Iterable[float]) -> Item:
    """Mean ± sd (n - 1) over the runs in which a number is defined."""
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return td("–", muted=True)
    mean = float(np.mean(defined))
    return td(mean_sd(mean, float(np.std(defined, ddof=1)) if len(defined) > 1 else None), mean)


def diverged(record: Record) -> int:
    """How many of its runs have no numbers."""
    return sum(run["failure"] is not None for run in record.get("runs", ()))


def _few(counts: Sequence[int]) -> str:
    return " / ".join(map(str, counts[:6])) + (f" and {len(counts) - 6} classes more" if len(counts) > 6 else "")


def _of_files(record: Record) -> dict[str, Any]:
    """Drawings of history.csv and predictions.npz; why there is none, where one is missing."""
    content: dict[str, Any] = {"histories": [], "absent": []}
    for name, make in (("history.csv", _histories), ("predictions.npz", of_predictions)):
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
            lines = [*lines[:DRAWN], Line(mean.index.to_numpy(), mean.to_numpy(), "mean", "mean")]
        title = CURVES.get(column, column.replace("_", " "))
        drawn.append(chart(title[:1].upper() + title[1:], "epoch", "", lines, whole=True))
    return {"histories": list(filter(None, drawn))}


def _code(record: Record) -> Grid:
    rows = [[td(module), td(content)] for module, content in sorted(record.get("code", {}).items())]
    return Grid(["module", "SHA-256, its first 12 digits"], rows, texts=(1,))
