"""Protocols and the runs made of them: no overlap, every class in every part, seeds that do not depend on the rest."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold, train_test_split

from imbalance_bench.data.base import Dataset
from imbalance_bench.data.dividing import cut, dealt, hold_out, k_folds
from imbalance_bench.data.encode import ArrayEncoder, TableEncoder
from imbalance_bench.data.splits import RowsToSplit
from imbalance_bench.data.tasks import make_runs, run_seed, subset_hash
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS, PROTOCOLS, RATIOS
from tests.tasks import CONF, option

PROTOCOL_LABELS = sorted(p.stem for p in (CONF / "protocol").glob("*.yaml"))
SHUFFLED = [label for label in PROTOCOL_LABELS if label != "past_future"]  # which leaves rows of the future out


def protocol(label="holdout_kfold", **options):
    return PROTOCOLS.build(option("protocol", label) | options)


def ratio(label="native", **options):
    return RATIOS.build(option("ratio", label) | options)


def labels(counts):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


def dataset(counts=(300, 60), d=3, **options):
    y = labels(counts)
    x = np.random.default_rng(1).normal(size=(len(y), d)) + y[:, None]
    return Dataset("made", x, y, tuple(f"c{i}" for i in range(len(counts))), ArrayEncoder("minmax"), **options)


def splits(label, y, **options):
    test = np.flatnonzero(np.arange(len(y)) % 4 == 0) if label.startswith("official") else None
    return protocol(label, **options).splits(RowsToSplit(y, test=test, times=np.arange(len(y))))


@settings(max_examples=25)
@given(st.lists(st.integers(40, 90), min_size=2, max_size=4), st.sampled_from(SHUFFLED), st.integers(0, 99))
def test_parts_never_overlap_and_cover_all_rows(counts, label, seed):
    y = labels(counts)
    out = splits("setconv", y, seed=seed)[0].test if label == "setconv_cv" else []
    for split in splits(label, y, seed=seed):
        together = np.concatenate(split)
        assert sorted(together) == np.setdiff1d(np.arange(len(y)), out).tolist()
        for part in split if len(split.valid) else (split.train, split.test):
            assert (np.bincount(y[part], minlength=len(counts)) > 0).all()
        assert (len(split.valid) == 0) == label.startswith("official_trials")


@pytest.mark.parametrize(
    ("part", "label", "options", "y"),
    [
        ("valid", "stratified_kfold", {"folds": 2, "valid_fraction": 0.1}, labels([200, 4])),
        ("train", "past_future", {"folds": 1}, np.repeat([0, 1], [300, 100])),
        ("test", "official_test", {}, np.array([0, 0, 0, 1] * 20)),
    ],
)
def test_every_part_has_rows_of_every_class(part, label, options, y):
    with pytest.raises(BenchError, match=f"the {part} part of a split gets no row of class 1 "):
        splits(label, y, **options)


@pytest.mark.parametrize(("label", "shares"), [("holdout_kfold", (60, 20, 20)), ("stratified_kfold", (64, 16, 20))])
def test_shares(label, shares):
    y = labels([800, 200])
    found = splits(label, y)
    for split in found:
        assert [round(len(part) / 10) for part in split] == list(shares)
        assert [np.bincount(y[part])[1] / len(part) for part in split] == pytest.approx([0.2] * 3, abs=0.01)
    tested = np.concatenate([s.test for s in found])
    assert len(tested) == len(set(tested))


def test_holdout_kfold_holds_out_one_validation_part():
    found = splits("holdout_kfold", labels([100, 40]))
    assert all((s.valid == found[0].valid).all() for s in found)
    assert len(found) == 4


def test_options_are_chosen_by_ten_folds_of_what_setconv_does_not_test_on():
    y = labels([300, 60])
    for repeat, whole in list(enumerate(splits("setconv", y, seed=4)))[:3]:
        found = splits("setconv_cv", y, seed=4, repeat=repeat)
        development = np.sort(np.r_[whole.train, whole.valid])
        for part in ("valid", "test"):
            of_part = np.concatenate([getattr(s, part) for s in found])
            assert np.array_equal(np.sort(of_part), development) and len(found) == 10
        assert {len(s.train) for s in found} <= {len(development) * 8 // 10 + d for d in range(-2, 3)}


def test_the_split_seed_moves_rows_and_nothing_else_does():
    y = labels([100, 40])
    first, again, other = (splits("repeated_holdout", y, seed=s) for s in (0, 0, 1))
    assert all((a.test == b.test).all() for a, b in zip(first, again))
    assert any((a.test != b.test).any() for a, b in zip(first, other))
    assert len({tuple(s.test) for s in first}) == 10


def test_official_test_uses_the_rows_that_the_data_name():
    y = labels([50, 20])
    own = protocol("official_test").splits(RowsToSplit(y, test=np.arange(10), valid=np.arange(10, 30)))
    assert [len(p) for p in own[0]] == [40, 20, 10]
    with pytest.raises(BenchError, match="comes with no test rows; set protocol=holdout_kfold"):
        protocol("official_test").splits(RowsToSplit(y))


def test_official_trials_repeat_the_same_rows():
    y = labels([50, 20])
    found = splits("official_trials", y)
    assert len(found) == 10
    assert all((a == b).all() for s in found for a, b in zip(s, found[0]))
    assert [len(p) for p in found[0]] == [52, 0, 18]
    assert [len(p) for p in splits("official_trials", y, valid_fraction=0.25)[0]] == [39, 13, 18]
    assert len(splits("official_trials_5", y)) == 5
    own = protocol("official_trials").splits(RowsToSplit(y, test=np.arange(10), valid=np.arange(10, 30)))
    assert [len(p) for p in own[7]] == [40, 20, 10]


def test_official_test_may_go_without_validation_rows():
    assert [len(p) for p in splits("official_test", labels([50, 20]), valid_fraction=0.0)[0]] == [52, 0, 18]


def test_each_trial_redraws_its_ratio_and_shares_its_test_part():
    y = labels([300] * 10)
    data = replace(dataset((300,) * 10), y=y, test_rows=np.arange(0, len(y), 3))
    made = make_runs(data, ratio("four_random_90"), protocol("official_trials"), 0)
    again = make_runs(data, ratio("four_random_95"), protocol("official_trials"), 0)
    for run, other in zip(made, again):
        task = run.task
        few = np.flatnonzero(task.counts < 100)
        assert task.minority_classes == tuple(few) == other.task.minority_classes
        assert len(few) == 4
        assert len(task.train) + len(task.withdrawn) == 2000
        assert set(task.withdrawn.y) == set(few)
        assert len(task.valid) == 0
        assert (run.test.ids == data.test_rows).all()
    assert len({r.task.minority_classes for r in made}) > 5
    assert len({r.task.seed for r in made}) == 10


@pytest.mark.parametrize(
    ("label", "options", "counts", "words"),
    [
        (
            *("holdout_kfold", {}, [100, 4]),
            "class 1 has 3 rows left for protocol.folds=4 (rows a class: 0: 100, 1: 4): set protocol.folds=3",
        ),
        ("holdout_kfold", {}, [100, 1], "class 1 has a single row, and a training and a test part need one each"),
        ("stratified_kfold", {"folds": 9}, [100, 8], "protocol.folds=9"),
        ("holdout_kfold", {"folds": 1}, [9, 9], "protocol.folds=1 must be a whole number, at least 2"),
        ("holdout_kfold", {"valid_fraction": 1.0}, [9, 9], "protocol.valid_fraction=1.0"),
        ("repeated_holdout", {"repeats": 0}, [9, 9], "protocol.repeats=0"),
        ("official_trials", {"trials": 0}, [9, 9], "protocol.trials=0 must be a whole number, at least 1"),
        (
            "holdout_kfold",
            {"valid_fraction": 0.0},
            [9, 9],
            "protocol.valid_fraction=0.0 must be a number, above 0",
        ),
        ("repeated_holdout", {}, [100, 2], "gets no row of class 1"),
        ("holdout_kfold", {"seeds": 0}, [9, 9], "protocol.seeds=0"),
        ("holdout_kfold", {"seed": -1}, [9, 9], "protocol.seed=-1"),
    ],
)
def test_bad_protocols_say_what_to_change(label, options, counts, words):
    with pytest.raises(BenchError) as error:
        splits(label, labels(counts), **options)
    assert words in str(error.value)
    assert "ratio" not in str(error.value)  # nothing was thinned


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.sampled_from(sorted(set(PROTOCOL_LABELS) - {"past_future"})),
    st.integers(2, 6),
    st.booleans(),
)
def test_what_an_error_of_few_rows_advises_works(counts, label, folds, grouped):
    """Class names, and no option that is set already; what is to be set is set, and the rows are split."""
    y, names = labels(counts), tuple("abcd"[: len(counts)])
    groups = np.arange(len(y)) // 2 if grouped else None
    options = option("protocol", label)
    options = options | {key: folds for key in ("folds", "repeats") if key in options}
    test = np.flatnonzero(np.arange(len(y)) % 3 == 0) if label.startswith("official") else None
    rows = RowsToSplit(y, names, test=test, groups=groups)
    try:
        PROTOCOLS.build(options).splits(rows)
    except BenchError as error:
        assert "a: " in str(error)
        for advice in re.findall(r"set ((?:protocol\.\w+=\S+ ?)+)", str(error)):
            changed = dict(pair.removeprefix("protocol.").split("=") for pair in advice.replace(";", "").split())
            changed = {key: type(options[key])(float(value)) for key, value in changed.items()}
            assert changed.items() - options.items() == changed.items()
            PROTOCOLS.build(options | changed).splits(rows)
        if "dataset.group=null" in str(error):
            PROTOCOLS.build(options).splits(replace(rows, groups=None))
        if "ratio" in str(error) or ("dataset.positive" in str(error)) != (len(counts) > 2):
            raise AssertionError(str(error)) from error


def test_a_lower_ratio_is_advised_where_it_helps():
    data = dataset((400, 60))
    with pytest.raises(BenchError, match=r"class 'c1' has 3 rows left .*: choose a lower ratio, e.g. ratio=native; or"):
        make_runs(data, ratio("ir_100"), protocol(), 0)
    few = dataset((400, 3))
    with pytest.raises(BenchError) as error:
        make_runs(few, ratio("ir_200"), protocol(), 0)
    assert "ratio=native" not in str(error.value)


@pytest.mark.parametrize("apply_to", ["all", "train"])
def test_a_ratio_thins_all_rows_or_the_training_part(apply_to):
    data = dataset((600, 200))
    plain = make_runs(data, ratio(), protocol(), 0)
    for run, whole in zip(make_runs(data, ratio("ir_20", apply_to=apply_to), protocol(), 0), plain):
        task = run.task
        assert task.counts.tolist() == [360, 18]
        out = set(task.withdrawn.ids)
        assert not out & {*task.train.ids, *task.valid.ids, *run.test.ids}
        if apply_to == "train":
            assert (run.test.ids == whole.test.ids).all()
            assert (task.valid.ids == whole.task.valid.ids).all()
            assert out | set(task.train.ids) == set(whole.task.train.ids)
        else:
            assert np.bincount(data.y[np.r_[task.train.ids, task.valid.ids, run.test.ids]]).tolist() == [600, 30]
            assert len(out) == 170
    assert plain[0].task.withdrawn is None


PAIRS = np.arange(360) // 2


def whole(split, groups):
    """Whether no group is in two parts."""
    parts = [set(groups[part]) for part in split]
    return not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("holdout_kfold", {}),
        ("stratified_kfold", {}),
        ("repeated_holdout", {}),
        ("setconv_cv", {"folds": 4}),
        ("official_test", {}),
        ("official_trials", {"valid_fraction": 0.2}),
    ],
)
@pytest.mark.parametrize("apply_to", ["all", "train"])
def test_rows_of_one_group_are_in_one_part(label, options, apply_to):
    data = dataset(test_rows=np.arange(90), groups=PAIRS)
    for run in make_runs(data, ratio("ir_10", apply_to=apply_to), protocol(label, **options), 0):
        task = run.task
        assert whole((task.train.ids, task.valid.ids, run.test.ids), PAIRS)
        if task.withdrawn:  # nor does the pool know those that are tested on
            assert not set(PAIRS[task.withdrawn.ids]) & set(PAIRS[np.r_[task.valid.ids, run.test.ids]])


def patients(n, seed=0):
    """Labels and numbers of n patients of 1 to 9 rows each, a quarter of them of class 1, shuffled."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 10, n)))
    return (np.arange(n) % 4 == 0).astype(np.int64)[groups], groups


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 80), st.integers(0, 99), st.sampled_from(["holdout_kfold", "stratified_kfold", "setconv"]))
def test_grouped_splits_are_whole_stratified_and_cover_all_rows(n, seed, label):
    y, groups = patients(n, seed)
    spec = protocol(label, seed=seed)
    for split in spec.splits(RowsToSplit(y, groups=groups)):
        assert sorted(np.concatenate(split)) == list(range(len(y)))
        assert whole(split, groups)
        assert [y[part].mean() for part in split] == pytest.approx([y.mean()] * 3, abs=0.12)
    shares = {"holdout_kfold": (0.6, 0.2, 0.2), "stratified_kfold": (0.64, 0.16, 0.2), "setconv": (0.63, 0.07, 0.3)}
    assert [len(part) / len(y) for part in split] == pytest.approx(shares[label], abs=0.06)


