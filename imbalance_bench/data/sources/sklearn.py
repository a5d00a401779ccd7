"""The small real data sets that come with scikit-learn: nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imbalance_bench.data.base import Dataset, Facts, Source
from imbalance_bench.data.encode import ArrayEncoder, Scale
from imbalance_bench.errors import BenchError, suggestion
from imbalance_bench.registry import DATASETS

# Features, and rows a class.
HELD = {
    "breast_cancer": (30, (357, 212)),
    "digits": (64, (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)),
    "wine": (13, (59, 71, 48)),
}


@DATASETS.register("sklearn")
@dataclass(frozen=True)
class SklearnSource(Source):
    """``breast_cancer``: 569 × 30, malignant (212) is positive; ``wine``: 178 × 13, 3 classes; ``digits``: 1797 × 64,
    10 classes. ``positive``: one class by name against all others together (digits: "8"), or None."""

    set: Literal["breast_cancer", "digits", "wine"]
    positive: str | None
    scale: Scale

    def load(self, folder: Path) -> Dataset:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{self.set}")()
        y, names = bunch.target, [str(n) for n in bunch.target_names]
        if self.set == "breast_cancer":  # scikit-learn counts the malignant ones as class 0
            y, names = 1 - y, names[::-1]
        if self.positive is not None:
            if self.positive not in names:
                raise BenchError(f"dataset.positive={self.positive!r}: {suggestion(self.positive, names)}")
            y, names = (y == names.index(self.positive)).astype(int), ["rest", self.positive]
        return Dataset(self.set, bunch.data, y.astype(np.int64), tuple(names), ArrayEncoder(self.scale))

    def facts(self) -> Facts | None:
        features, counts = HELD[self.set]
        return None if self.positive else Facts.counted(counts, "scikit-learn (built in)", (features,))
