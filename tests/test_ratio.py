"""Ratios: exact counts, the same rows for the same seed, smaller subsets within larger ones."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_bench.data.ratio import ClassList, ImbalanceRatio, LongTailed, Native, Step
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import RATIOS
from imbalance_bench.settings.config import from_omegaconf
from tests.cells import composed
from tests.tasks import CONF, option


def ratio(label, **options):
    return RATIOS.build(option("ratio", label) | options)


def labels(counts, seed=0):
    y = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(y)


def kept(spec, y, seed=0):
    rows = spec.indices(y, seed)
    assert (np.diff(rows) > 0).all()
    assert rows.dtype == np.int64
    return np.bincount(y[rows], minlength=y.max() + 1).tolist()


binary = st.tuples(st.integers(200, 2000), st.integers(100, 200))
seeds = st.integers(0, 2**32)


@given(binary, st.floats(20, 200), seeds)
def test_imbalance_ratio_keeps_the_majority_and_floors_the_minority(counts, r, seed):
    y = labels(counts)
    assert kept(ImbalanceRatio(0, "all", r), y, seed) == [counts[0], int(counts[0] / r)]


@given(binary, st.tuples(st.floats(20, 200), st.floats(20, 200)), seeds)
def test_a_higher_ratio_keeps_a_subset_of_a_lower_one(counts, rs, seed):
    y = labels(counts)
    low, high = (set(ImbalanceRatio(0, "all", r).indices(y, seed)) for r in sorted(rs))
    assert high <= low


@given(binary, seeds)
def test_rows_depend_on_the_seed_and_on_nothing_else(counts, seed):
    y = labels(counts)
    spec = ImbalanceRatio(0, "all", 20.0)
    first, again, other = spec.indices(y, seed), spec.indices(y.copy(), seed), spec.indices(y, seed + 1)
    assert (first == again).all()
    assert (np.bincount(y[other]) == np.bincount(y[first])).all()


def test_another_seed_keeps_other_rows():
    y, spec = labels([1000, 500]), ratio("ir_50")
    assert spec.indices(y, 0).tolist() != spec.indices(y, 1).tolist()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_native_keeps_every_row(counts):
    y = labels(counts)
    assert Native(0, "all").indices(y, 3).tolist() == list(range(len(y)))


@given(st.integers(2, 12), st.integers(50, 500), st.floats(0.05, 1), seeds)
def test_long_tailed_follows_its_formula(classes, n_max, mu, seed):
    y = labels([n_max] * classes)
    expected = [int(round(n_max * mu ** (i / (classes - 1)), 9)) for i in range(classes)]
    assert kept(LongTailed(0, "all", mu), y, seed) == expected


@given(st.floats(0.05, 1), st.floats(0.05, 1), seeds)
def test_long_tailed_subsets_are_nested(one, other, seed):
    y = labels([100] * 5)
    low, high = (set(LongTailed(0, "all", mu).indices(y, seed)) for mu in sorted([one, other]))
    assert low <= high


def test_long_tailed_keeps_all_of_a_class_that_has_fewer():
    assert kept(LongTailed(0, "all", 0.5), labels([90, 100, 100])) == [90, 70, 50]


@given(st.integers(3, 10), st.floats(1, 50), seeds)
def test_step_thins_the_first_classes(classes, r, seed):
    y = labels([100] * classes)
    n = round(0.5 * classes)
    assert kept(Step(0, "all", r, None, 0.5), y, seed) == [int(round(100 / r, 9))] * n + [100] * (classes - n)


def test_step_thins_the_classes_listed():
    assert kept(ratio("step", classes=[1, 3]), labels([100, 50, 70, 80])) == [100, 10, 70, 10]


def test_step_thins_class_1_of_two():
    assert kept(ratio("step"), labels([100, 80])) == [100, 10]
    assert kept(ratio("step", classes=[1]), labels([100, 80])) == [100, 10]


def test_class_list_may_name_all_rows_of_a_class():
    assert kept(ClassList(0, "all", {1: 60}), labels([100, 60])) == [100, 60]


def test_two_classes_may_become_equal():
    assert kept(ImbalanceRatio(0, "all", 1.0), labels([60, 100])) == [60, 60]


def test_class_list_takes_fractions_and_numbers_of_rows():
    y = labels([100, 101, 50])
    assert kept(ClassList(0, "all", {1: 0.25, 2: 7}), y) == [100, 25, 7]
    assert kept(ClassList(0, "all", {"2": 1}), y) == [100, 101, 1]


def test_adult_counts():
    """The counts of the Explicit Gradient paper's public code: 34,014 majority rows, 680 / 340 / 170 positives."""
    y = labels([34014, 11208])
    rows = {r: ratio(f"ir_{r}").indices(y, 0) for r in (50, 100, 200)}
    assert [int(y[rows[r]].sum()) for r in (50, 100, 200)] == [680, 340, 170]
    assert set(rows[200]) < set(rows[100]) < set(rows[50])


