"""Ratios: exact counts, the same rows for the same seed, smaller subsets within larger ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_bench.data.ratio import ClassList, ImbalanceRatio, LongTailed, Native, Step
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import RATIOS
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
    expected = [int(n_max * mu ** (i / (classes - 1))) for i in range(classes)]
    assert kept(LongTailed(0, "all", mu), y, seed) == expected


@given(st.floats(0.05, 1), st.floats(0.05, 1), seeds)
def test_long_tailed_subsets_are_nested(one, other, seed):
    y = labels([100] * 5)
    low, high = (set(LongTailed(0, "all", mu).indices(y, seed)) for mu in sorted([one, other]))
    assert low <= high


def test_long_tailed_keeps_all_of_a_class_that_has_fewer():
    assert kept(LongTailed(0, "all", 0.5), labels([90, 100, 100])) == [90, 70, 50]


@given(st.integers(2, 10), st.floats(1, 50), seeds)
def test_step_thins_the_first_classes(classes, r, seed):
    y = labels([100] * classes)
    n = round(0.5 * classes)
    assert kept(Step(0, "all", r, None, 0.5), y, seed) == [int(100 / r)] * n + [100] * (classes - n)


def test_step_thins_the_classes_listed():
    assert kept(ratio("step", classes=[1, 3]), labels([100, 50, 70, 80])) == [100, 10, 70, 10]


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
        ("ir_20", {"r": 0.5}, [10, 10], "ratio.r=0.5 must be at least 1"),
        ("ir_20", {"r": float("nan")}, [10, 10], "ratio.r=nan must be at least 1"),
        ("ir_20", {"seed": -1}, [10, 10], "ratio.seed=-1"),
        ("native", {}, [10, 0, 10], "class 1 has no rows"),
        ("long_tailed", {"mu": 0.0}, [10, 10], "ratio.mu=0"),
        ("long_tailed", {"mu": 0.01}, [50, 50], "class 1 has 50 rows and would keep none"),
        ("step", {"classes": [4]}, [10, 10], "class 4 does not exist: classes are 0 to 1"),
        ("step", {"classes": [0, 1]}, [10, 10], "thins 2 of 2 classes"),
        ("step", {"fraction": 0.1}, [10, 10], "thins 0 of 2 classes"),
        ("step", {"fraction": 1.5}, [10, 10], "ratio.fraction=1.5"),
        ("class_list", {}, [10, 10], "'ratio.keep="),
        ("class_list", {"keep": {1: 1.0}}, [10, 10], "ratio.keep[1]=1.0 must be a fraction"),
        ("class_list", {"keep": {1: 0}}, [10, 10], "ratio.keep[1]=0 must be a fraction"),
        ("class_list", {"keep": {1: 11}}, [10, 10], "asks for more rows than class 1 has (10)"),
        ("class_list", {"keep": {"x": 1}}, [10, 10], "class 'x' does not exist"),
    ],
)
def test_bad_ratios_say_what_to_change(label, options, counts, words):
    with pytest.raises(BenchError) as error:
        ratio(label, **options).indices(labels(counts), 0)
    assert words in str(error.value)


def test_every_option_builds():
    for path in (CONF / "ratio").glob("*.yaml"):
        options = {"keep": {0: 0.5}} if path.stem == "class_list" else {}
        assert ratio(path.stem, **options).name == option("ratio", path.stem)["name"]
        assert option("ratio", path.stem)["label"] == path.stem


def test_class_list_from_the_command_line():
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", ["ratio=class_list", "ratio.keep={1: 0.1, 2: 50}"])
    spec = RATIOS.build(OmegaConf.to_container(cfg.ratio))
    assert kept(spec, labels([60, 60, 60])) == [60, 6, 50]
