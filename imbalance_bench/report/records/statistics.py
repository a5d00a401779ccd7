"""Comparing methods over many data sets (Demšar 2006), from a table of cells (rows) × methods (columns).

Every function drops rows in which a method is missing: ranks and pairs exist only where all methods were run.
Values closer than 1e-9 are ties, since means over folds differ by rounding where their folds are equal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05  # level of the tests: p below it counts
DECIMALS = 9  # scores that agree so far are ties
FEW = 10  # data sets below which the F distribution is too far from the permutations' own
ORDERS = 100_000  # orders of the ranks that are counted one by one; of more, so many are drawn


@dataclass(frozen=True)
class Friedman:
    """Friedman's test and Iman and Davenport's correction.

    ``chi2``: corrected for ties, k - 1 degrees of freedom (k = ``methods``, n = ``cells``); ``f``:
    F-distributed with ``dof`` = (k - 1, (k - 1)(n - 1)) degrees of freedom, infinite where all cells agree; ``p``, by
    ``method``: of ``f``, or where cells are few or agree the share of the ranks' orders within each cell whose χ² is as
    large, counted ("exact") or drawn ("permutation"). nan when there is nothing to test (fewer than two methods or
    cells, or all methods equal in every cell).
    """

    chi2: float
    f: float
    dof: tuple[int, int]
    p: float
    cells: int
    methods: int
    method: Literal["F", "exact", "permutation"] = "F"

    @property
    def smallest(self) -> float:
        """The p of full agreement without ties, below which as many cells cannot come."""
        return float(math.factorial(self.methods)) ** (1 - self.cells)


@dataclass(frozen=True)
class PairedDifference:
    """Differences a - b over pairs: their mean, its two-sided t interval [low, high] at ``confidence`` (nan
    for a single pair), and the pairs that a wins, ties and loses."""

    mean: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int

    @property
    def pairs(self) -> int:
        return self.wins + self.ties + self.losses


def ranks(scores: pd.DataFrame, higher_is_better: bool = True) -> pd.DataFrame:
    """Ranks within each complete row, 1 = best, ties share the average of their ranks."""
    return scores.dropna().round(DECIMALS).rank(axis=1, ascending=not higher_is_better)


def mean_ranks(scores: pd.DataFrame, higher_is_better: bool = True) -> pd.Series:
    """Mean rank of each method over the complete rows; nan when there is none."""
    return ranks(scores, higher_is_better).mean()


def friedman(scores: pd.DataFrame) -> Friedman:
    """Do the methods' ranks differ? Demšar 2006, section 3.2.2, with the usual correction of χ² for ties.

    Demšar's worked example leaves that correction out; where there are ties, ours is the larger.
    """
    from scipy import stats

    table = ranks(scores).to_numpy(dtype=float)
    n, k = table.shape
    dof = (k - 1, (k - 1) * (n - 1))
    nan = float("nan")
    # Σ over cells of the squared deviations of the ranks: n k (k² - 1) / 12 without ties, less with them
    spread = float(((table - (k + 1) / 2) ** 2).sum())
    if n < 2 or k < 2 or spread == 0:
        return Friedman(nan, nan, dof, nan, n, k)
    chi2 = float(n * (k - 1) * (n * (table.mean(axis=0) - (k + 1) / 2) ** 2).sum() / spread)
    rest = n * (k - 1) - chi2
    if rest <= 1e-9 * chi2:  # every cell has the ranks of the first: one of its orders, n - 1 times
        repeats = np.unique(table[0], return_counts=True)[1]
        orders = math.factorial(k) / math.prod(math.factorial(r) for r in repeats)
        return Friedman(chi2, float("inf"), dof, float(orders) ** (1 - n), n, k, "exact")
    f = (n - 1) * chi2 / rest
    counted = math.factorial(k) ** (n - 1) <= ORDERS
    if counted or n < FEW:
        return Friedman(chi2, f, dof, _permuted(table, counted), n, k, "exact" if counted else "permutation")
    return Friedman(chi2, f, dof, float(stats.f.sf(f, *dof)), n, k)


def _permuted(table: np.ndarray, counted: bool) -> float:
    """The share of orders of the ranks within each cell (n, k) whose rank sums spread as widely as those observed."""
    n, k = table.shape
    ranks = table - (k + 1) / 2
    if counted:
        orders = np.array(list(itertools.permutations(range(k))))
        sums = ranks[:1]  # the first cell stands still: only orders relative to each other matter
        for row in ranks[1:]:
            sums = (sums[:, None] + row[orders]).reshape(-1, k)
    else:
        generator = np.random.default_rng(0)
        sums = sum(generator.permuted(np.tile(row, (ORDERS, 1)), axis=1) for row in ranks)
    as_wide = int(((sums**2).sum(axis=1) >= (ranks.sum(axis=0) ** 2).sum() - 1e-9).sum())
    return as_wide / len(sums) if counted else (as_wide + 1) / (ORDERS + 1)


def critical_difference(methods: int, cells: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of mean ranks, q_α √(k (k + 1) / 6n); q_α is the studentized range /
    √2."""
    from scipy import stats

    q = stats.studentized_range.isf(alpha, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * cells)))


