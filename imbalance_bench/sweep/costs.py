"""What the cells of a sweep may cost, by what earlier ones of the same outputs folder took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import fmean, median

from imbalance_bench.errors import BenchError
from imbalance_bench.options import key_of
from imbalance_bench.settings.config import label_of
from imbalance_bench.store import CellFolder, Store

MOST = 1000  # records that are read: a second
FEW = 10  # of one folder, until one of them is of a cell that was trained


def costs(jobs: Sequence[Sequence[str]], choices: Mapping[str, str], outputs: Path) -> list[float]:
    """Seconds of each job, a list of overrides of ``choices`` (group → option): the median of records of its method and
    data set; else of its method a row of data, times the rows of its data set; else of its method, or of its data set.
    Jobs that no record says anything about get the mean of the others; without any record, the list is empty."""
    seconds: dict[tuple[str, str], list[float]] = {}
    rows: dict[str, int] = {}
    for folder in islice(Store(outputs).runs.glob("*/*/*/*"), MOST):
        records = (_record(file.parent) for file in islice(folder.glob("*/record.json"), FEW))
        trained = (r for r in records if r and r["status"] == "done" and r["seconds"])  # a declined cell was not
        for record in islice(trained, 1):  # of each method, network, ratio and data set
            method, dataset = (record["labels"].get(group, "") for group in ("method", "dataset"))
            seconds.setdefault((method, dataset), []).append(float(record["seconds"]))
            rows[dataset] = int(record["data"].get("rows", 0))
    cost = cache(lambda method, dataset: _cost(method, dataset, seconds, rows))  # thousands of jobs are of a few
    known = [cost(*_named(job, choices)) for job in jobs]
    some = [cost for cost in known if cost is not None]
    return [fmean(some) if cost is None else cost for cost in known] if some else []


def _record(path: Path) -> Mapping | None:
    try:
        return CellFolder(path).record()
    except BenchError:  # damaged: status.py says so
        return None


def _named(job: Sequence[str], choices: Mapping[str, str]) -> tuple[str, str]:
    named = dict(choices) | {key_of(override): override.partition("=")[2] for override in job}
    return label_of(named.get("method", "")), label_of(named.get("dataset", ""))


def _cost(
    method: str, dataset: str, seconds: Mapping[tuple[str, str], Sequence[float]], rows: Mapping[str, int]
) -> float | None:
    if own := seconds.get((method, dataset)):
        return median(own)
    elsewhere = {data: median(took) for (name, data), took in seconds.items() if name == method}
    a_row = [took / rows[data] for data, took in elsewhere.items() if rows[data]]
    if a_row and rows.get(dataset):
        return rows[dataset] * median(a_row)
    same = [*elsewhere.values()] or [median(took) for (_, data), took in seconds.items() if data == dataset]
    return median(same) if same else None
