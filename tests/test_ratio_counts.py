"""How many rows of each class the shipped ratios keep, written down; and shares whose exact answer is whole."""

import numpy as np
import pytest

from imbalance_bench.data.dividing import hold_out
from imbalance_bench.data.ratio import ClassList, Gaussian, ImbalanceRatio, LongTailed, MinorMajor, RandomClasses, Step
from imbalance_bench.registry import RATIOS
from imbalance_bench.rounding import snapped
from tests.tasks import CONF, option

CLASSES = {
    "adult": [34014, 11208],
    "cifar10": [5000] * 10,
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "irt": [1900] * 4,
}

# Ratio, rows it is given, rows of each class that it keeps in the first trial. All of ``native`` and ``gaussian_0``.
KEPT = """
digits_0456 cifar10 500 5000 5000 5000 500 500 500 5000 5000 5000
digits_0456 mnist 592 6742 5958 6131 584 542 591 6265 5851 5949
four_random_90 cifar10 5000 500 5000 5000 5000 500 500 5000 500 5000
four_random_90 mnist 5923 674 5958 6131 5842 542 592 6265 585 5949
four_random_95 cifar10 5000 250 5000 5000 5000 250 250 5000 250 5000
four_random_95 mnist 5923 337 5958 6131 5842 271 296 6265 293 5949
four_random_99 cifar10 5000 50 5000 5000 5000 50 50 5000 50 5000
four_random_99 mnist 5923 67 5958 6131 5842 54 59 6265 59 5949
ir_10 adult 34014 3401
ir_10 cifar10 4500 5000 5000 5000 5000 5000 5000 5000 5000 5000
ir_10 irt 570 1900 1900 1900
ir_100 adult 34014 340
ir_100 cifar10 450 5000 5000 5000 5000 5000 5000 5000 5000 5000
ir_100 mnist 5923 6742 5958 6131 5842 545 5918 6265 5851 5949
ir_100 irt 57 1900 1900 1900
ir_122 adult 34014 278
ir_122 cifar10 368 5000 5000 5000 5000 5000 5000 5000 5000 5000
ir_122 mnist 5923 6742 5958 6131 5842 447 5918 6265 5851 5949
ir_122 irt 46 1900 1900 1900
ir_20 adult 34014 1700
ir_20 cifar10 2250 5000 5000 5000 5000 5000 5000 5000 5000 5000
ir_20 mnist 5923 6742 5958 6131 5842 2728 5918 6265 5851 5949
ir_20 irt 285 1900 1900 1900
ir_200 adult 34014 170
ir_200 cifar10 225 5000 5000 5000 5000 5000 5000 5000 5000 5000
ir_200 mnist 5923 6742 5958 6131 5842 272 5918 6265 5851 5949
ir_200 irt 28 1900 1900 1900
ir_50 adult 34014 680
ir_50 cifar10 900 5000 5000 5000 5000 5000 5000 5000 5000 5000
ir_50 mnist 5923 6742 5958 6131 5842 1091 5918 6265 5851 5949
ir_50 irt 114 1900 1900 1900
irt_nyc_counts cifar10 1446 129 239 45 5000 5000 5000 5000 5000 5000
irt_nyc_counts mnist 1446 129 239 45 5842 5421 5918 6265 5851 5949
irt_nyc_counts irt 1446 129 239 45
long_tailed adult 34014 340
long_tailed cifar10 5000 2997 1796 1077 645 387 232 139 83 50
long_tailed mnist 5923 4041 2422 1452 870 522 312 187 112 67
long_tailed irt 1900 409 88 19
minor_cifar10 cifar10 50 4500 50 4500 4500 4500 50 50 4500 4500
minor_cifar10 mnist 59 6068 60 5518 5258 4879 59 63 5266 5354
step adult 34014 3401
step cifar10 500 500 500 500 500 5000 5000 5000 5000 5000
step mnist 674 674 674 674 674 5421 5918 6265 5851 5949
step irt 190 190 1900 1900
"""


def kept(spec, counts):
    return spec.keep_counts(np.array(counts), spec.trial_seed(0)).tolist()