def test_of_several_classes_the_rarest_is_thinned_against_the_rest():
    assert kept(ratio("ir_20", r=13), labels([48, 71, 59])) == [10, 71, 59]


@pytest.mark.parametrize(
    ("label", "options", "counts", "words"),
    [
        ("ir_20", {}, [19, 10], "class 1 has 10 rows and would keep none: choose a lower ratio"),
        ("ir_20", {}, [1000, 10], "ratio.r=20 asks for 50 rows of class 1, which has 10"),
        ("ir_20", {"r": 0.5}, [10, 10], "ratio.r=0.5 must be a number, at least 1"),
        ("ir_20", {"r": float("nan")}, [10, 10], "ratio.r=nan must be a number, at least 1"),
        ("ir_20", {"seed": -1}, [10, 10], "ratio.seed=-1"),
        ("native", {}, [10, 0, 10], "class 1 has no rows"),
        ("long_tailed", {"mu": 0.0}, [10, 10], "ratio.mu=0"),
        ("long_tailed", {"mu": 0.01}, [50, 50], "class 1 has 50 rows and would keep none"),
        ("step", {"classes": [4]}, [10, 10], "class 4 does not exist: classes are 0 to 1"),
        ("step", {"classes": [0, 1]}, [10, 10], "thins 2 of 2 classes"),
        ("step", {"fraction": 0.1}, [10, 10], "thins 0 of 2 classes"),
        ("step", {"fraction": 1.5}, [10, 10], "ratio.fraction=1.5"),
        ("class_list", {}, [10, 10], "'ratio.keep="),
        (
            "class_list",
            {"keep": {1: 1.0}},
            [10, 10],
            "the share or the number of its rows to keep), or null: [1] is 1.0",
        ),
        ("class_list", {"keep": {1: 0}}, [10, 10], "to keep), or null: [1] is 0"),
        ("class_list", {"keep": {1: 11}}, [10, 10], "asks for more rows than class 1 has (10)"),
        ("class_list", {"keep": {"x": 1}}, [10, 10], "key x is 'x'"),
        ("four_random_90", {"count": 2}, [10, 10], "ratio.count=2: at least one of 2 classes must stay whole"),
        ("four_random_90", {"count": 0}, [10, 10], "ratio.count=0"),
        ("four_random_99", {}, [10] * 10, "has 10 rows and would keep none: choose a lower ratio.p"),
        ("four_random_99", {"p": 1.0}, [10] * 10, "ratio.p=1.0 must be a number, at least 0 and below 1 (the share"),
        ("four_random_99", {"apply_to": "all"}, [10] * 10, "set ratio.apply_to=train, or ratio.redraw=false"),
        ("gaussian_20", {"reduction": -0.1}, [10] * 10, "ratio.reduction=-0.1"),
        ("gaussian_20", {"reduction": 0.85}, [10] * 10, "would keep none: choose a lower ratio.reduction"),
        ("gaussian_20", {"reduction": 0.95}, [10] * 10, "would keep none: choose a lower ratio.reduction"),
        ("minor_cifar10", {}, [10] * 7, "ratio.classes: class 7 does not exist: classes are 0 to 6"),
        ("minor_cifar10", {}, [40] * 10, "class 0 has 40 rows and would keep none: choose a higher ratio.minor"),
        ("minor_cifar10", {"classes": [0, 1, 0]}, [500] * 2, "ratio.classes lists 2 of 2 classes"),
        ("minor_cifar10", {"classes": []}, [500] * 2, "ratio.classes lists 0 of 2 classes"),
        ("minor_cifar10", {"minor": 0.0}, [500] * 10, "ratio.minor=0.0"),
        ("minor_cifar10", {"major": 1.5}, [500] * 10, "ratio.major=1.5"),
    ],
)
def test_bad_ratios_say_what_to_change(label, options, counts, words):
    with pytest.raises(BenchError) as error:
        ratio(label, **options).indices(labels(counts), 0)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("label", "options", "left", "remedy"),
    [
        ("step", {"classes": [0]}, (50, 400), "thin class 1, e.g. ratio=step ratio.classes=[1]"),
        ("minor_cifar10", {"classes": [0], "major": 1.0}, (5, 400), "ratio.classes=[1]"),
        ("class_list", {"keep": {0: 0.5}}, (250, 400), "keep fewer rows of class 1 (ratio.keep)"),
    ],
)
def test_class_1_of_two_stays_the_smaller_one(label, options, left, remedy):
    words = f"leaves {left[0]} rows of class 0 and {left[1]} of class 1, the positive one, which must be the smaller"
    with pytest.raises(BenchError, match=re.escape(words)) as error:
        ratio(label, **options).indices(labels([500, 400]), 0)
    assert remedy in str(error.value)


