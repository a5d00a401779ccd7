"""Which methods differ, by how much and how surely: pairs of them over data sets, or over the runs on one.

Scores are a table of data sets (rows) × methods (columns), as of ``statistics``; differences are of shape (n,), a pair
each, without nan. Differences below 1e-9 are ties.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from imbalance_bench.report.records.records import Run
from imbalance_bench.report.records.statistics import ALPHA, DECIMALS, holm, nemenyi, signed_rank

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.store import Record

Test = Literal["nemenyi", "wilcoxon"]
SAMPLES = 10_000  # of a bootstrap, of a posterior, and of signs that are drawn
BATCH, ROWS = 100, 1000  # of a bootstrap: resamples and rows of differences at a time, for memory
COUNTED = 14  # differences up to which every pattern of signs is counted
Interval = tuple[float, float]


def pairwise(scores: pd.DataFrame, test: Test = "nemenyi") -> pd.DataFrame:
    """p-values of all pairs of methods over the complete rows, methods × methods, diagonal 1, adjusted for the number
    of pairs: by Nemenyi's test itself; of Wilcoxon's signed-rank tests by Holm."""
    import pandas as pd

    if test == "nemenyi":
        return nemenyi(scores)
    complete = scores.dropna()
    pairs = list(itertools.combinations(range(complete.shape[1]), 2))
    values = complete.to_numpy(dtype=float)
    adjusted = holm([signed_rank(values[:, a] - values[:, b]) for a, b in pairs])
    p = np.eye(complete.shape[1])
    for (a, b), value in zip(pairs, adjusted):
        p[a, b] = p[b, a] = value
    return pd.DataFrame(p, index=complete.columns, columns=complete.columns)


def cliques(p: pd.DataFrame, ranks: pd.Series, alpha: float = ALPHA) -> list[list[str]]:
    """The largest groups of two methods or more of which the test tells no two apart: p ≥ ``alpha`` for every pair.

    Args:
        p: as of ``pairwise``.
        ranks: method → mean rank; a group's methods are in its order, and so are the groups, by their first methods.

    By Nemenyi's test a group is a stretch of neighbours in rank. By Wilcoxon's it need not be: where one whose rank
    lies between does differ, it is not in the group, which a picture must show.
    """
    order = [str(method) for method in ranks.sort_values(kind="stable").index]
    apart = (p.loc[order, order] < alpha).to_numpy()
    alike = [{j for j in range(len(order)) if j != i and not apart[i, j]} for i in range(len(order))]
    found: list[list[int]] = []

    def grow(group: list[int], candidates: set[int], seen: set[int]) -> None:  # Bron and Kerbosch's algorithm
        if not candidates and not seen and len(group) > 1:
            found.append(sorted(group))
        pivot = max(candidates | seen, key=lambda i: len(candidates & alike[i]), default=None)
        for i in sorted(candidates - alike[pivot] if pivot is not None else ()):
            grow([*group, i], candidates & alike[i], seen & alike[i])
            candidates, seen = candidates - {i}, seen | {i}

    grow([], set(range(len(order))), set())
    return [[order[i] for i in group] for group in sorted(found)]


def rank_biserial(difference: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation (Kerby 2014): of the ranks of |differences| the share of positive ones
    minus that of negative ones, -1 to 1; ties take their ranks and count for neither. nan without a difference."""
    from scipy import stats

    difference = np.round(difference, DECIMALS)
    ranks = stats.rankdata(np.abs(difference))
    return float((np.sign(difference) * ranks).sum() / ranks.sum()) if len(difference) else math.nan


def standardised(difference: np.ndarray) -> float:
    """The mean difference in standard deviations (n - 1) of the differences, Cohen's d of pairs; nan where they do not
    vary or there is one."""
    difference = np.round(difference, DECIMALS)
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    return float(difference.mean() / spread) if spread > 10.0**-DECIMALS else math.nan


def bootstrap(difference: np.ndarray, confidence: float = 0.95) -> Interval:
    """Interval of the mean by resampling pairs, as ``bootstraps`` has it."""
    ((low, high),) = bootstraps(difference[None], confidence)
    return float(low), float(high)


