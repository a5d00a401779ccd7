"""What the command line offers for a mistyped key, and how it counts and times a sweep."""

from __future__ import annotations

import subprocess
import sys

import pytest

from imbalance_bench.sweep import CONF, Tally, chosen, clock, excluded, keys_of


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


MATCHED = {
    "table": "table6",
    "matched": {
        "dataset": {"mnist": {"trainer": ["short"]}, "svhn": {"trainer": ["short", "long"], "ratio": ["native"]}}
    },
}


@pytest.mark.parametrize(
    ("dataset", "trainer", "ratio", "belongs"),
    [
        ("mnist", "short", "step", True),
        ("mnist", "long", "step", False),
        ("svhn", "long", "native", True),
        ("svhn", "long", "step", False),
        ("digits", "long", "step", True),  # no rule, no limit
    ],
)
def test_matched_options_go_together(dataset, trainer, ratio, belongs):
    reason = excluded(MATCHED, {"method": "cnn", "dataset": dataset, "trainer": trainer, "ratio": ratio})
    assert (reason is None) == belongs
    if dataset == "mnist" and not belongs:
        assert reason == "table6 has dataset=mnist with trainer=short only (paper.matched=null runs all)"


PRESET = """\
# @package _global_
defaults:
  - override /protocol: holdout_kfold
protocol: {folds: 2}
trainer: {epochs: 2}
hydra:
  sweeper:
    params: {dataset: "breast_cancer,wine", trainer: "adam,sgd", method: "cross_entropy"}
paper:
  name: mine
  table: small
  matched: {dataset: {breast_cancer: {trainer: [adam]}, wine: {trainer: [sgd]}}}
"""


def test_a_sweep_neither_runs_nor_counts_what_does_not_match(tmp_path):
    (tmp_path / "conf/paper/mine").mkdir(parents=True)
    (tmp_path / "conf/paper/mine/small.yaml").write_text(PRESET)
    command = [sys.executable, str(CONF.parent / "scripts/train.py"), "-m", "--config-dir", str(tmp_path / "conf")]
    done = subprocess.run(
        [*command, "+paper=mine/small", "device=cpu"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stderr == ""
    first, second, summary = done.stdout.splitlines()
    assert first.startswith("[1/2, ") and "cross_entropy breast_cancer native: auc_pr" in first
    assert second.startswith("[2/2] cross_entropy wine native: auc_pr")
    assert summary.startswith("2 of 2 cells: 2 done, 0 skipped")
    none = subprocess.run(
        [*command, "+paper=mine/small", "dataset=wine", "trainer=adam"], cwd=tmp_path, capture_output=True, text=True
    )
    assert none.stdout == "no cells: small has dataset=wine with trainer=sgd only (paper.matched=null runs all)\n"


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
