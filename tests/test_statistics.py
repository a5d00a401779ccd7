"""Statistics against scipy, against Demšar's example (2006, table 6), and against the printed tables."""

import itertools
import warnings
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from imbalance_bench.report.records import statistics

# AUC of C4.5 with and without tuning of m and cf on 14 UCI sets: the example of Demšar's section 3.2.2. Its
# ranks separate the third and the fourth value of the set "voting" (the last row but one), equal in the
# printed decimals.
DEMSAR = pd.DataFrame(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ],
    columns=["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"],
)


def printed_auc_pr(*tables):
    """Data sets × methods as printed, MESA (5 data sets) left out."""
    folder = files("imbalance_bench") / "report/published/explicit_gradient"
    rows = pd.concat(pd.read_csv(folder.joinpath(f"table_{t}.csv").open()) for t in tables)
    rows = rows[(rows.metric == "auc_pr") & ~rows.dataset.str.startswith("mean_")]
    return rows[rows.row_method != "mesa"].pivot_table(index="dataset", columns="row_method", values="value")


def test_mean_ranks_of_demsars_example():
    ranks = statistics.mean_ranks(DEMSAR)
    assert ranks.round(3).to_dict() == {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}


def test_mean_ranks_of_the_printed_tables():
    expected = {
        "cross_entropy": 4.52,
        "random_oversampling": 5.00,
        "smote": 5.26,
        "adasyn": 6.00,
        "borderline_smote": 5.50,
        "explicit_gradient": 2.50,
        "cwgan": 5.17,
        "focal": 4.94,
        "ldam": 6.11,
    }
    scores = printed_auc_pr(2, 3)
    assert scores.shape == (27, 9)
    assert statistics.mean_ranks(scores).round(2).to_dict() == expected


def test_ranks_of_losses_and_of_rounding():
    losses = pd.DataFrame({"a": [0.1, 0.1 + 0.2], "b": [0.2, 0.3], "c": [0.3, np.nan]})
    assert statistics.mean_ranks(losses, higher_is_better=False).tolist() == [1, 2, 3]
    assert statistics.ranks(losses[["a", "b"]]).iloc[1].tolist() == [1.5, 1.5]


def test_friedman_without_ties_is_demsars_formula():
    untied = DEMSAR.drop(index=[5, 7, 9, 10])
    n, k = untied.shape
    mean = statistics.mean_ranks(untied).to_numpy()
    chi2 = 12 * n / (k * (k + 1)) * ((mean**2).sum() - k * (k + 1) ** 2 / 4)
    result = statistics.friedman(untied)
    assert result.chi2 == pytest.approx(chi2)
    assert result.f == pytest.approx((n - 1) * chi2 / (n * (k - 1) - chi2))
    assert result.dof == (3, 27) and result.p == pytest.approx(stats.f.sf(result.f, 3, 27))


def test_friedman_with_ties_is_scipys():
    result = statistics.friedman(DEMSAR)
    assert result.chi2 == pytest.approx(stats.friedmanchisquare(*DEMSAR.to_numpy().T).statistic)
    # Demšar prints 9.28 and 3.69 without the correction for ties, which divides by 1 - 78 / 840 here
    assert result.chi2 * (1 - 78 / 840) == pytest.approx(9.28, abs=0.01)
    assert result.dof == (3, 39) and result.p < 0.05


def test_friedman_on_the_printed_tables():
    """Section 6: p < 0.05, on table 2 alone and on all nine methods."""
    assert statistics.friedman(printed_auc_pr(2)).p < 0.05
    assert statistics.friedman(printed_auc_pr(2, 3)).p < 0.05


def enumerated(scores):
    """The share of all orders of each row's ranks whose chi-square reaches the observed: the definition, by scipy."""

    def chi2(rows):
        return np.square(np.sum(rows, axis=0) - len(rows) * (len(rows[0]) + 1) / 2).sum()

    rows = [tuple(stats.rankdata(row)) for row in scores.to_numpy()]
    every = list(itertools.product(*(itertools.permutations(row) for row in rows)))
    return np.mean([chi2(rows) <= chi2(one) + 1e-9 for one in every])