def bootstraps(differences: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """Intervals (k, 2) of the means of k rows of differences (k, n), by resampling the n (scipy's; bias-corrected and
    accelerated, Efron 1987; seed 0): of differences that are one constant that, nan where n is below two or a
    difference is not finite."""
    from scipy import stats

    differences = np.round(differences, DECIMALS)
    k, n = differences.shape
    found = np.full((k, 2), math.nan)
    if n < 2:
        return found
    constant = (differences == differences[:, :1]).all(axis=1)
    finite = np.isfinite(differences).all(axis=1)
    found[constant & finite] = differences[constant & finite, :1]
    vary = np.flatnonzero(~constant & finite)
    for rows in np.array_split(vary, -(-len(vary) // ROWS)) if len(vary) else ():
        interval = stats.bootstrap(
            (differences[rows],), _mean, axis=-1, n_resamples=SAMPLES, batch=BATCH, confidence_level=confidence,
            method="BCa", random_state=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        found[rows] = np.stack([interval.low, interval.high], axis=-1)
    return found


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Means in which resamples of equal values tie, whatever their order: of few pairs many are, and which share lies
    below the mean moves the interval."""
    return np.round(values.mean(axis=axis), DECIMALS + 3)


@dataclass(frozen=True)
class Splits:
    """Scores of two methods on the same splits of the data, (n,) each; ``share``: n_test / n_train, by which these are
    dependent, 0 where all runs have the same rows; ``runs``: how many they are the means of."""

    one: np.ndarray
    other: np.ndarray
    share: float
    runs: int

    @property
    def averaged(self) -> bool:
        return self.runs > len(self.one)


def splits_of(record: Record) -> dict[Run, tuple[str, str]]:
    """Run → its training and test rows, by their hashes."""
    return {(run["fold"], run["repeat"]): (run["subset_hash"], run["test_hash"]) for run in record["runs"]}


def by_split(scores: Sequence[Mapping[Run, float]], records: Sequence[Record]) -> Splits:
    """The runs of two methods (their scores by run, and their records) that both have a score of, on the same test
    rows. Runs with the same training and test rows differ in seeds: they are one split, which counts by its mean; where
    a record has one split only, each run counts, unless the seed changes no score of either method."""
    (a, b), (ours, theirs) = scores, map(splits_of, records)
    shared = [run for run in a if run in b and math.isfinite(a[run] - b[run]) and ours[run][1] == theirs[run][1]]
    alone = len(set(ours.values())) == 1
    each = alone and any(len({round(of[run], DECIMALS) for run in shared}) > 1 for of in (a, b))
    groups: dict[object, list[Run]] = {}
    for run in shared:
        groups.setdefault(run if each else ours[run], []).append(run)
    one, other = (np.array([np.mean([of[run] for run in runs]) for runs in groups.values()]) for of in (a, b))
    n_test, n_train = (sum(run[size] for run in records[0]["runs"]) for size in ("n_test", "n_train"))
    return Splits(one, other, 0.0 if alone else n_test / n_train, len(shared))


def corrected_t(difference: np.ndarray, share: float, confidence: float = 0.95) -> tuple[float, Interval]:
    """The corrected resampled t-test of Nadeau & Bengio (2003): p, and the interval of the mean difference.

        t = d̄ / √((1/n + n_test / n_train) s²),  n - 1 degrees of freedom,

    where d̄ and s² are the mean and the variance (n - 1) of the n differences, one a split. Splits share training rows,
    so that their differences are not independent and s²/n is too small; n_test / n_train stands for the correlation.

    Args:
        share: n_test / n_train; 0 for independent pairs, which gives Student's paired t-test.

    nan of fewer than two splits. Where the differences are one constant there is no test: p is nan, or 1 of nought.
    """
    from scipy import stats

    difference = np.round(difference, DECIMALS)
    n = len(difference)
    if n < 2:
        return math.nan, (math.nan, math.nan)
    mean = float(difference.mean())
    error = math.sqrt((1 / n + share) * float(difference.var(ddof=1)))
    if error <= 10.0**-DECIMALS:
        return (math.nan if mean else 1.0), (mean, mean)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * error
    return float(2 * stats.t.sf(abs(mean) / error, n - 1)), (mean - half, mean + half)


def sign_flips(difference: np.ndarray) -> float:
    """Two-sided p of the mean difference by flipping the signs of the pairs: each pattern of signs counted up to
    ``COUNTED`` pairs, else ``SAMPLES`` drawn (seed 0). nan without a pair."""
    difference = np.round(difference, DECIMALS)
    n = len(difference)
    if not n:
        return math.nan
    if n <= COUNTED:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), size=(SAMPLES, n))
    extreme = int((np.abs(signs @ difference) >= abs(difference.sum()) - 1e-9).sum())
    return extreme / len(signs) if n <= COUNTED else (extreme + 1) / (len(signs) + 1)


def signed_rank_posterior(difference: np.ndarray, rope: float) -> tuple[float, float, float]:
    """Bayesian signed-rank test (Benavoli et al. 2014, 2017): how likely it is that the mean of two differences is
    below -``rope``, within ±``rope``, and above it.

    The weights of the n differences, and of a prior one of weight 1/2 at nought, are Dirichlet distributed; a draw of
    them says which of the three is the most likely (those that tie share it), and the answer is the share of
    ``SAMPLES`` draws (seed 0).
    """
    values = np.concatenate([[0.0], np.round(difference, DECIMALS)])
    sums = values[:, None] + values
    above, below = (0.5 + 0.5 * np.sign(np.round(s - 2 * rope, DECIMALS)) for s in (sums, -sums))  # half of a tie
    weights = np.random.default_rng(0).dirichlet([0.5, *np.ones(len(difference))], SAMPLES)
    worse, better = (((weights @ side) * weights).sum(axis=1) for side in (below, above))
    shares = np.round([worse, 1 - worse - better, better], DECIMALS)
    likely = shares == shares.max(axis=0)
    low, same, high = (likely / likely.sum(axis=0)).mean(axis=1)
    return float(low), float(same), float(high)
