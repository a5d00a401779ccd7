"""Probabilities and decisions of new rows: calibrated, and at thresholds that the validation rows of each run gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import calibration, scoring, thresholds
from imbalance_bench.store import Record, arrays

PLAIN = "probability"  # the decision for the class of the highest one


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
    wanted = f"--decide {objective}" if objective not in (None, PLAIN) else f"--calibration {kind}" if kind else ""
    why, valid = "", {}
    if objective != PLAIN or kind is not None:
        why = missing(record)
        valid = {} if why else scoring.parts_of(arrays(record, "predictions.npz")).get("valid", {})
        if not why and f"scores_{readout}" not in valid:  # where some run of the cell lacks it
            why = f"this record has no scores of them for --readout {readout}"
    if why and wanted:
        raise BenchError(f"{wanted} needs validation rows that nothing was trained on, and {why}")
    if why or (objective == PLAIN and kind is None):
        plain = _mean(list(scores.values()))
        return Decided(np.exp(plain), plain.argmax(axis=1), "the highest probability" + (f" ({why})" if why else ""))
    calibrated, moved, found = [], [], []
    for run, new in scores.items():
        mine = valid["run"] == run
        labels, known = valid["label"][mine], valid[f"scores_{readout}"][mine]
        if kind:
            made = calibration.fitted(kind, labels, known)
            if made is None:
                raise BenchError(f"--calibration {kind}: the validation rows of run {run} are of one class")
            known, new = made(known), made(new)
        calibrated.append(new)
        if objective == PLAIN:
            continue
        tuned = thresholds.offsets(labels, known, objective or "f1", costs_of(record, run))
        if tuned is None and objective is not None:
            raise BenchError(f"--decide {objective}: the validation rows of run {run} are of one class")
        found.append(tuned)
        moved.append(np.maximum(np.asarray(new, np.float64), thresholds.LOWEST) + (0 if tuned is None else tuned))
    mean = _mean(calibrated)
    if objective == PLAIN or any(tuned is None for tuned in found):
        how = "the highest probability" + ("" if objective == PLAIN else " (the validation rows are of one class)")
        return Decided(np.exp(mean), mean.argmax(axis=1), how)
    return Decided(np.exp(mean), _mean(moved).argmax(axis=1), _described(objective or "f1", found))


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


def _described(objective: str, found: list[Any]) -> str:
    if len(found[0]) > 2:
        return f"offsets that are best for {objective} on validation rows"
    each = [thresholds.as_threshold(tuned) for tuned in found]
    low, high = f"{min(each):.3g}", f"{max(each):.3g}"
    between = low if low == high else f"{low} to {high}, by run"
    return f"the threshold that is best for {objective} on validation rows ({between})"
