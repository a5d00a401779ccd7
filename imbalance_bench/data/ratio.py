"""How imbalance is induced or left: pure functions (labels, seed) → rows kept. IR = majority/minority.

Every form decides how many rows of each class stay; which ones is drawn once for each class from the seed, as the
first rows of a fixed random order. So for one seed the rows that IR 200:1 keeps are among those that 100:1 keeps, and
those among 50:1's, whatever form asks. Forms that draw classes too do so from the same seed, alike for every share:
the four classes that lose 90 % of their rows are those that lose 99 %.

What a ratio takes out of a training part is that run's unlabelled pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from imbalance_bench.errors import BenchError
from imbalance_bench.options import BelowOne, Count, Ge, Interval, Seed, Share, Whole
from imbalance_bench.registry import RATIOS
from imbalance_bench.rounding import snapped
from imbalance_bench.seeds import derived


@dataclass(frozen=True)
class Ratio:
    """``seed``: which rows stay; apart from the training seed. ``apply_to``: induce imbalance in all rows before the
    split, or in the training part of each split only (validation and test parts stay as they are)."""

    name: ClassVar[str]
    remedy: ClassVar[str] = "choose a lower ratio"
    thin_positive: ClassVar[str] = "thin class 1, e.g. ratio=step ratio.classes=[1]"

    seed: Seed
    apply_to: Literal["all", "train"]

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        """Rows to keep (C,) of classes that have ``counts`` (C,) rows."""
        raise NotImplementedError

    def trial_seed(self, fold: int) -> int:
        """The ``seed`` that ``indices`` and ``minority_classes`` get for a fold: the same for all, unless a ratio is
        redrawn."""
        return self.seed

    def minority_classes(self, counts: np.ndarray, seed: int) -> tuple[int, ...]:
        """The classes that are the minority where ``counts`` (C,) rows a class are kept: of two classes class 1, the
        positive one; of several those that ``rare_classes`` says."""
        return (1,) if len(counts) == 2 else self.rare_classes(counts, seed)

    def rare_classes(self, counts: np.ndarray, seed: int) -> tuple[int, ...]:
        """The classes with fewer than half as many rows as the largest."""
        return tuple(np.flatnonzero(2 * counts < counts.max()).tolist())

    def indices(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """Rows kept, sorted, of labels (n,) in 0..C-1. Raises BenchError where a class would be left empty, or where
        class 1 of two, the positive one, would be left the larger."""
        counts = np.bincount(labels)
        keep = self.keep_counts(counts, seed)
        for c in np.flatnonzero(keep < 1):
            if counts[c] == 0:
                raise BenchError(f"ratio.name={self.name}: class {c} has no rows: leave the class out of the data")
            raise BenchError(
                f"ratio.name={self.name}: class {c} has {counts[c]} rows and would keep none: {self.remedy}"
            )
        if len(keep) == 2 and keep[1] > keep[0] and (keep < counts).any():
            raise BenchError(
                f"ratio.name={self.name} leaves {keep[0]} rows of class 0 and {keep[1]} of class 1, the positive one, "
                f"which must be the smaller: {self.thin_positive}"
            )
        rows = [self.order(np.flatnonzero(labels == c), c, seed)[: keep[c]] for c in range(len(counts))]
        return np.sort(np.concatenate(rows))

    def order(self, rows: np.ndarray, label: int, seed: int) -> np.ndarray:
        """The rows of a class as they are kept: the first of them stay."""
        return np.random.default_rng([seed, label]).permutation(rows)


@RATIOS.register("native")
@dataclass(frozen=True)
class Native(Ratio):
    """The data as they are."""

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        return counts


@RATIOS.register("imbalance_ratio")
@dataclass(frozen=True)
class ImbalanceRatio(Ratio):
    """The minority thinned to floor(majority / ``r``) rows, the majority kept whole. Of two classes the minority is
    class 1, the positive one; of several it is the rarest, against all others together."""

    r: Annotated[float, Ge(1), "majority rows to one minority row"]

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        minority = 1 if len(counts) == 2 else int(counts.argmin())
        majority = counts.sum() - counts[minority]
        return _thinned(counts, [minority], int(snapped(majority / self.r)), self.r)


@RATIOS.register("step")
@dataclass(frozen=True)
class Step(Ratio):
    """Minority classes thinned to floor(n_max / ``r``) rows each, n_max being the largest class. ``classes``: the
    minority classes; null: the first ``fraction`` of all, of two classes class 1."""

    r: Annotated[float, Ge(1), "majority rows to one minority row"]
    classes: list[Whole] | None
    fraction: Share

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        classes = self.rare_classes(counts, seed)
        _known(classes, counts, "ratio.classes")
        if len(classes) in (0, len(counts)):
            raise BenchError(
                f"ratio=step thins {len(classes)} of {len(counts)} classes: at least one must be thinned and one kept "
                "whole; set ratio.classes=[...] or another ratio.fraction"
            )
        return _thinned(counts, classes, int(snapped(counts.max() / self.r)), self.r)

    def rare_classes(self, counts: np.ndarray, seed: int) -> tuple[int, ...]:
        """The classes thinned."""
        if self.classes is not None:
            return tuple(sorted(set(self.classes)))
        order = (1, 0) if len(counts) == 2 else tuple(range(len(counts)))
        return order[: round(snapped(self.fraction * len(counts)))]


@RATIOS.register("long_tailed")
@dataclass(frozen=True)
class LongTailed(Ratio):
    """Exponential decay: class i of C keeps n_i = int(n_max · mu^(i/(C-1))) rows, or all where it has fewer. ``mu`` =
    1/IR between the first class and the last."""

    mu: Annotated[float, Interval(gt=0, le=1), "0.01 is an imbalance of 100:1"]

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        exponents = np.arange(len(counts)) / max(len(counts) - 1, 1)
        return np.minimum(counts, snapped(counts.max() * self.mu**exponents).astype(np.int64))

    def rare_classes(self, counts: np.ndarray, seed: int) -> tuple[int, ...]:
        """The last half of the classes, the tail."""
        return tuple(range(len(counts) // 2, len(counts)))


@RATIOS.register("class_list")
@dataclass(frozen=True)
class ClassList(Ratio):
    """``keep``: class index → how much of it stays: a fraction (a float below 1, floored) or a number of rows (an
    int). Classes that are not listed stay whole. On the command line: ``'ratio.keep={1: 0.1, 2: 50}'``."""

    thin_positive: ClassVar[str] = "keep fewer rows of class 1 (ratio.keep)"

    keep: Annotated[dict[Whole, Share | Count], "class index: the share or the number of its rows to keep"] | None

    def __post_init__(self) -> None:
        if not self.keep:
            raise BenchError("ratio=class_list needs the rows to keep, e.g. 'ratio.keep={1: 0.1, 2: 50}'")

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        assert self.keep is not None
        kept = counts.copy()
        _known(self.keep, counts, "ratio.keep")
        for c, value in self.keep.items():
            kept[int(c)] = int(snapped(counts[int(c)] * value)) if isinstance(value, float) else value
            if kept[int(c)] > counts[int(c)]:
                raise BenchError(f"ratio.keep[{c}]={value} asks for more rows than class {c} has ({counts[int(c)]})")
        return kept


@dataclass(frozen=True)
class Redrawn(Ratio):
    """``redraw``: whether each trial (fold) draws anew, all methods alike; false: every trial has the draw of
    ``seed``."""

    redraw: bool

    def __post_init__(self) -> None:
        if self.redraw and self.apply_to == "all":
            raise BenchError(
                "ratio.redraw=true draws anew for each training part: set ratio.apply_to=train, or ratio.redraw=false"
            )

    def trial_seed(self, fold: int) -> int:
        if not self.redraw:
            return self.seed
        return derived(self.seed, fold)


@RATIOS.register("random_classes")
@dataclass(frozen=True)
class RandomClasses(Redrawn):
    """``count`` classes drawn at random lose a share ``p`` of their rows: of n rows n - round(p n) stay (DOS, Sections
    2.2 and 4.2: 4 of 10 classes; of 5,000 rows p = 0.99 leaves 50)."""

    remedy: ClassVar[str] = "choose a lower ratio.p"

    count: Count
    p: Annotated[BelowOne, "the share of their rows to lose"]

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        if self.count >= len(counts):
            raise BenchError(
                f"ratio.count={self.count}: at least one of {len(counts)} classes must stay whole; set ratio.count="
                f"{len(counts) - 1} or fewer"
            )
        kept = counts.copy()
        for c in self.rare_classes(counts, seed):
            kept[c] -= round(snapped(self.p * counts[c]))
        return kept

    def rare_classes(self, counts: np.ndarray, seed: int) -> tuple[int, ...]:
        """The classes drawn."""
        return tuple(sorted(_drawn(len(counts), seed)[: self.count]))


@RATIOS.register("gaussian")
@dataclass(frozen=True)
class Gaussian(Redrawn):
    """Keep-rates from a Gaussian over the classes in an order drawn at random: the class at place i = 0..C-1 keeps
    exp(-i² / (2 sigma²)) of its rows, sigma solved so that a share ``reduction`` of all rows is lost (DOS, Section
    4.2). With ten equal classes sigma is 7.56 for 0.2 and 4.56 for 0.4, where the last class keeps 49 % and 14 %.
    """

    remedy: ClassVar[str] = "choose a lower ratio.reduction"

    reduction: Annotated[BelowOne, "the share of all rows to lose"]

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        if self.reduction == 0:
            return counts
        order = _drawn(len(counts), seed)
        kept = np.empty(len(counts), np.int64)
        kept[order] = gaussian_counts(counts[order], self.reduction)
        return kept

    def rare_classes(self, counts: np.ndarray, seed: int) -> tuple[int, ...]:
        """The classes below the median count."""
        return tuple(np.flatnonzero(counts < np.median(counts)).tolist())


def gaussian_counts(counts: np.ndarray, reduction: float) -> np.ndarray:
    """round(n_i exp(-i² / (2 sigma²))) of ``counts`` (C,) n_0..n_C-1, sigma such that of all rows together a share
    ``reduction`` is lost: to the row, though each class is rounded."""
    places = np.arange(len(counts))
    wanted = round(snapped((1 - reduction) * counts.sum()))

    def kept(log_sigma: float) -> np.ndarray:
        return np.round(counts * np.exp(-0.5 * (places / np.exp(log_sigma)) ** 2)).astype(np.int64)

    low, high = -3.0, 12.0  # where the first class alone stays (also if more is to go), and where all do
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle).sum() >= wanted else (middle, high)
    return kept(high)


@RATIOS.register("minor_major")
@dataclass(frozen=True)
class MinorMajor(Redrawn):
    """The listed ``classes`` keep a share ``minor`` of their rows, all others ``major``, both rounded (SelectNet,
    Section 4.1: of 5,000 rows 50 at 0.01 and 4,500 at 0.9). ``draw``: rows at random, or the first of each class in
    the order of the data (as SelectNet's public code has it)."""

    remedy: ClassVar[str] = "choose a higher ratio.minor or ratio.major"

    classes: list[Whole]
    minor: Annotated[float, Interval(gt=0, le=1), "a share of rows to keep"]
    major: Annotated[float, Interval(gt=0, le=1), "a share of rows to keep"]
    draw: Literal["random", "first"]

    def keep_counts(self, counts: np.ndarray, seed: int) -> np.ndarray:
        _known(self.classes, counts, "ratio.classes")
        listed = sorted(set(self.classes))
        if len(listed) in (0, len(counts)):
            raise BenchError(
                f"ratio.classes lists {len(listed)} of {len(counts)} classes: at least one must be a minor class and "
                "one a major class"
            )
        shares = np.full(len(counts), self.major)
        shares[listed] = self.minor
        return np.round(snapped(counts * shares)).astype(np.int64)

    def rare_classes(self, counts: np.ndarray, seed: int) -> tuple[int, ...]:
        """The classes listed."""
        return tuple(sorted(set(self.classes)))

    def order(self, rows: np.ndarray, label: int, seed: int) -> np.ndarray:
        return rows if self.draw == "first" else super().order(rows, label, seed)


def _drawn(classes: int, seed: int) -> list[int]:
    """Classes 0..C-1 in an order that the seed alone decides, apart from the order of any class's rows."""
    return np.random.default_rng([seed, classes, 1]).permutation(classes).tolist()


def _known(classes: object, counts: np.ndarray, where: str) -> None:
    for c in classes:  # type: ignore[attr-defined]
        if not str(c).isdecimal() or int(c) >= len(counts):
            raise BenchError(f"{where}: class {c!r} does not exist: classes are 0 to {len(counts) - 1}")


def _thinned(counts: np.ndarray, classes: Iterable[int], wanted: int, r: float) -> np.ndarray:
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