def nemenyi(scores: pd.DataFrame) -> pd.DataFrame:
    """Nemenyi's p-values of all pairs of methods after Friedman's test, methods × methods: of the difference of two
    mean ranks in units of √(k (k + 1) / 12n), by the studentized range of k methods."""
    import pandas as pd
    from scipy import stats

    table = ranks(scores)
    n, k = table.shape
    mean = table.mean().to_numpy()
    gaps = np.abs(mean[:, None] - mean) / np.sqrt(k * (k + 1) / (12 * n)) if n else np.full((k, k), np.nan)
    rows, columns = np.triu_indices(k, 1)
    p = np.eye(k)
    p[rows, columns] = p[columns, rows] = stats.studentized_range.sf(gaps[rows, columns], k, np.inf)
    return pd.DataFrame(p, index=table.columns, columns=table.columns)


def signed_rank(difference: np.ndarray) -> float:
    """Wilcoxon's two-sided p of differences (n,); nan of none. Zeros are split between both signs (Demšar 2006, section
    3.1.3); up to 13 differences every pattern of signs is counted, also with ties."""
    from scipy import stats

    difference = np.round(difference, DECIMALS)
    if not len(difference):
        return float("nan")
    if not difference.any():
        return 1.0
    if len(difference) > 13:
        return float(stats.wilcoxon(difference, zero_method="zsplit").pvalue)
    ranks = stats.rankdata(np.abs(difference))[difference != 0]
    sums = _signs(len(ranks)) @ ranks
    positive = ranks[difference[difference != 0] > 0].sum()
    tails = [float((side >= -1e-9).mean()) for side in (sums - positive, positive - sums)]
    return min(2 * min(tails), 1.0)


@cache
def _signs(n: int) -> np.ndarray:
    """Every pattern (2ⁿ, n) of 0 and 1."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p-values, in the order given; nan stays nan and is not counted."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def paired_difference(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> PairedDifference:
    """How much ``a`` exceeds ``b`` over pairs (n,), pairs with a nan left out.

    The interval is Student's, of the mean of the differences. It treats the pairs as independent, which data
    sets are, and which folds of one data set, sharing training rows, are only roughly: there it is too
    narrow.
    """
    from scipy import stats

    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    difference = difference[~np.isnan(difference)].round(DECIMALS)
    n = len(difference)
    nan = float("nan")
    mean = float(difference.mean()) if n else nan
    half = nan
    if n > 1:
        half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * difference.std(ddof=1) / np.sqrt(n))
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return PairedDifference(mean, mean - half, mean + half, wins, n - wins - losses, losses)


def varies_less(a: np.ndarray, b: np.ndarray, alpha: float = ALPHA) -> bool | None:
    """Whether ``a`` varies less than ``b`` over pairs (n,): Pitman and Morgan's test of equal variances of pairs, whose
    sums and differences are uncorrelated then; None where it does not reject."""
    from scipy import stats

    plus, minus = np.round(a + b, DECIMALS), np.round(a - b, DECIMALS)
    if not np.ptp(plus) or not np.ptp(minus):  # the one is the other, shifted or mirrored
        return False
    if len(a) < 3:
        return None
    test = stats.pearsonr(plus, minus)
    return bool(test.statistic < 0) if test.pvalue < alpha else None


def dolan_more(scores: pd.DataFrame, thetas: np.ndarray | None = None) -> pd.DataFrame:
    """Dolan-Moré profile: the share of cells on which a method reaches θ times the best score of that cell.

    Index θ (by default 0 to 1 in steps of 0.01), one column a method; scores must be ≥ 0 and better when
    higher. At θ = 1 it is the share of cells on which a method is best (ties count for each); nan without a
    complete row.
    """
    import pandas as pd

    thetas = np.linspace(0, 1, 101) if thetas is None else np.asarray(thetas)
    complete = scores.dropna()
    values = complete.to_numpy(dtype=float)
    share = np.full((len(thetas), values.shape[1]), np.nan)
    if len(values):
        bar = thetas[:, None, None] * values.max(axis=1, keepdims=True)
        share = (values + 10.0**-DECIMALS >= bar).mean(axis=1)
    return pd.DataFrame(share, index=pd.Index(thetas, name="theta"), columns=complete.columns)


def difference(gains: Sequence[float] | np.ndarray, exact: bool = False) -> PairedDifference:
    """Mean of gains and its interval; ``exact``: of numbers that stand for themselves, as printed ones do."""
    found = paired_difference(np.asarray(gains, dtype=float), np.zeros(len(gains)))
    return replace(found, low=found.mean, high=found.mean) if exact else found
