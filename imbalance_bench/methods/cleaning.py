"""Under-sampling that cleans the border between classes, alone and after SMOTE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from imbalance_bench.data.base import Part, Task
from imbalance_bench.methods.shared.undersampling import UnderSampler, kept
from imbalance_bench.methods.smote import SMOTE
from imbalance_bench.options import Count
from imbalance_bench.registry import METHODS


@METHODS.register("tomek_links")
@dataclass(frozen=True)
class TomekLinks(UnderSampler):
    """Tomek links (Tomek, 1976), imbalanced-learn's: of two rows of different classes that are each other's nearest,
    the one that is not of the smallest class is left out."""

    def make(self, seed: int) -> Any:
        from imblearn.under_sampling import TomekLinks as Sampler

        return Sampler()


@METHODS.register("enn")
@dataclass(frozen=True)
class ENN(UnderSampler):
    """Edited nearest neighbours (Wilson, 1972), imbalanced-learn's: a row that is not of the smallest class stays where
    ``agree`` of its ``neighbours`` nearest rows are of its class: all of them, or most (mode)."""

    neighbours: Count
    agree: Literal["all", "mode"]

    def make(self, seed: int) -> Any:
        from imblearn.under_sampling import EditedNearestNeighbours as Sampler

        return Sampler(n_neighbors=self.neighbours, kind_sel=self.agree)


@METHODS.register("smote_tomek")
@dataclass(frozen=True)
class SMOTETomek(SMOTE):
    """SMOTE, then both rows of every Tomek link are left out (Batista et al., 2004), as imbalanced-learn's."""

    def resample(self, task: Task, rows: Part) -> Part:
        from imblearn.under_sampling import TomekLinks as Sampler

        return kept(Sampler(sampling_strategy="all"), task, super().resample(task, rows), self.name)


@METHODS.register("smote_enn")
@dataclass(frozen=True)
class SMOTEENN(SMOTE):
    """SMOTE, then those rows of whichever class are left out whose ``neighbours`` nearest are not all of their class
    (Batista et al., 2004), as imbalanced-learn's."""

    neighbours: Count

    def resample(self, task: Task, rows: Part) -> Part:
        from imblearn.under_sampling import EditedNearestNeighbours as Sampler

        sampler = Sampler(sampling_strategy="all", n_neighbors=self.neighbours)
        return kept(sampler, task, super().resample(task, rows), self.name)
