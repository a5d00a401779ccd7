"""The trained result of a run: a classifier that scores rows.

One that ``save=true`` is to keep also has ``state`` and ``restored``, and is registered by ``models.kept``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Readout = str
"""The part of a trained run that is scored: "last", "best" (on validation), or another decision: "knn", "lr",
"post_100"."""


@dataclass
class Classifier:
    """A trained run. ``readouts``: what of it can score: always "last"; "best" = the epoch of the highest validation
    score; "knn" and "lr" = these classifiers put on the last epoch's deep features; "post_<n>" = the last epoch with
    class representatives from n training rows.

    ``info`` goes into the record of the run (row counts after resampling, how far synthetic points moved);
    ``history`` into history.csv, a dict an epoch; ``artifacts`` into artifacts.npz. ``failure`` says why the run
    diverged (then ``scores`` is not called).
    """

    info: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    artifacts: dict[str, np.ndarray] = field(default_factory=dict)
    failure: str | None = None
    readouts: tuple[Readout, ...] = ("last",)

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        """Log-probabilities (n, C) of rows ``x`` (n, ...); regression: predictions (n, 1). May raise NoNumbers."""
        raise NotImplementedError

    def ranks(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray | None:
        """(n, C): what orders rows by each class in curves and areas under them, where that is not the log-odds of
        ``scores``: one-vs-all classifiers, whose probabilities do not sum to one. None: it is."""
        return None
