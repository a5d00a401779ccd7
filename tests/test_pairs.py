"""Pairs of methods, against scipy, scikit-posthocs, baycomp, and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from imbalance_bench.report.records import pairs, statistics
from tests.test_statistics import DEMSAR

UNTIED = np.array([0.03, -0.01, 0.05, 0.02, 0.04, -0.015, 0.07, 0.06])


def test_wilcoxon_of_all_pairs_is_that_of_scikit_posthocs():
    from scikit_posthocs import posthoc_wilcoxon

    ours = pairs.pairwise(DEMSAR, "wilcoxon")
    columns = [column.round(9) for _, column in DEMSAR.items()]
    theirs = posthoc_wilcoxon([c.to_numpy() for c in columns], zero_method="zsplit", p_adjust="holm")
    off = ~np.eye(4, dtype=bool)
    # theirs takes differences as they come off floats, in which ties of the printed decimals are none
    np.testing.assert_allclose(ours.to_numpy()[off], theirs.to_numpy()[off], atol=0.03)
    scores = pd.DataFrame({"a": UNTIED, "b": UNTIED * 0, "c": -0.3 * UNTIED})
    by_scipy = [stats.wilcoxon(scores[a] - scores[b]).pvalue for a, b in itertools.combinations("abc", 2)]
    expected = statistics.holm(by_scipy)
    assert pairs.pairwise(scores, "wilcoxon").to_numpy()[[0, 0, 1], [1, 2, 2]] == pytest.approx(expected)


def test_nemenyi_has_the_cliques_of_demsars_figure():
    """C4.5+m and C4.5+m+cf are not told apart from C4.5+cf at 0.05, nor is any from C4.5 (CD 1.25): one group."""
    p, ranks = pairs.pairwise(DEMSAR, "nemenyi"), statistics.mean_ranks(DEMSAR)
    assert pairs.cliques(p, ranks) == [["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]]
    # at 0.10 (CD 1.12) the ends differ: 3.143 - 1.964 = 1.18, and 3.143 - 2.0 = 1.14
    assert pairs.cliques(p, ranks, 0.10) == [["C4.5+m+cf", "C4.5+m", "C4.5+cf"], ["C4.5+cf", "C4.5"]]


def test_cliques_are_the_largest_groups_without_a_difference():
    """By trying every subset, of random answers, also where a group is no stretch of the ranks."""
    rng = np.random.default_rng(0)
    names = list("abcdef")
    for _ in range(8):
        p = pd.DataFrame(np.tril(rng.random((6, 6)), -1), names, names)
        p = p + p.T + np.eye(6)
        ranks = pd.Series(rng.permutation(6), names)
        order = list(ranks.sort_values().index)
        alike = [
            set(some)
            for size in range(2, 7)
            for some in itertools.combinations(order, size)
            if all(p.loc[a, b] >= 0.4 for a, b in itertools.combinations(some, 2))
        ]
        largest = [group for group in alike if not any(group < other for other in alike)]
        found = pairs.cliques(p, ranks, 0.4)
        assert sorted(map(sorted, found)) == sorted(map(sorted, largest))
        assert all(group == sorted(group, key=order.index) for group in found)
    assert pairs.cliques(pd.DataFrame(np.eye(2), ["a", "b"], ["a", "b"]), pd.Series([1, 2], ["a", "b"])) == []


def test_effects_by_hand():
    assert pairs.rank_biserial(np.array([0.1, 0.2, -0.3, 0.4])) == pytest.approx((1 + 2 - 3 + 4) / 10)
    assert pairs.rank_biserial(np.array([0.0, 0.2, -0.3])) == pytest.approx((2 - 3) / 6)
    assert pairs.rank_biserial(np.array([0.1, 0.1])) == 1
    assert pairs.standardised(np.array([0.1, 0.3])) == pytest.approx(0.2 / np.sqrt(0.02))
    assert np.isnan(pairs.standardised(np.array([0.1, 0.1]))) and np.isnan(pairs.rank_biserial(np.array([])))


def efron(difference: np.ndarray, samples: int = 100_000) -> tuple[float, float]:
    """The interval of the mean by Efron's formulas (1987): levels Φ(z₀ + (z₀ ± z) / (1 - a (z₀ ± z)))."""
    n, mean = len(difference), difference.mean()
    means = difference[np.random.default_rng(1).integers(0, n, (samples, n))].mean(axis=1)
    z0 = stats.norm.ppf(((means < mean - 1e-12).mean() + (means <= mean + 1e-12).mean()) / 2)
    deviations = difference - mean
    a = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    shifted = z0 + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(means, stats.norm.cdf(z0 + shifted / (1 - a * shifted)))
    return float(low), float(high)


def test_the_bootstrap_is_efrons():
    skewed = np.exp(3 * UNTIED / 0.07)
    for difference in (UNTIED, skewed, -skewed, np.array([0.1, 0.2, 0.7]), np.array([0.3, -0.1, 0.15, 0.7])):
        np.testing.assert_allclose(pairs.bootstrap(difference), efron(difference), atol=0.06 * np.ptp(difference))