@pytest.mark.parametrize(("methods", "cells", "p"), [(2, 2, 1 / 2), (3, 2, 1 / 6), (3, 4, 1 / 216), (2, 12, 2**-11)])
def test_full_agreement_of_few_sets_has_its_exact_p(methods, cells, p):
    """By the F distribution it is infinite, with p = 0, from two sets on."""
    result = statistics.friedman(pd.DataFrame([np.arange(methods)] * cells, dtype=float))
    assert (result.f, result.method) == (np.inf, "exact")
    assert result.p == pytest.approx(p) and result.smallest == pytest.approx(p)


@pytest.mark.parametrize(("cells", "methods"), [(2, 3), (3, 3), (4, 3), (2, 4), (6, 2), (2, 5)])
def test_friedman_of_few_sets_is_the_share_of_all_orders(cells, methods):
    rng = np.random.default_rng(cells * methods)
    for scores in (rng.random((cells, methods)), rng.integers(0, 3, (cells, methods))):
        table = pd.DataFrame(scores, dtype=float)
        result = statistics.friedman(table)
        if np.isnan(result.p):
            continue
        assert result.method == "exact" and result.p == pytest.approx(enumerated(table))
        if methods > 2:  # which scipy asks for
            assert result.chi2 == pytest.approx(stats.friedmanchisquare(*table.to_numpy().T).statistic)


def test_ties_in_full_agreement_are_fewer_orders():
    tied = pd.DataFrame([[1.0, 1, 2]] * 3)
    assert statistics.friedman(tied).p == pytest.approx(1 / 9) == pytest.approx(enumerated(tied))


def test_friedman_of_a_few_sets_and_many_methods_is_drawn_and_of_many_sets_by_f():
    scores = DEMSAR.iloc[[0, 1, 2, 3, 4, 6, 8]]
    few = statistics.friedman(scores)
    by_f = stats.f.sf(few.f, *few.dof)
    assert few.method == "permutation" and few.p == statistics.friedman(scores).p == pytest.approx(by_f, abs=0.02)
    assert statistics.friedman(DEMSAR).method == "F"


def test_what_no_drawn_order_reaches_is_one_of_them_and_the_observed():
    scores = pd.DataFrame([np.arange(8.0)] * 5)
    scores.iloc[0, :2] = [1, 0]
    assert statistics.friedman(scores).p == 1 / (statistics.ORDERS + 1)


def test_friedman_at_its_limits():
    same_order = pd.DataFrame([[1, 2, 3]] * 4, dtype=float)
    for nothing in (same_order * 0, same_order[:1], same_order[:0], same_order[[0]]):
        assert np.isnan(statistics.friedman(nothing).p)


def test_critical_difference_of_demsars_example():
    assert statistics.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert statistics.critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=0.005)


def test_nemenyi_agrees_with_the_critical_difference():
    ranks, p = statistics.mean_ranks(DEMSAR), statistics.nemenyi(DEMSAR)
    assert list(p.columns) == list(DEMSAR.columns) == list(p.index)
    gap = ranks["C4.5"] - ranks["C4.5+m+cf"]
    alpha = float(p.loc["C4.5", "C4.5+m+cf"])
    assert statistics.critical_difference(4, 14, alpha) == pytest.approx(gap)


def test_nemenyi_is_that_of_scikit_posthocs():
    from scikit_posthocs import posthoc_nemenyi_friedman

    for scores in (DEMSAR, printed_auc_pr(2)):
        theirs = posthoc_nemenyi_friedman(scores.round(9).to_numpy()).to_numpy()
        np.testing.assert_allclose(statistics.nemenyi(scores).to_numpy(), theirs, atol=1e-6)


def test_wilcoxon_is_scipys():
    for method in DEMSAR.columns.drop("C4.5"):
        difference = (DEMSAR["C4.5"] - DEMSAR[method]).round(9)
        theirs = stats.wilcoxon(difference, zero_method="zsplit").pvalue
        assert statistics.signed_rank(difference.to_numpy()) == pytest.approx(theirs)
    assert statistics.signed_rank(np.zeros(2)) == 1