@pytest.mark.parametrize("line", KEPT.strip().splitlines())
def test_shipped_ratios_keep_the_rows_that_are_written_down(line):
    label, data, *rows = line.split()
    assert kept(RATIOS.build(option("ratio", label)), CLASSES[data]) == list(map(int, rows))


def test_every_shipped_ratio_is_written_down():
    elsewhere = {
        *("native", "gaussian_0"),  # keep all
        *("gaussian_20", "gaussian_40"),  # whose total is tested below
        *("minor4_cifar100", "minor10_cifar100", "class_list"),  # in test_ratio.py
    }
    assert {line.split()[0] for line in KEPT.strip().splitlines()} | elsewhere == {
        path.stem for path in (CONF / "ratio").glob("*.yaml")
    }


@pytest.mark.parametrize(
    ("spec", "counts", "expected"),
    [
        (ClassList(0, "all", {1: 0.57}), [200, 100], [200, 57]),  # 100 * 0.57 = 56.99999999999999
        (ClassList(0, "all", {1: 0.29}), [200, 100], [200, 29]),
        (ClassList(0, "all", {1: 0.575}), [200, 100], [200, 57]),  # 57.5 is still floored
        (ImbalanceRatio(0, "all", 2.2), [110, 60], [110, 50]),  # 110 / 2.2 = 49.99999999999999
        (ImbalanceRatio(0, "all", 2.2), [109, 60], [109, 49]),
        (Step(0, "all", 2.2, None, 0.5), [110, 110], [110, 50]),
        (LongTailed(0, "all", 0.57), [5000, 5000], [5000, 2850]),  # 2849.9999999999995
        (LongTailed(0, "all", 0.0001), [50_000] * 5, [50_000, 5000, 500, 50, 5]),
        (MinorMajor(0, "all", False, [1], 0.57, 1.0, "random"), [200, 150], [200, 86]),  # 85.5, to even
        (RandomClasses(0, "all", False, 1, 0.57), [150, 150, 150], [64, 150, 150]),
    ],
)
def test_a_share_that_comes_to_a_whole_number_is_that_number(spec, counts, expected):
    found = spec.keep_counts(np.array(counts), 0).tolist()
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("percent", range(1, 100))
def test_every_percent_of_every_hundred_is_whole(percent):
    for n in (100, 300, 700, 12_300, 5_000_000):
        for share in (percent / 100, float(f"0.{percent:02d}")):
            assert int(snapped(n * share)) == n * percent // 100
            assert int(snapped(n * percent / (percent / share))) == n * percent // 100


def test_what_is_no_whole_number_is_left_alone():
    for value in (56.9999999, 1e6 - 1e-6, 0.4999999999, 1e-300, 0.0, -2.3):
        assert snapped(value) == value


@pytest.mark.parametrize("whole", [1.0, 57.0, 5e6])
def test_rounding_is_sixteen_steps_of_a_float_at_most(whole):
    step = np.spacing(whole)
    assert snapped(whole + 16 * step) == whole == snapped(whole - 8 * step)
    assert snapped(whole + 17 * step) == whole + 17 * step


@pytest.mark.parametrize("reduction", [0.2, 0.4, 0.37])
@pytest.mark.parametrize("counts", [[12_000] * 10, CLASSES["mnist"], CLASSES["cifar10"], [500] * 100, CLASSES["irt"]])
def test_gaussian_deletion_takes_its_share_to_the_row(reduction, counts):
    spec = Gaussian(0, "train", True, reduction)
    for fold in range(5):
        found = spec.keep_counts(np.array(counts), spec.trial_seed(fold))
        assert found.sum() == round(snapped((1 - reduction) * sum(counts)))
        more = Gaussian(0, "train", True, reduction + 0.01).keep_counts(np.array(counts), spec.trial_seed(fold))
        assert (more <= found).all()  # subsets stay nested


@pytest.mark.parametrize(("rows", "share", "part"), [(100, 0.07, 7), (50, 0.14, 7), (100, 0.55, 55), (101, 0.07, 8)])
def test_a_part_held_out_has_its_share_of_rows(rows, share, part):
    y = np.arange(rows) % 2
    assert len(hold_out(y, None, np.arange(rows), share, 0)[1]) == part
