"""The small real data sets that come with scikit-learn: nothing is downloaded."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
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
FILES = {"breast_cancer": "breast_cancer.csv", "digits": "digits.csv.gz", "wine": "wine_data.csv"}


def held(name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows (n, d), classes (n,) and their names as ``sklearn.datasets`` has them: of its files, without the seconds
    that its import takes."""
    spec = find_spec("sklearn")
    assert spec is not None and spec.origin is not None  # the package depends on it
    path = Path(spec.origin).parent / "datasets" / "data" / FILES[name]
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = content.decode().splitlines()
    digits = name == "digits"
    names = [str(digit) for digit in range(10)] if digits else lines.pop(0).split(",")[2:]
    table = np.loadtxt(lines, delimiter=",")
    # In memory as there, too: sums over rows round as their order in it has them.
    return table[:, :-1] if digits else table[:, :-1].copy(), table[:, -1].astype(int), names


@DATASETS.register("sklearn")
@dataclass(frozen=True)
class SklearnSource(Source):
    """``breast_cancer``: 569 × 30, malignant (212) is positive; ``wine``: 178 × 13, 3 classes; ``digits``: 1797 × 64,
    10 classes. ``positive``: one class by name against all others together (digits: "8"), or None."""

    set: Literal["breast_cancer", "digits", "wine"]
    positive: str | None
    scale: Scale

    def load(self, folder: Path) -> Dataset:
        x, y, names = held(self.set)
        if self.set == "breast_cancer":  # scikit-learn counts the malignant ones as class 0
            y, names = 1 - y, names[::-1]
        if self.positive is not None:
            if self.positive not in names:
                raise BenchError(f"dataset.positive={self.positive!r}: {suggestion(self.positive, names)}")
            y, names = (y == names.index(self.positive)).astype(int), ["rest", self.positive]
        return Dataset(self.set, x, y.astype(np.int64), tuple(names), ArrayEncoder(self.scale))

    def facts(self) -> Facts | None:
        features, counts = HELD[self.set]
        return None if self.positive else Facts.counted(counts, "scikit-learn (built in)", (features,))
