"""Over-sampling of the features that a trained network has for the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imbalance_bench.data.base import Part
from imbalance_bench.methods.adasyn import ADASYN
from imbalance_bench.methods.shared.oversampling import NeighbourSampler
from imbalance_bench.methods.shared.two_stages import TwoStages, embedded
from imbalance_bench.methods.smote import SMOTE
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    from imbalance_bench.engine.loop import Training


@dataclass(frozen=True)
class FeatureOverSampler(TwoStages, NeighbourSampler):
    """Plain training; then the network's own features of the training rows are over-sampled, and a fresh head is
    trained on these and on what was made. So texts can be over-sampled too, between the vectors of sentences.
    Augmentation of images is for the first stage only."""

    reads = "any"  # what is interpolated are vectors

    def second_sets(self, body: Training, sets: Sequence[Part]) -> Sequence[Part]:
        features = [embedded(body, r, rows) for r, rows in enumerate(sets)]
        runs = zip(body.tasks, features, body.monitor.failures)
        return [rows if failure else self.resample(replace(task, train=rows), rows) for task, rows, failure in runs]


@METHODS.register("adasyn_features")
@dataclass(frozen=True)
class ADASYNFeatures(FeatureOverSampler, ADASYN):
    """``ADASYN`` on sentence vectors, as the MISO paper's baseline has to be read (its input space is not given)."""


@METHODS.register("smote_features")
@dataclass(frozen=True)
class SMOTEFeatures(FeatureOverSampler, SMOTE):
    """``SMOTE`` on sentence vectors."""
