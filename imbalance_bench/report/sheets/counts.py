"""Tables of the data sets themselves: counted on loading, with no run behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imbalance_bench.data.text.words import segmenter
from imbalance_bench.errors import BenchError, command
from imbalance_bench.registry import DATASETS, RATIOS
from imbalance_bench.report.records.records import CellState, Values

if TYPE_CHECKING:
    from imbalance_bench.data.base import Dataset
    from imbalance_bench.settings.presets import PlannedCell

ABSENT = f"the data set does not lie here: {command('data')} fetch <its name>, or by hand (docs/datasets.md)"


def counts_of(cells: Iterable[PlannedCell], folder: Path) -> tuple[list[CellState], dict[str, Values]]:
    """The state of each cell, ``done`` or ``absent``, and its numbers by cell id, in the form of ``records.by_cell``.

    Counted are the rows that the cell's ratio leaves of its data set, before any split. ``folder``: ``paths.data``;
    nothing is fetched.
    """
    results: list[CellState] = []
    values: dict[str, Values] = {}
    for cell in cells:
        source = DATASETS.build(cell.config["dataset"])
        if source.paths(folder) is None:
            results.append(CellState(cell, "absent", None, ABSENT))
            continue
        try:
            data, ratio = source.load(folder), RATIOS.build(cell.config["ratio"])
            kept = ratio.indices(data.y, ratio.seed) if ratio.apply_to == "all" else np.arange(len(data.y))
        except BenchError as error:  # one damaged file, and the others are counted all the same
            results.append(CellState(cell, "absent", None, str(error)))
            continue
        results.append(CellState(cell, "done", None))
        values[cell.id] = {("last", group, metric): [float(value)] for group, metric, value in _facts(data, kept)}
    return results, values


def _facts(data: Dataset, kept: np.ndarray) -> Iterator[tuple[str, str, float]]:
    """(class group, metric, value) of rows ``kept``."""
    counts = np.bincount(data.y[kept], minlength=data.classes)
    yield "all", "n_instances", len(kept)
    yield "all", "n_majority", counts.max()
    yield "all", "n_minority", counts.min()
    yield "all", "imbalance_ratio", counts.max() / counts.min()
    yield "all", "minority_share", counts.min() / counts.max()
    yield "all", "n_classes", data.classes
    if data.modality == "text":
        words = segmenter(data.language)
        yield "all", "words_mean", float(np.mean([len(words(text)) for text in data.x[kept]]))
    for name, count in zip(data.class_names, counts):
        yield f"class:{name}", "n_instances", count
