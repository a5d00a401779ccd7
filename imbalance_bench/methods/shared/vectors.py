"""Shared by methods of plain vectors: the vectors of rows, and a run that is a decision on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.metrics import scoring
from imbalance_bench.running.models import State, Surroundings, kept, restored, state_of

if TYPE_CHECKING:
    from imbalance_bench.methods.shared.decisions import Decision


def flat_vectors(x: np.ndarray) -> np.ndarray:
    """Rows (n, ...) as float32 vectors (n, d); bytes of images become numbers in [0, 1]."""
    flat = np.ascontiguousarray(x.reshape(len(x), -1), np.float32)
    return flat / np.float32(255) if x.dtype == np.uint8 else flat


@kept("vectors")
class VectorClassifier(Classifier):
    """A decision on the rows' own vectors."""

    def __init__(self, decision: Decision, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decision = decision

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        import torch

        return self.decision.log_probs(torch.from_numpy(flat_vectors(x)))

    def state(self) -> State:
        return State(parts={"decision": state_of(self.decision)})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> VectorClassifier:
        return cls(restored(state.parts["decision"], around))


def valid_score(classifier: Classifier, task: Task) -> dict[str, float]:
    """The validation score for the history; nothing without a validation part."""
    if not len(task.valid):
        return {}
    return {"valid_score": scoring.selection_score(task.valid.y, classifier.scores(task.valid.x), task.kind)}
