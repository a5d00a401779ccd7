"""What the command line offers for a mistyped key, and how it counts and times a sweep."""

from __future__ import annotations

from imbalance_bench.sweep import Tally, chosen, clock, excluded, keys_of


def test_keys_are_those_of_the_chosen_option_with_its_bases():
    assert keys_of("method", "focal") == {"gamma", "alpha"}
    assert {"amount", "k_neighbors"} == keys_of("method", "smote_balanced")
    assert {"amount", "trainer"} == keys_of("method", "random_oversampling_train_valid")
    assert {"gamma", "k_neighbors", "eta2"} <= keys_of("method")
    assert {"seed", "device", "method", "dataset"} <= keys_of("")


def test_the_chosen_option_is_read_off_the_command_line():
    assert chosen("method", ["-m", "method=focal", "seed=1"]) == "focal"
    assert chosen("method", ["method=focal,smote"]) is None
    assert chosen("method", ["method.gamma=1"]) is None


def test_a_restricted_method_is_outside_other_cells():
    paper = {"table": "table3", "restrict": {"mesa": {"dataset": ["isolet"]}}}
    assert excluded(paper, {"method": "mesa", "dataset": "isolet"}) is None
    assert "dataset=isolet" in excluded(paper, {"method": "mesa", "dataset": "oil"})
    assert excluded(paper, {"method": "smote", "dataset": "oil"}) is None
    assert excluded(None, {"method": "mesa", "dataset": "oil"}) is None


def test_the_tally_counts_what_became_of_the_jobs(tmp_path):
    tally = Tally(tmp_path)
    tally.start(3)
    assert tally.add("skipped", 0.0, False) == "[1/3] "
    assert tally.add("done", 2.0, False).startswith("[2/3, ")
    assert tally.add("failed", 0.0, True) == "[3/3] "
    assert tally.summary().startswith("3 of 3 cells: 1 done, 1 skipped (done before), 1 failed; ")
    assert tally.failures == 1
    Tally.current = None


def test_the_clock():
    assert [clock(s) for s in (0, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]
