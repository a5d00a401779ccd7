"""Preprocessing. Whatever is estimated (ranges, means, medians, components) comes from training rows only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imbalance_bench.data.base import Unfitted
from imbalance_bench.data.overrides import override
from imbalance_bench.errors import BenchError
from imbalance_bench.running.models import State, Surroundings, kept, restored, state_of

if TYPE_CHECKING:
    import pandas as pd

Scale = Literal["minmax", "zscore", "none"]

MAX_CATEGORIES = 500  # a column with more is an identifier or free text, not a category
MISSING = "(missing)"


@dataclass(frozen=True)
class ArrayEncoder:
    """For numeric arrays (n, d) without missing values. ``minmax``: training rows to [0, 1]; ``zscore``: training rows
    to mean 0 and standard deviation 1. Other rows may lie outside; a column that is constant in training becomes 0
    there. ``blocks``: columns that stand for one category each, first and one past the last."""

    scale: Scale
    blocks: tuple[tuple[int, int], ...] = ()

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        return self.fitted(x, fit_rows)(x)

    def fitted(self, x: np.ndarray, fit_rows: np.ndarray) -> FittedArray:
        if self.scale == "none":
            return FittedArray()
        known = _floats(x[fit_rows])
        with np.errstate(over="ignore", invalid="ignore"):
            span = np.ptp(known, axis=0)
            constant = span == 0
            if self.scale == "minmax":
                low = known.min(axis=0)
            else:  # the mean of equal numbers is not always that number
                low, span = np.where(constant, known[0], known.mean(axis=0)), known.std(axis=0)
        return FittedArray(low, np.where(constant, 1.0, span))


@kept("array")
@dataclass(frozen=True)
class FittedArray:
    """Rows (n, d) less ``low`` (d,), over ``span`` (d,), as float32; None: as they are."""

    low: np.ndarray | None = None
    span: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is found, and named, by make_runs
            if self.low is not None:
                x = (_floats(x) - self.low) / self.span
            return x.astype(np.float32)

    def state(self) -> State:
        return State(arrays={} if self.low is None else {"low": self.low, "span": self.span})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> FittedArray:
        return cls(**state.arrays)


def _floats(x: np.ndarray) -> np.ndarray:
    """Numbers that differences can be taken of: those of bytes and other whole numbers wrap around."""
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)


def one_hot_blocks(x: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The runs of two or more neighbouring columns of 0 and 1, of which each row (n, d) has exactly one 1: categories
    that were coded before the data were published. First and one past the last column of each."""
    binary = ((x == 0) | (x == 1)).all(axis=0)
    found: list[tuple[int, int]] = []
    start = 0
    while start < x.shape[1]:
        ones, end = np.zeros(len(x)), start
        while end < x.shape[1] and binary[end] and not (ones == 1).all():
            ones += x[:, end]
            end += 1
            if ones.max() > 1:
                break
        if end - start > 1 and (ones == 1).all():
            found.append((start, end))
            start = end
        else:
            start += 1
    return tuple(found)


@dataclass(frozen=True)
class RawPixels:
    """For images: uint8 (n, channels, H, W) stay as they are; the engine makes floats in [0, 1] of each batch."""

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        return x

    def fitted(self, x: np.ndarray, fit_rows: np.ndarray) -> Unfitted:
        return Unfitted(self)