@pytest.mark.filterwarnings("error")
def test_intervals_of_few_and_of_equal_differences():
    constant, two = np.array([0.1, 0.1, 0.1]), np.array([0.1, 0.3])
    assert pairs.bootstrap(constant) == (0.1, 0.1) and pairs.bootstrap(np.zeros(3)) == (0, 0)
    assert pairs.bootstrap(two) == pytest.approx((0.1, 0.3))
    assert pairs.bootstrap(np.array([0.1, 0.1 + 1e-12])) == pytest.approx((0.1, 0.1))
    ties = np.array([0, 0, 0, 0, 0.5])
    low, high = pairs.bootstrap(ties)
    assert low == 0 and 0.2 < high <= 0.5
    assert np.isnan(pairs.bootstraps(np.zeros((2, 1)))).all() and pairs.bootstraps(np.zeros((0, 3))).shape == (0, 2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_differences_that_are_not_finite_have_no_interval_and_cost_no_other_theirs(odd):
    rows = np.array([[0.1, 0.2, 0.4, 0.1], [0.1, odd, 0.4, 0.1], [odd] * 4, [0.3] * 4])
    found = pairs.bootstraps(rows)
    assert np.isnan(found[1:3]).all() and found[3].tolist() == [0.3, 0.3]
    np.testing.assert_array_equal(found[0], pairs.bootstrap(rows[0]))


def test_many_intervals_at_once_are_those_of_each(monkeypatch):
    rows = np.random.default_rng(3).normal(size=(5, 9))
    rows[1] = 0.2
    each = [pairs.bootstrap(row) for row in rows]
    monkeypatch.setattr(pairs, "ROWS", 2)
    np.testing.assert_allclose(pairs.bootstraps(rows), each)


def test_the_bootstrap_is_an_interval_of_the_mean():
    low, high = pairs.bootstrap(UNTIED)
    assert low < UNTIED.mean() < high and UNTIED.min() < low and high < UNTIED.max()
    assert pairs.bootstrap(UNTIED) == (low, high)  # the same each time
    many = np.random.default_rng(1).normal(0.5, 1, 400)
    student = statistics.paired_difference(many, np.zeros(400))
    np.testing.assert_allclose(pairs.bootstrap(many), (student.low, student.high), atol=0.01)
    assert np.isnan(pairs.bootstrap(np.array([0.1]))[0])


def test_nadeau_and_bengio_by_hand():
    """Five runs of 90 training and 10 test rows: t = 0.02 / √((1/5 + 1/9) 0.00025) = 2.268 with 4 degrees."""
    p, (low, high) = pairs.corrected_t(np.array([0.0, 0.02, 0.04, 0.01, 0.03]), 10 / 90)
    t = 0.02 / np.sqrt((1 / 5 + 1 / 9) * 0.00025)
    assert t == pytest.approx(2.2678, abs=1e-4)
    assert p == pytest.approx(2 * stats.t.sf(t, 4)) == pytest.approx(0.0859, abs=1e-4)
    assert (low + high) / 2 == pytest.approx(0.02) and high - 0.02 == pytest.approx(2.776445 * 0.02 / t, rel=1e-5)


def test_without_overlap_it_is_students_paired_test():
    p, (low, high) = pairs.corrected_t(UNTIED, 0)
    theirs = stats.ttest_1samp(UNTIED, 0)
    interval = theirs.confidence_interval()
    assert p == pytest.approx(theirs.pvalue) and (low, high) == pytest.approx((interval.low, interval.high))
    assert pairs.corrected_t(UNTIED * 0, 0.1)[0] == 1
    assert np.isnan(pairs.corrected_t(UNTIED * 0 + 0.1, 0.1)[0]) and np.isnan(pairs.corrected_t(UNTIED[:1], 0.1)[0])


@pytest.mark.parametrize("runs", [3, 8, 14, 20])
def test_flipped_signs_are_scipys_permutations(runs):
    difference = np.random.default_rng(runs).normal(0.3, 1, runs).round(3)
    p = pairs.sign_flips(difference)
    theirs = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(3)
    ).pvalue
    assert p == pytest.approx(theirs, abs=1e-9 if runs < 14 else 0.015)
    assert pairs.sign_flips(-difference) == pytest.approx(p)


def test_the_posterior_is_baycomps():
    baycomp = pytest.importorskip("baycomp")
    for shift, rope in ((0.0, 0.0201), (0.02, 0.0101), (0.0, 0.0)):  # no sum is at a bound
        difference = UNTIED - 0.0307 + shift
        theirs = baycomp.SignedRankTest.probs(np.zeros(len(UNTIED)), difference, rope, nsamples=20000, random_state=0)
        below, same, above = pairs.signed_rank_posterior(difference, rope)
        ours = (below, same, above) if rope else (below, above)
        np.testing.assert_allclose(ours, theirs, atol=0.015)


def test_the_posterior_of_clear_cases():
    assert pairs.signed_rank_posterior(np.full(20, 0.5), 0.01)[2] > 0.99
    assert pairs.signed_rank_posterior(np.full(20, -0.5), 0.01)[0] > 0.99
    assert pairs.signed_rank_posterior(np.linspace(-0.002, 0.002, 20), 0.01)[1] > 0.99
    assert sum(pairs.signed_rank_posterior(UNTIED, 0.01)) == pytest.approx(1)
    assert pairs.signed_rank_posterior(np.zeros(5), 0.0) == pytest.approx((0.5, 0, 0.5))  # the two sides of nought


def of_seeds(splits, seeds):
    """A record of ``seeds`` runs on each of ``splits`` splits."""
    return {
        "runs": [
            {"fold": f, "repeat": r, "subset_hash": f"s{f}", "test_hash": f"t{f}", "n_test": 10, "n_train": 90}
            for f in range(splits)
            for r in range(seeds)
        ]
    }


def test_seeds_of_one_split_count_where_they_change_a_score():
    a, b = ({(0, r): 0.5 + step * r for r in range(6)} for step in (0.01, 0.0))
    one = pairs.by_split((a, b), [of_seeds(1, 6)] * 2)
    assert (len(one.one), one.share, one.averaged) == (6, 0.0, False)
    same = pairs.by_split((b, dict.fromkeys(b, 0.4)), [of_seeds(1, 6)] * 2)
    assert (len(same.one), same.averaged) == (1, True)