def test_of_two_classes_a_random_one_must_be_class_1():
    spec, y = ratio("four_random_90", count=1), labels([500, 400])
    outcomes = set()
    for fold in range(10):
        seed = spec.trial_seed(fold)
        try:
            outcomes.add(tuple(kept(spec, y, seed)))
        except BenchError as error:
            outcomes.add(str(error).partition(",")[0])
    assert outcomes == {(500, 40), "ratio.name=random_classes leaves 50 rows of class 0 and 400 of class 1"}


def test_a_ratio_that_takes_nothing_leaves_class_1_as_large_as_it_is():
    for spec in (ratio("native"), ratio("gaussian_20", reduction=0.0), ratio("four_random_90", count=1, p=0.0)):
        assert kept(spec, labels([40, 50])) == [40, 50]
    assert kept(ratio("ir_20", r=4), labels([40, 50])) == [40, 10]


def test_every_option_builds():
    for path in (CONF / "ratio").glob("*.yaml"):
        options = {"keep": {0: 0.5}} if path.stem == "class_list" else {}
        assert ratio(path.stem, **options).name == option("ratio", path.stem)["name"]
        assert option("ratio", path.stem)["label"] == path.stem


def test_class_list_from_the_command_line():
    cfg = composed("ratio=class_list", "ratio.keep={1: 0.1, 2: 50}")
    spec = RATIOS.build(from_omegaconf(cfg).plain["ratio"])
    assert kept(spec, labels([60, 60, 60])) == [60, 6, 50]


# The forms of the DOS and SelectNet papers


@pytest.mark.parametrize(("percent", "stay"), [(90, 500), (95, 250), (99, 50)])
def test_four_random_classes_lose_their_share(percent, stay):
    y, spec = labels([5000] * 10), ratio(f"four_random_{percent}")
    seeds = [spec.trial_seed(fold) for fold in range(10)]
    drawn = [spec.minority_classes(np.full(10, 5000), seed) for seed in seeds]
    for seed, classes in zip(seeds, drawn):
        assert len(set(classes)) == 4
        assert kept(spec, y, seed) == [stay if c in classes else 5000 for c in range(10)]
    assert len(set(drawn)) > 5
    assert set().union(*drawn) == set(range(10))
    assert {spec.trial_seed(3), ratio(f"four_random_{percent}").trial_seed(3)} == {seeds[3]}


def test_all_shares_of_a_trial_hit_the_same_classes_and_keep_nested_rows():
    y = labels([500] * 10)
    rows = [set(spec.indices(y, spec.trial_seed(4))) for spec in map(ratio, (f"four_random_{p}" for p in (90, 95, 99)))]
    assert rows[2] < rows[1] < rows[0]


def test_a_share_of_few_rows_is_rounded():
    """n - round(p n): of 25 rows p = 0.9 takes 22 (22.5, to even), of 26 rows 23 (23.4)."""
    spec = ratio("four_random_90", redraw=False, count=1)
    for n, stay in ((25, 3), (26, 3), (30, 3), (36, 4)):
        assert sorted(kept(spec, labels([n, n, n]))) == [stay, n, n]


def test_without_redraw_every_trial_is_alike():
    spec = ratio("four_random_90", redraw=False, apply_to="all", seed=5)
    assert {spec.trial_seed(fold) for fold in range(4)} == {5}
    assert ratio("four_random_90", seed=5).trial_seed(0) != 5
    assert ratio("step", seed=5).trial_seed(3) == 5


@pytest.mark.parametrize("reduction", [0.2, 0.4])
@pytest.mark.parametrize("counts", [[12_000] * 10, [900, 1400, 1000, 700, 1200, 800, 1100, 1300, 600, 1000]])
def test_gaussian_deletion_takes_the_overall_share(reduction, counts):
    spec, y = ratio(f"gaussian_{round(100 * reduction)}"), labels(counts)
    shapes = set()
    for fold in range(4):
        found = kept(spec, y, spec.trial_seed(fold))
        assert sum(found) == pytest.approx((1 - reduction) * sum(counts), abs=5)
        rates = np.divide(found, counts)
        assert rates.max() == 1  # place 0
        log = np.sort(-np.log(rates))  # place i: i² / (2 sigma²)
        np.testing.assert_allclose(log / log[1], np.arange(10) ** 2, rtol=0.3)
        shapes.add(tuple(np.argsort(-rates)))
    assert len(shapes) == 4


