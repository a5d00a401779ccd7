"""Preprocessing. Whatever is estimated (ranges, means, medians, components) comes from training rows only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from imbalance_bench.data.overrides import override
from imbalance_bench.errors import BenchError

if TYPE_CHECKING:
    import pandas as pd

Scale = Literal["minmax", "zscore", "none"]

MAX_CATEGORIES = 500  # a column with more is an identifier or free text, not a category
MISSING = "(missing)"


@dataclass(frozen=True)
class ArrayEncoder:
    """For numeric arrays (n, d) without missing values. ``minmax``: training rows to [0, 1]; ``zscore``: training rows
    to mean 0 and standard deviation 1. Other rows may lie outside; a column that is constant in training becomes 0
    there."""

    scale: Scale

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is found, and named, by make_runs
            if self.scale != "none":
                x = self._scaled(x, x[fit_rows])
            return x.astype(np.float32)

    def _scaled(self, x: np.ndarray, known: np.ndarray) -> np.ndarray:
        span = np.ptp(known, axis=0)
        constant = span == 0
        if self.scale == "minmax":
            low = known.min(axis=0)
        else:  # the mean of equal numbers is not always that number
            low, span = np.where(constant, known[0], known.mean(axis=0)), known.std(axis=0)
        return (x - low) / np.where(constant, 1.0, span)


@dataclass(frozen=True)
class RawPixels:
    """For images: uint8 (n, channels, H, W) stay as they are; the engine makes floats in [0, 1] of each batch."""

    def __call__(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        return x


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
    def width(self) -> int:
        """Columns after one-hot coding, before PCA."""
        return len(self.numeric) + sum(map(len, self.categories.values()))

    def __call__(self, x: pd.DataFrame, fit_rows: np.ndarray) -> np.ndarray:
        out = np.hstack([self._numbers(x, fit_rows), self._one_hot(x, fit_rows)])
        return self._components(out, fit_rows) if self.pca is not None else out.astype(np.float32)

    def _numbers(self, x: pd.DataFrame, fit_rows: np.ndarray) -> np.ndarray:
        from sklearn.impute import SimpleImputer

        values = x[list(self.numeric)].to_numpy(np.float64, na_value=np.nan)
        if not values.size:
            return np.zeros((len(x), 0))
        # A column without a single training value becomes 0 instead of vanishing.
        imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(values[fit_rows])
        return ArrayEncoder(self.scale)(imputer.transform(values), fit_rows)

    def _one_hot(self, x: pd.DataFrame, fit_rows: np.ndarray) -> np.ndarray:
        from sklearn.preprocessing import OneHotEncoder

        if not self.categories:
            return np.zeros((len(x), 0))
        names = np.column_stack([_names(x[c]) for c in self.categories])
        encoder = OneHotEncoder(
            categories=[np.array(c, object) for c in self.categories.values()],
            handle_unknown="ignore",
            sparse_output=False,
        )
        out = encoder.fit(names[fit_rows]).transform(names)
        return out * out[fit_rows].any(axis=0)

    def _components(self, x: np.ndarray, fit_rows: np.ndarray) -> np.ndarray:
        from sklearn.decomposition import PCA

        most = min(len(fit_rows), x.shape[1])
        if not 1 <= self.pca <= most:  # type: ignore[operator]
            raise BenchError(f"dataset.pca={self.pca} must lie between 1 and {most} (columns, training rows)")
        return PCA(self.pca, svd_solver="covariance_eigh").fit(x[fit_rows]).transform(x).astype(np.float32)


def _names(column: pd.Series) -> np.ndarray:
    """Categories as strings, a missing value under a name of its own."""
    missing = column.isna().to_numpy()
    names = column.astype(str).to_numpy(dtype=object)
    names[missing] = MISSING
    return names