@dataclass(frozen=True)
class TableEncoder:
    """For DataFrames: numeric columns scaled, missing values first replaced by the median of the training rows;
    categorical ones one-hot, a missing value being a category of its own; then, with ``pca``, that many principal
    components.

    ``categories``: the names that each categorical column may have. They are part of the description of the data
    (columns must be the same in every fold), not an estimate: a category that no training row has is all zeros in
    every row.
    """

    scale: Scale
    numeric: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    pca: int | None = None

    @classmethod
    def of(cls, table: pd.DataFrame, scale: Scale, pca: int | None = None) -> TableEncoder:
        """For the columns of ``table``: numbers and booleans are numeric, the rest categorical."""
        from pandas.api.types import is_numeric_dtype

        numeric = tuple(c for c in table if is_numeric_dtype(table[c]))
        categories = {}
        for column in table:
            if column in numeric:
                continue
            categories[column] = tuple(sorted(set(_names(table[column]))))
            if len(categories[column]) > MAX_CATEGORIES:
                raise BenchError(
                    f"column {column!r} has {len(categories[column])} different values, too many for a category (at "
                    f"most {MAX_CATEGORIES}), and is not numeric: leave it out with {override('drop', str(column))}"
                )
        return cls(scale, numeric, categories, pca)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns after one-hot coding; none after PCA."""
        coded = (f"{column}={name}" for column, names in self.categories.items() for name in names)
        return () if self.pca is not None else (*self.numeric, *coded)

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """The columns of each category after one-hot coding, first and one past the last; none after PCA."""
        ends = np.cumsum([len(self.numeric), *map(len, self.categories.values())]).tolist()
        return () if self.pca is not None else tuple(zip(ends, ends[1:]))

    @property
    def width(self) -> int:
        """Columns after one-hot coding, before PCA."""
        return len(self.numeric) + sum(map(len, self.categories.values()))

    def __call__(self, x: pd.DataFrame, fit_rows: np.ndarray) -> np.ndarray:
        return self.fitted(x, fit_rows)(x)

    def fitted(self, x: pd.DataFrame, fit_rows: np.ndarray) -> FittedTable:
        from sklearn.impute import SimpleImputer

        known, width = x.iloc[fit_rows], sum(map(len, self.categories.values()))
        made = FittedTable(self.numeric, self.categories, np.zeros(0), FittedArray(), np.ones(width, bool))
        values = made.numbers(known)
        if values.size:
            # A column without a single training value becomes 0 instead of vanishing.
            imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(values)
            made = replace(made, medians=imputer.statistics_)
            values = made.filled(values)
            made = replace(made, scaled=ArrayEncoder(self.scale).fitted(values, np.arange(len(values))))
        made = replace(made, seen=np.asarray(made.one_hot(known).any(axis=0)))
        return made if self.pca is None else replace(made, pca=self._components(made.wide(x), fit_rows))

    def _components(self, x: np.ndarray, fit_rows: np.ndarray) -> Any:
        from sklearn.decomposition import PCA

        most = min(len(fit_rows), x.shape[1])
        if not 1 <= self.pca <= most:  # type: ignore[operator]
            raise BenchError(f"dataset.pca={self.pca} must lie between 1 and {most} (columns, training rows)")
        return PCA(self.pca, svd_solver="covariance_eigh").fit(x[fit_rows])


@kept("table")
@dataclass(frozen=True)
class FittedTable:
    """``medians`` (d,) that fill the gaps of the ``numeric`` columns, how these are ``scaled``; which of the one-hot
    columns of ``categories`` were ``seen`` in training; ``pca``: scikit-learn's, None: none."""

    numeric: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    medians: np.ndarray
    scaled: FittedArray
    seen: np.ndarray
    pca: Any = None

    def __call__(self, x: pd.DataFrame) -> np.ndarray:
        out = self.wide(x)
        return (out if self.pca is None else self.pca.transform(out)).astype(np.float32)

    def wide(self, x: pd.DataFrame) -> np.ndarray:
        """Rows (n, width) before PCA."""
        values = self.numbers(x)
        return np.hstack([self.scaled(self.filled(values)) if values.size else values, self.one_hot(x) * self.seen])

    def numbers(self, x: pd.DataFrame) -> np.ndarray:
        """The numeric columns (n, d), nan where a value is missing."""
        if not self.numeric:
            return np.zeros((len(x), 0))
        return x[list(self.numeric)].to_numpy(np.float64, na_value=np.nan)

    def filled(self, values: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(values), self.medians, values)

    def one_hot(self, x: pd.DataFrame) -> np.ndarray:
        """Ones (n, width) where a row has a category, zeros for one that there was not."""
        out, start = np.zeros((len(x), len(self.seen))), 0
        for column, names in self.categories.items():
            place = _places(x[column], names)
            rows = np.flatnonzero(place >= 0)
            out[rows, start + place[rows]] = 1
            start += len(names)
        return out

    def unseen(self, x: pd.DataFrame) -> dict[str, np.ndarray]:
        """Categorical column → whether each row (n,) has a category in it that no training row had."""
        found, start = {}, 0
        for column, names in self.categories.items():
            place = _places(x[column], names)
            known = self.seen[start : start + len(names)]
            found[column] = ~np.where(place >= 0, known[place], False)
            start += len(names)
        return found

    def state(self) -> State:
        facts = {"numeric": list(self.numeric), "categories": {c: list(n) for c, n in self.categories.items()}}
        return State(
            facts,
            {"medians": self.medians, "seen": self.seen},
            {} if self.pca is None else {"pca": self.pca},
            {"scaled": state_of(self.scaled)},
        )

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> FittedTable:
        return cls(
            tuple(state.facts["numeric"]),
            {column: tuple(names) for column, names in state.facts["categories"].items()},
            state.arrays["medians"],
            restored(state.parts["scaled"], around),
            state.arrays["seen"],
            state.estimators.get("pca"),
        )


def _places(column: pd.Series, names: tuple[str, ...]) -> np.ndarray:
    """Which of the categories ``names`` each row (n,) of a column has; -1: none of them."""
    import pandas as pd

    return pd.Index(names, dtype=object).get_indexer(pd.Index(_names(column), dtype=object))


def _names(column: pd.Series) -> np.ndarray:
    """Categories as strings, a missing value under a name of its own."""
    missing = column.isna().to_numpy()
    names = column.astype(str).to_numpy(dtype=object)
    names[missing] = MISSING
    return names