def test_gaussian_deletion_of_ten_equal_classes_has_the_sigma_that_is_stated():
    for reduction, sigma in ((0.2, 7.56), (0.4, 4.56)):
        expected = sorted(np.exp(-(np.arange(10) ** 2) / (2 * sigma**2)) * 10_000)
        found = sorted(kept(ratio("gaussian_20", reduction=reduction), labels([10_000] * 10)))
        np.testing.assert_allclose(found, expected, atol=10)


def test_gaussian_deletion_of_nothing_keeps_all_and_its_minority_lies_below_the_median():
    spec = ratio("gaussian_20", reduction=0.0)
    assert kept(spec, labels([30, 20, 10])) == [30, 20, 10]
    assert spec.minority_classes(np.array([30, 20, 10, 25]), 0) == (1, 2)
    assert spec.minority_classes(np.array([30, 20, 10]), 0) == (2,)


@pytest.mark.parametrize(
    ("label", "rows", "minor", "major", "pool"),
    [
        ("minor_cifar10", [5000] * 10, 50, 4500, 22_800),
        ("minor4_cifar100", [500] * 100, 25, 450, 1900 + 4800),
        ("minor10_cifar100", [500] * 100, 25, 450, 4750 + 4500),
    ],
)
def test_minor_and_major_classes_as_in_the_selectnet_paper(label, rows, minor, major, pool):
    spec, y = ratio(label), labels(rows)
    found = kept(spec, y, spec.trial_seed(0))
    listed = option("ratio", label)["classes"]
    assert spec.minority_classes(np.array(found), 0) == tuple(listed)
    assert found == [minor if c in listed else major for c in range(len(rows))]
    assert sum(rows) - sum(found) == pool
    assert spec.indices(y, spec.trial_seed(0)).tolist() != spec.indices(y, spec.trial_seed(1)).tolist()


def test_the_first_rows_of_each_class_may_stay():
    y = np.tile([0, 1], 100)
    spec = ratio("minor_cifar10", classes=[1], minor=0.03, major=0.05, draw="first")
    assert spec.indices(y, 9).tolist() == [0, 1, 2, 3, 4, 5, 6, 8]


def test_long_tailed_has_the_counts_of_cui_et_al():
    assert kept(ratio("long_tailed"), labels([5000] * 10)) == [*(5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)]
    found = kept(ratio("long_tailed"), labels([500] * 100))
    assert (found[0], found[-1], sum(found)) == (500, 5, 10_847)
    spec = ratio("long_tailed")
    assert spec.minority_classes(np.array(found), 0) == tuple(range(50, 100))
    assert spec.minority_classes(np.full(10, 9), 0) == (5, 6, 7, 8, 9)


def test_minority_classes_are_those_with_fewer_than_half_of_the_largest():
    assert ratio("native").minority_classes(np.array([100, 50, 49, 1]), 0) == (2, 3)
    assert ratio("native").minority_classes(np.array([100, 90]), 0) == (1,)
    assert ratio("step").minority_classes(np.array([10, 10, 100, 100]), 0) == (0, 1)
    assert ratio("native").minority_classes(np.array([7, 7, 7]), 0) == ()


@pytest.mark.parametrize("r", [1.5, 2, 10])
def test_the_minority_of_step_are_the_classes_thinned_however_little(r):
    counts = kept(ratio("step", r=r), labels([60] * 5))
    assert ratio("step", r=r).minority_classes(np.array(counts), 0) == (0, 1)
    assert ratio("step", r=r, classes=[3, 1, 3]).minority_classes(np.array([60, 40, 60, 40, 60]), 0) == (1, 3)


def test_the_minority_of_listed_classes_are_those_with_few_rows():
    few = kept(ratio("digits_0456"), labels([60] * 10))
    assert ratio("digits_0456").minority_classes(np.array(few), 0) == (0, 4, 5, 6)
    few = kept(ratio("irt_nyc_counts"), labels([1900] * 4))
    assert ratio("irt_nyc_counts").minority_classes(np.array(few), 0) == (1, 2, 3)


def test_of_two_classes_class_1_is_the_minority_whichever_is_thinned():
    for spec in (
        ratio("four_random_90", count=1, p=0.1),
        ratio("minor_cifar10", classes=[0], minor=0.95, major=1.0),
        ratio("step", classes=[1]),
    ):
        seeds = {spec.trial_seed(fold) for fold in range(10)}
        assert {spec.minority_classes(np.array([90, 40]), seed) for seed in seeds} == {(1,)}
