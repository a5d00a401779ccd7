"""Slices: named masks of test rows whose minority is scored apart, such as texts that are difficult to tell apart.

A data set names slices of its rows (``Dataset.slices``). Others are computed of a cell's runs by a function that is
declared under a name (``@slices.declare("difficult")``, in a method's file or a plug-in); they cost seconds, and are
computed only where the method asks for them (``Method.slices``) or the configuration does (``slices=[difficult]``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.errors import BenchError, suggestion

if TYPE_CHECKING:
    from imbalance_bench.data.base import Dataset
    from imbalance_bench.data.tasks import Run
    from imbalance_bench.engine.classifier import Classifier

log = logging.getLogger("imbalance_bench")


@dataclass(frozen=True)
class Slice:
    """The rows of one run in a slice: ``mask`` (n_test,) bool. ``facts``: numbers for the record of the run, of every
    readout; those of one readout only stand under its name, {"share": 0.4, "last": {"share_own": 0.3}}."""

    mask: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)


# (data set, runs, their classifiers, paths.data) → one Slice a run. A BenchError says why there is none.
Maker = Callable[["Dataset", Sequence["Run"], Sequence["Classifier"], Path], list[Slice]]
MAKERS: dict[str, Maker] = {}


def declare(name: str) -> Callable[[Maker], Maker]:
    """Decorates the function that makes the slice of this name."""

    def add(make: Maker) -> Maker:
        MAKERS[name] = make
        return make

    return add


def wanted(dataset: Dataset, *asked: Sequence[str]) -> list[str]:
    """The names of a cell's slices: those of its data set, and those asked for. Raises BenchError where one is
    unknown."""
    names = sorted({*dataset.slices, *(name for names in asked for name in names)})
    known = {*dataset.slices, *MAKERS}
    for name in names:
        if name not in known:
            raise BenchError(f"unknown slice {name} in slices=[{','.join(names)}]: {suggestion(name, known)}")
        if name == "other":
            raise BenchError("a slice cannot be called other: minority rows in no slice are the class group of it")
    return names


def cut(
    names: Sequence[str], dataset: Dataset, runs: Sequence[Run], classifiers: Sequence[Classifier], folder: Path
) -> dict[str, list[Slice]]:
    """Name → the slice of each run. One that cannot be computed is left out with a warning: a trained cell is not lost
    for it."""
    found = {}
    for name in names:
        if name in dataset.slices:
            found[name] = [Slice(np.asarray(dataset.slices[name], bool)[run.test.ids]) for run in runs]
            continue
        try:
            found[name] = MAKERS[name](dataset, runs, classifiers, folder)
        except BenchError as reason:
            log.warning("slice %s is left out: %s", name, reason)
    return found