def test_grouped_folds_are_as_even_as_those_of_scikit_learn():
    from sklearn.model_selection import StratifiedGroupKFold

    def unevenness(y, folds):
        return np.std([np.bincount(y[test], minlength=2) / np.bincount(y) for _, test in folds], axis=0).mean()

    ours = theirs = 0
    for seed in range(12):
        y, groups = patients(30, seed)
        splitter = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
        theirs += unevenness(y, splitter.split(y, y, groups))
        ours += unevenness(y, k_folds(y, groups, np.arange(len(y)), 4, seed))
    assert ours <= 1.02 * theirs


def test_many_groups_that_are_alike_are_dealt_by_their_share():
    y = np.arange(60_000) % 3
    parts = dealt(y, np.arange(len(y)), np.array([0.7, 0.3]), 0)
    assert np.bincount(y[parts == 1]).tolist() == [6000] * 3
    assert (parts != dealt(y, np.arange(len(y)), np.array([0.7, 0.3]), 1)).any()


@pytest.mark.parametrize(
    ("groups", "shares", "parts"),
    [
        # Rows of class 0 and of class 1 of each group. The largest difference comes first: the second group, to the
        # first part. The first group fills the classes as evenly in either: it goes to the empty one.
        ([(1, 0), (0, 2), (1, 1)], (0.5, 0.5), [1, 0, 0]),
        # The third, the first, and the second, which fills both as evenly: 7 rows of 0.75 are fewer than 3 of 0.25.
        ([(0, 3), (1, 0), (1, 6)], (0.75, 0.25), [1, 0, 0]),
        # The group with a row of each class is the last.
        ([(1, 0), (2, 0), (1, 1)], (0.6, 0.4), [1, 0, 0]),
        # The one row of class 0, of the second group, counts as much as the four of class 1.
        ([(0, 2), (1, 1), (0, 1)], (0.6, 0.4), [0, 0, 1]),
        ([(0, 2), (1, 1), (0, 1)], (0.5, 0.25, 0.25), [0, 0, 1]),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_three_groups_go_where_each_leaves_the_classes_most_even(groups, shares, parts, seed):
    y = np.concatenate([np.repeat([0, 1], rows) for rows in groups])
    of = np.repeat(range(3), [sum(rows) for rows in groups])
    assert dealt(y, of, np.array(shares), seed).tolist() == np.array(parts)[of].tolist()


def test_groups_go_where_they_went():
    """Records are of these parts: patients of many rows, and many single rows that are alike."""
    y, groups = patients(24, 3)
    y, groups = np.r_[y, np.arange(140) % 3 == 0].astype(np.int64), np.r_[groups, 24 + np.arange(140)]
    parts = dealt(y, groups, np.array([0.6, 0.25, 0.15]), 7)
    of_group = "".join(str(parts[groups == group][0]) for group in range(164))
    assert of_group == (
        "01020100010021111220000000000102000110010011020200220102002112000001110202101000001100101021"
        "000000000010000000200201000010010002012102111100000000000012020001121010"
    )


def test_a_class_of_few_groups_is_named_with_what_helps():
    y, groups = np.repeat([0, 1], [60, 40]), np.r_[np.arange(60), 60 + np.arange(40) // 10]
    with pytest.raises(BenchError) as error:
        protocol("stratified_kfold").splits(RowsToSplit(y, ("well", "ill"), groups=groups))
    assert "class 'ill' has 4 groups left for protocol.folds=5" in str(error.value)
    assert "set protocol.folds=4" in str(error.value) and "dataset.group=null" in str(error.value)


def test_groups_of_the_test_rows_are_not_trained_on():
    data = dataset(test_rows=np.arange(1, 90), groups=PAIRS, grouped_by="rows of one patient")
    with pytest.raises(BenchError, match="puts rows of one patient of made into the train and the test part") as error:
        make_runs(data, ratio(), protocol("official_trials"), 0)
    assert "set protocol=stratified_kfold" in str(error.value)
    make_runs(data, ratio(), protocol("stratified_kfold"), 0)


# Past and future


def dated(n=400, ties=1, seed=5):
    """A data set whose rows were at times 0, 0, ..., 1, 1, ..., ``ties`` at each, in shuffled order."""
    data = dataset((n * 3 // 4, n // 4))
    return replace(data, times=np.random.default_rng(seed).permutation(n) // ties)


@pytest.mark.parametrize("ties", [1, 7, 20])
@pytest.mark.parametrize("apply_to", ["all", "train"])
def test_tests_are_on_the_future_and_validation_lies_between(ties, apply_to):
    data = dated(ties=ties)
    runs = make_runs(data, ratio("ir_10", apply_to=apply_to), protocol("past_future"), 0)
    assert len(runs) == 3
    for run in runs:
        train, valid, test = (data.times[p.ids] for p in (run.task.train, run.task.valid, run.test))
        assert train.max() < valid.min() <= valid.max() < test.min()
        assert data.times[run.task.withdrawn.ids].max() < valid.min()


def test_what_a_ratio_takes_out_is_bound_by_time_in_past_and_future_alone():
    data = dated()
    (run, *_) = make_runs(data, ratio("ir_10", apply_to="all"), protocol("repeated_holdout"), 0)
    assert len(run.task.withdrawn.ids) == 100 - 30  # of 300 and 100 rows


def test_the_latest_rows_begin_at_the_time_nearest_to_their_share():
    times = np.random.default_rng(0).permutation(np.repeat([0, 3, 7], [4, 3, 3]))
    # Four of ten rows are asked for: three are of time 7, six of 3 and later.
    assert [cut(times, share) for share in (0.1, 0.4, 0.5, 0.9)] == [7, 7, 3, 3]
    assert cut(np.full(5, 2), 0.5) is None


def test_the_parts_of_past_and_future():
    data = dated()
    found = protocol("past_future").splits(RowsToSplit(data.y, times=data.times))
    assert [[len(part) for part in s] for s in found] == [[128, 32, 80], [192, 48, 80], [256, 64, 80]]
    assert sorted(data.times[np.concatenate([s.test for s in found])]) == list(range(160, 400))
    (one,) = protocol("past_future", folds=1, test_fraction=0.07, valid_fraction=0).splits(
        RowsToSplit(data.y, times=data.times)
    )
    assert [len(part) for part in one] == [372, 0, 28]


@pytest.mark.parametrize(
    ("options", "times", "words"),
    [
        ({}, None, "needs dataset.time=<column>"),
        ({}, np.zeros(400, int), "has 1 different times, too few for 3 test parts of 0.2 .*: set protocol=strat"),
        ({}, np.arange(400) // 200, "has 2 different times, .*: set protocol.folds=1 protocol.valid_fraction=0"),
        ({}, np.arange(400) // 100, "has 4 different times, .*: set protocol.folds=2"),
        ({"folds": 1}, np.arange(400) // 200, "are of one time, .*: set protocol.valid_fraction=0"),
        ({"folds": 5}, np.arange(400), "set a test_fraction above 0 and below 0.2"),
        ({"folds": 0}, np.arange(400), "protocol.folds=0"),
    ],
)
def test_bad_times_say_what_to_change(options, times, words):
    with pytest.raises(BenchError) as error:
        protocol("past_future", **options).splits(RowsToSplit(labels([300, 100]), times=times))
    assert re.search(words, str(error.value))


def test_a_patient_of_past_and_future_is_an_error():
    data = replace(dated(), groups=np.arange(400) % 40, grouped_by="rows of one patient")
    with pytest.raises(BenchError, match="protocol=past_future puts rows of one patient of made into"):
        make_runs(data, ratio(), protocol("past_future"), 0)


@pytest.mark.parametrize("label", ["official_test", "official_trials"])
def test_copies_are_trained_on_together(label):
    data = dataset(test_rows=np.arange(90), groups=PAIRS)
    run = make_runs(data, ratio("ir_10"), protocol(label, valid_fraction=0), 0)[0]
    plain = make_runs(replace(data, groups=None), ratio("ir_10"), protocol(label, valid_fraction=0), 0)[0]
    assert (run.task.train.ids == plain.task.train.ids).all() and (run.test.ids == plain.test.ids).all()


def test_rows_keep_their_features_and_labels():
    data = dataset((80, 30))
    for run in make_runs(data, ratio(), protocol("repeated_holdout"), 0):
        known = ArrayEncoder("minmax")(data.x, run.task.train.ids)
        for part in (run.task.train, run.task.valid, run.test):
            assert (part.x == known[part.ids]).all()
            assert (part.y == data.y[part.ids]).all()
            assert part.x.dtype == np.float32


@pytest.mark.parametrize("part", ["valid", "test"])
def test_rows_outside_training_do_not_reach_it(part):
    data = dataset((80, 30))
    for i, run in enumerate(make_runs(data, ratio(), protocol(), 0)):
        rows = run.test.ids if part == "test" else run.task.valid.ids
        x = data.x.copy()
        x[rows] = 1e3 * x[rows] - 7
        changed = make_runs(replace(data, x=x), ratio(), protocol(), 0)[i]
        assert (changed.task.train.x == run.task.train.x).all()


def test_repeats_share_their_parts_and_differ_in_their_seeds():
    runs = make_runs(dataset(), ratio("ir_20"), protocol(seeds=3), 5)
    assert [(r.task.fold, r.task.repeat) for r in runs] == [(f, r) for f in range(4) for r in range(3)]
    for first, *others in (runs[i : i + 3] for i in range(0, 12, 3)):
        for other in others:
            assert other.task.train is first.task.train
            assert other.task.valid is first.task.valid
            assert other.task.withdrawn is first.task.withdrawn
            assert other.test is first.test
    assert len({r.task.seed for r in runs}) == 12


def test_a_run_has_the_same_seed_whatever_else_runs():
    few = make_runs(dataset(), ratio(), protocol(), 5)
    many = make_runs(dataset(), ratio("ir_20"), protocol(seeds=4), 5)
    assert [r.task.seed for r in few] == [r.task.seed for r in many if r.task.repeat == 0]
    assert few[1].task.seed == run_seed(5, 1, 0) != run_seed(6, 1, 0)


def test_regression_uses_the_rows_of_the_data_set():
    sine = DATASETS.build(option("dataset", "sine")).load(Path())
    (first, second) = make_runs(sine, ratio(), protocol(seeds=2), 0)
    assert (len(first.task.train), len(first.task.valid), len(first.test)) == (5, 5, 201)
    assert first.task.synthetic[0].shape == (20, 1)
    assert first.task.train is second.task.train
    with pytest.raises(BenchError, match="set ratio=native"):
        make_runs(sine, ratio("ir_50"), protocol(), 0)


@pytest.mark.parametrize("named", ["test", "valid"])
def test_regression_needs_both_parts_named(named):
    with pytest.raises(BenchError, match="must name test and validation rows"):
        protocol().splits(RowsToSplit(np.linspace(0, 1, 9), kind="regression", **{named: np.arange(3)}))


def test_a_feature_that_is_no_number_is_named():
    data = dataset()
    data.x[7, 2] = np.nan
    with pytest.raises(BenchError, match=r"dataset made: 1 feature values .* row 7 \(from 0\), column 2"):
        make_runs(data, ratio(), protocol(), 0)


def test_a_column_too_large_for_float32_is_called_by_its_name():
    import pandas as pd

    x = pd.DataFrame({"small": np.arange(360.0), "kind": ["a", "b"] * 180, "large": np.arange(360.0)})
    x.loc[7, "large"] = 1e39
    data = replace(dataset(), x=x, encode=TableEncoder.of(x, "none"))
    with pytest.raises(BenchError, match=r"row 7 \(from 0\), column 'large': "):
        make_runs(data, ratio(), protocol(), 0)


@pytest.mark.parametrize("apply_to", ["all", "train"])
def test_a_ratio_that_cannot_be_names_the_classes(apply_to):
    with pytest.raises(BenchError, match=r"class 1 has \d+ rows and would keep none: .* \(class 1 is 'c1'\)"):
        make_runs(dataset((300, 60)), ratio("ir_20", r=1000, apply_to=apply_to), protocol(), 0)


def test_a_feature_too_large_for_float32_is_named():
    data = dataset()
    data.x[7, 2] = 1e39
    with pytest.raises(BenchError, match=r"made \(encoded\): .* row 7 \(from 0\), column 2"):
        make_runs(replace(data, encode=ArrayEncoder("none")), ratio(), protocol(), 0)


def test_subset_hash_is_of_the_set():
    rows = np.array([5, 3, 9])
    assert subset_hash(rows) == subset_hash(rows[::-1].astype(np.int32)) != subset_hash(rows + 1)


@pytest.mark.parametrize("label", PROTOCOL_LABELS)
def test_every_option_builds(label):
    named = {
        "setconv": "repeated_holdout",
        "setconv_60_40": "repeated_holdout",
        "setconv_one_split": "repeated_holdout",
        "setconv_cv": "development_kfold",
    }
    assert protocol(label).name == named.get(label, label.removesuffix("_5"))
    assert option("protocol", label)["label"] == label


@pytest.mark.parametrize("seed", range(40))
def test_stratified_parts_and_folds_are_those_of_scikit_learn(seed):
    """Records of years say which rows these were."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(rng.integers(2, 6)), 1 + rng.integers(1, 9)))[1:]
    y = np.concatenate([y, rng.choice(y, rng.integers(0, 60))])  # remainders that are equal, and others
    rows = np.sort(rng.choice(200, len(y), replace=False))
    labels = np.zeros(200, np.int64)
    labels[rows] = y
    fraction = rng.choice([0.1, 0.2, 0.25, 0.5])
    size = math.ceil(round(fraction * len(y), 9))
    try:
        theirs = train_test_split(rows, test_size=size, stratify=y, random_state=seed)
    except ValueError:
        with pytest.raises(ValueError, match="cannot be parted"):
            hold_out(labels, None, rows, fraction, seed)
    else:
        for ours, part in zip(hold_out(labels, None, rows, fraction, seed), theirs):
            assert ours.tolist() == part.tolist()
    folds = int(min(np.unique(y, return_counts=True)[1].min(), 5))
    if folds > 1:
        theirs = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, y)
        for ours, parts in zip(k_folds(labels, None, rows, folds, seed), theirs, strict=True):
            assert [part.tolist() for part in ours] == [rows[part].tolist() for part in parts]
