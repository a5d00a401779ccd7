"""Probabilities and decisions of new rows: calibrated, and at thresholds that the validation rows of each run gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import calibration, scoring, thresholds
from imbalance_bench.store import Record, arrays

PLAIN = "probability"  # the decision for the class of the highest one

Known = dict[int, tuple[np.ndarray, np.ndarray]]
"""Validation rows by run: class indices (n,) and log-probabilities (n, C)."""


@dataclass(frozen=True)
class Decided:
    """``probabilities`` (n, C), the mean over runs; ``decisions`` (n,) class indices; ``how``: what decided."""

    probabilities: np.ndarray
    decisions: np.ndarray
    how: str


def decided(
    record: Record, scores: Mapping[int, np.ndarray], readout: str, objective: str | None, kind: str | None
) -> Decided:
    """What runs say together of rows with log-probabilities ``scores`` (run → (n, C)).

    ``kind``: how each run's probabilities are calibrated first (``calibration.KINDS``), None: not. ``objective``: one
    of ``thresholds.OBJECTIVES``: each run's probabilities are moved by the offsets that are best on its validation
    rows, and the class with the highest mean is decided for; ``PLAIN``: without; None: F1, and ``PLAIN`` where the
    record has no validation rows to tune on.

    Raises:
        BenchError: validation rows are needed, and the record has none, or none of two classes.
    """
    known, why = ({}, "") if objective == PLAIN and kind is None else _validation_of(record, scores, readout)
    wanted = f"--decide {objective}" if objective not in (None, PLAIN) else f"--calibration {kind}" if kind else ""
    if why and wanted:
        raise BenchError(f"{wanted} needs validation rows that nothing was trained on, and {why}")
    if kind is not None:
        scores, known = _calibrated(kind, scores, known)
    mean = _mean(list(scores.values()))
    how = "the highest probability" + (f" ({why})" if why else "")
    if objective != PLAIN and not why:
        tuned = _offsets(record, known, objective)
        if tuned is not None:
            moved = _mean([thresholds.moved(scores[run], offsets) for run, offsets in tuned.items()])
            how = _described(objective or "f1", list(tuned.values()))
            return Decided(np.exp(mean), moved.argmax(axis=1), how)
        how = "the highest probability (the validation rows are of one class)"
    return Decided(np.exp(mean), mean.argmax(axis=1), how)


def _validation_of(record: Record, runs: Iterable[int], readout: str) -> tuple[Known, str]:
    """The validation rows of ``runs``; else none, and why there is nothing to tune on."""
    if why := missing(record):
        return {}, why
    valid = scoring.parts_of(arrays(record, "predictions.npz")).get("valid", {})
    if f"scores_{readout}" not in valid:  # where some run of the cell lacks it
        return {}, f"this record has no scores of them for --readout {readout}"
    of_runs = {run: valid["run"] == run for run in runs}
    return {run: (valid["label"][mine], valid[f"scores_{readout}"][mine]) for run, mine in of_runs.items()}, ""


def _calibrated(kind: str, scores: Mapping[int, np.ndarray], known: Known) -> tuple[dict[int, np.ndarray], Known]:
    """The scores of new and of validation rows, calibrated run by run on the validation rows."""
    new, valid = {}, {}
    for run, (labels, log_probs) in known.items():
        calibrate = calibration.fitted(kind, labels, log_probs)
        if calibrate is None:
            raise BenchError(f"--calibration {kind}: the validation rows of run {run} are of one class")
        new[run], valid[run] = calibrate(scores[run]), (labels, calibrate(log_probs))
    return new, valid


def _offsets(record: Record, known: Known, objective: str | None) -> dict[int, np.ndarray] | None:
    """The offsets (C,) of each run that are best on its validation rows. Where those of a run are of one class: None,
    and an error if the ``objective`` was asked for."""
    found = {}
    for run, (labels, log_probs) in known.items():
        tuned = thresholds.offsets(labels, log_probs, objective or "f1", costs_of(record, run))
        if tuned is None and objective is not None:
            raise BenchError(f"--decide {objective}: the validation rows of run {run} are of one class")
        if tuned is None:
            return None
        found[run] = tuned
    return found


def costs_of(record: Record, run: int) -> np.ndarray:
    """What a wrong decision costs, by class (C,)."""
    minority = record["runs"][run].get("minority_classes", ())
    return thresholds.costs_of(record["data"]["classes"], minority, record.get("cost", thresholds.COST))


def missing(record: Record) -> str:
    """Why there is nothing to tune on; "" where there is."""
    reasons = {
        "none": "this record has none: train with protocol.valid_fraction above 0",
        "trained on": "those of this record were trained on: train with trainer.rows=train",
    }
    found: Any = record.get("validation", "none")
    return "" if found in scoring.TUNED_ON else reasons.get(found, reasons["none"])


def _mean(log_probs: list[np.ndarray]) -> np.ndarray:
    """Logarithms (n, C) of the mean of the probabilities of runs, each divided by its sum."""
    each = np.asarray(log_probs, np.float64)
    with np.errstate(divide="ignore"):
        each = each - np.logaddexp.reduce(each, axis=2, keepdims=True)
        return np.asarray(np.logaddexp.reduce(each, axis=0) - np.log(len(each)))


def _described(objective: str, found: Sequence[np.ndarray]) -> str:
    if len(found[0]) > 2:
        return f"offsets that are best for {objective} on validation rows"
    each = [thresholds.as_threshold(tuned) for tuned in found]
    low, high = f"{min(each):.3g}", f"{max(each):.3g}"
    between = low if low == high else f"{low} to {high}, by run"
    return f"the threshold that is best for {objective} on validation rows ({between})"