def test_wilcoxon_of_few_sets_counts_the_signs_also_with_ties():
    assert statistics.signed_rank(np.array([0.1, 0.1, 0.1, 0.0])) == pytest.approx(0.25)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_wilcoxon_of_few_is_scipys_permutation_of_signs(n):
    for values in (np.arange(n) + 0.5, np.array([1, -1, 2, -3, 0, 0])[:n], np.array([-2, 1, 1, 1, 1, 3])[:n]):
        theirs = stats.wilcoxon(values, zero_method="zsplit", method=stats.PermutationMethod()).pvalue
        assert statistics.signed_rank(values) == pytest.approx(theirs)
    assert statistics.signed_rank(np.array([0.1])) == 1


def test_wilcoxon_of_thirteen_sets_counts_every_sign():
    gains = np.repeat([1, 2, 3, 4, 5, 6, -7], [2, 2, 2, 2, 2, 2, 1]) / 100
    ranks = stats.rankdata(np.abs(gains))
    sums = np.array(list(itertools.product([0, 1], repeat=13))) @ ranks
    observed = ranks[gains > 0].sum()
    assert statistics.signed_rank(gains) == pytest.approx(2 * np.mean(sums >= observed - 1e-9))


def test_holm_by_hand():
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(statistics.holm([0.6, 0.9]), [1, 1])


def test_paired_difference_is_the_one_sample_t_interval():
    a, b = DEMSAR["C4.5+m+cf"].to_numpy(), DEMSAR["C4.5"].to_numpy()
    result = statistics.paired_difference(np.append(a, np.nan), np.append(b, 1))
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert result.mean == pytest.approx((a - b).mean())
    assert (result.wins, result.ties, result.losses, result.pairs) == (11, 1, 2, 14)


def test_paired_difference_of_few_pairs():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = statistics.paired_difference(np.array([0.6]), np.array([0.5]))
    assert one.mean == pytest.approx(0.1) and np.isnan(one.low) and one.pairs == 1
    constant = statistics.paired_difference(np.array([0.3, 0.4]), np.array([0.1, 0.2]))
    assert (constant.mean, constant.low, constant.high) == pytest.approx((0.2, 0.2, 0.2))
    none = statistics.paired_difference(np.array([]), np.array([]))
    assert np.isnan(none.mean) and none.pairs == 0


def test_what_varies_less():
    steps = np.array([-2.0, -1, 0, 1, 2, 3])
    wiggle = np.array([0.1, -0.2, 0.1, 0.2, -0.1, 0])
    assert statistics.varies_less(wiggle, steps) is True and statistics.varies_less(steps, wiggle) is False
    assert statistics.varies_less(wiggle, wiggle[::-1].copy()) is None
    shifted, mirrored = wiggle + 0.5, 1 - wiggle
    assert statistics.varies_less(wiggle, shifted) is False and statistics.varies_less(wiggle, mirrored) is False


def test_of_two_pairs_nothing_is_known_and_of_three_something():
    small, large = np.array([0.0, 0.001, 0.0]), np.array([0.0, 5, 10])
    assert statistics.varies_less(small[:2], large[:2]) is None
    assert statistics.varies_less(small, large) is True


def test_dolan_more_by_hand():
    scores = pd.DataFrame({"a": [1.0, 0.5, 0.2], "b": [0.5, 0.5, 0.8]})
    profile = statistics.dolan_more(scores, np.array([0, 0.25, 0.5, 1]))
    np.testing.assert_allclose(profile["a"], [1, 1, 2 / 3, 2 / 3])
    np.testing.assert_allclose(profile["b"], [1, 1, 1, 2 / 3])
    assert statistics.dolan_more(scores).index.tolist() == pytest.approx([i / 100 for i in range(101)])
    assert statistics.dolan_more(scores[:0]).isna().all(axis=None)
    assert statistics.dolan_more(printed_auc_pr(2)).loc[0].eq(1).all()
