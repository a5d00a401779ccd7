"""What the runs of a cell learned, as files beside its record (``save=true``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.running.models import NotKept, State, packed, state_of

if TYPE_CHECKING:
    from imbalance_bench.cells.recipe import Prepared
    from imbalance_bench.data.base import Dataset, Task

log = logging.getLogger("imbalance_bench")


def model_files(cell: Prepared) -> dict[str, bytes | str]:
    """The files of the runs that did not diverge, with the preprocessing that each was trained behind. None, with a
    warning, where they cannot be saved: a trained cell is not lost for it."""
    states: dict[str, State] = {}
    encoders: dict[int, str] = {}
    try:
        for i, (run, classifier) in enumerate(zip(cell.runs, cell.classifiers)):
            if classifier.failure:
                continue
            states[f"run{i}"] = state_of(classifier)
            encoders[i] = f"encoder{run.task.fold}"
            if encoders[i] not in states:  # repeats of a fold are behind the same one
                states[encoders[i]] = fitted(cell.dataset, run.task)
        return packed(states, {"encoders": encoders, **_facts(cell)})
    except NotKept as reason:
        log.warning("save=true: no model is kept: %s", reason)
        return {}


def fitted(dataset: Dataset, task: Task) -> State:
    """The preprocessing of a run. It is fitted again, to the same training rows: a task has the rows it made only."""
    encode = dataset.encode
    if not hasattr(encode, "fitted"):
        raise NotKept(
            f"the preprocessing of data set {dataset.name}, {type(encode).__qualname__}, has no fitted(x, fit_rows) "
            "that gives it as an object"
        )
    return state_of(encode.fitted(dataset.x, task.train.ids))


def _facts(cell: Prepared) -> dict[str, Any]:
    """How new rows are read."""
    dataset = cell.dataset
    return {
        "modality": dataset.modality,
        "language": dataset.language,
        "shape": list(np.shape(dataset.x)[1:]),
        "plugins": list(cell.config.plugins),
    }
