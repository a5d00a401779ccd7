"""How imbalance is induced or left: pure functions (labels, seed) → rows kept. IR = majority/minority.

Every form decides how many rows of each class stay; which ones is drawn once for each class from the seed, as the
first rows of a fixed random order. So for one seed the rows that IR 200:1 keeps are among those that 100:1 keeps, and
those among 50:1's, whatever form asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import RATIOS


@dataclass(frozen=True)
class Ratio:
    """``seed``: which rows stay; apart from the training seed. ``apply_to``: induce imbalance in all rows before the
    split, or in the training part of each split only (validation and test parts stay as they are)."""

    name: ClassVar[str]

    seed: int
    apply_to: Literal["all", "train"]

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BenchError(f"ratio.seed={self.seed} must be 0 or above")

    def keep_counts(self, counts: np.ndarray) -> np.ndarray:
        """Rows to keep (C,) of classes that have ``counts`` (C,) rows."""
        raise NotImplementedError

    def indices(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """Rows kept, sorted, of labels (n,) in 0..C-1. Raises BenchError where a class would be left empty."""
        counts = np.bincount(labels)
        keep = self.keep_counts(counts)
        for c in np.flatnonzero(keep < 1):
            why = "has no rows" if counts[c] == 0 else f"has {counts[c]} rows and would keep none"
            raise BenchError(f"ratio={self.name}: class {c} {why}: choose a lower ratio")
        rows = [_order(np.flatnonzero(labels == c), c, seed)[: keep[c]] for c in range(len(counts))]
        return np.sort(np.concatenate(rows))


def _order(rows: np.ndarray, label: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, label]).permutation(rows)


@RATIOS.register("native")
@dataclass(frozen=True)
class Native(Ratio):
    """The data as they are."""

    def keep_counts(self, counts: np.ndarray) -> np.ndarray:
        return counts


@RATIOS.register("imbalance_ratio")
@dataclass(frozen=True)
class ImbalanceRatio(Ratio):
    """The minority thinned to floor(majority / ``r``) rows, the majority kept whole. Of two classes the minority is
    class 1, the positive one; of several it is the rarest, against all others together."""

    r: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self.r)

    def keep_counts(self, counts: np.ndarray) -> np.ndarray:
        minority = 1 if len(counts) == 2 else int(counts.argmin())
        majority = counts.sum() - counts[minority]
        return _thinned(counts, [minority], int(majority / self.r), self.r)


@RATIOS.register("step")
@dataclass(frozen=True)
class Step(Ratio):
    """Minority classes thinned to floor(n_max / ``r``) rows each, n_max being the largest class. ``classes``: the
    minority classes; null: the first ``fraction`` of all."""

    r: float
    classes: list[int] | None
    fraction: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self.r)
        if not 0 < self.fraction < 1:
            raise BenchError(f"ratio.fraction={self.fraction} must lie between 0 and 1")

    def keep_counts(self, counts: np.ndarray) -> np.ndarray:
        classes = self.classes
        if classes is None:
            classes = list(range(round(self.fraction * len(counts))))
        _known(classes, counts, "ratio.classes")
        if len(set(classes)) in (0, len(counts)):
            raise BenchError(
                f"ratio=step thins {len(set(classes))} of {len(counts)} classes: at least one must be thinned and one "
                "kept whole; set ratio.classes=[...] or another ratio.fraction"
            )
        return _thinned(counts, classes, int(counts.max() / self.r), self.r)


@RATIOS.register("long_tailed")
@dataclass(frozen=True)
class LongTailed(Ratio):
    """Exponential decay: class i of C keeps n_i = int(n_max · mu^(i/(C-1))) rows, or all where it has fewer. ``mu`` =
    1/IR between the first class and the last."""

    mu: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mu <= 1:
            raise BenchError(f"ratio.mu={self.mu} must lie in (0, 1]; 0.01 is an imbalance of 100:1")

    def keep_counts(self, counts: np.ndarray) -> np.ndarray:
        exponents = np.arange(len(counts)) / max(len(counts) - 1, 1)
        return np.minimum(counts, (counts.max() * self.mu**exponents).astype(np.int64))


@RATIOS.register("class_list")
@dataclass(frozen=True)
class ClassList(Ratio):
    """``keep``: class index → how much of it stays: a fraction (a float below 1, floored) or a number of rows (an
    int). Classes that are not listed stay whole. On the command line: ``'ratio.keep={1: 0.1, 2: 50}'``."""

    keep: dict[int, float | int] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.keep:
            raise BenchError("ratio=class_list needs the rows to keep, e.g. 'ratio.keep={1: 0.1, 2: 50}'")
        for c, value in self.keep.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            # A float of 1 or more is refused so that 1.0 (all rows?) is never taken for 1 (one row).
            if not number or value <= 0 or (isinstance(value, float) and value >= 1):
                raise BenchError(
                    f"ratio.keep[{c}]={value!r} must be a fraction between 0 and 1 or a whole number of rows"
                )

    def keep_counts(self, counts: np.ndarray) -> np.ndarray:
        assert self.keep is not None
        kept = counts.copy()
        _known(self.keep, counts, "ratio.keep")
        for c, value in self.keep.items():
            kept[int(c)] = int(counts[int(c)] * value) if isinstance(value, float) else value
            if kept[int(c)] > counts[int(c)]:
                raise BenchError(f"ratio.keep[{c}]={value} asks for more rows than class {c} has ({counts[int(c)]})")
        return kept


def _at_least_one(r: float) -> None:
    if not 1 <= r < float("inf"):
        raise BenchError(f"ratio.r={r} must be at least 1: it is majority rows to one minority row")


def _known(classes: object, counts: np.ndarray, where: str) -> None:
    for c in classes:  # type: ignore[attr-defined]
        if not str(c).isdecimal() or int(c) >= len(counts):
            raise BenchError(f"{where}: class {c!r} does not exist: classes are 0 to {len(counts) - 1}")


def _thinned(counts: np.ndarray, classes: list[int], wanted: int, r: float) -> np.ndarray:
    """``counts`` with ``classes`` cut to ``wanted`` rows. A class that has fewer already is an error: the result
    would carry the name of a ratio that it does not have."""
    kept = counts.copy()
    for c in classes:
        if counts[c] < wanted:
            raise BenchError(
                f"ratio.r={r:g} asks for {wanted} rows of class {c}, which has {counts[c]}: the data are more "
                "imbalanced than that already; set ratio=native or a higher ratio.r"
            )
        kept[c] = wanted
    return kept
