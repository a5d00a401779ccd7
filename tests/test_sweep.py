"""What the command line offers for a mistyped key, and how it counts and times a sweep."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import subprocess
import sys
import time
from unittest.mock import Mock

import pytest

from imbalance_bench.cells import Outcome
from imbalance_bench.report.cli import main
from imbalance_bench.running.tally import VARIABLE, StopSweep, Tally, clock, differing
from imbalance_bench.settings.conf_files import CONF, keys_of
from imbalance_bench.sweep import Sweep


def test_keys_are_those_of_the_option_with_its_bases():
    assert keys_of("method", "focal") == {"gamma", "alpha"}
    assert {"amount", "k_neighbors"} == keys_of("method", "smote/balanced")
    assert {"amount", "trainer"} == keys_of("method", "random_oversampling/train_valid")
    assert keys_of("method", "smotte") == set()


PRESET = """\
# @package _global_
defaults:
  - override /protocol: holdout_kfold
protocol: {folds: 2}
trainer: {epochs: 2}
paper:
  name: mine
  table: small
  title: "Mine, a small one"
  metrics: [auc_pr]
  class_group: positive
  iterate: last
  rows: [dataset]
  columns: [method]
  sections: {paper: {cross_entropy: CE}}
  cells:
    - {dataset: [breast_cancer], trainer: [adam], method: [cross_entropy]}
    - {dataset: [wine], trainer: [sgd], method: [cross_entropy]}
"""


def test_a_preset_of_ones_own_trains_the_cells_of_its_blocks_and_reports(tmp_path, capsys):
    (tmp_path / "conf/paper/mine").mkdir(parents=True)
    (tmp_path / "conf/paper/mine/small.yaml").write_text(PRESET)
    command = [sys.executable, str(CONF.parent / "scripts/train.py"), "-m", "--config-dir", str(tmp_path / "conf")]
    done = subprocess.run(
        [*command, "+paper=mine/small", "device=cpu"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0
    assert [line.partition(" rows: ")[0] for line in done.stderr.splitlines()] == ["breast_cancer: 569", "wine: 178"]
    first, second, summary = done.stdout.splitlines()
    assert first.startswith("[1/2, ") and "cross_entropy breast_cancer native trainer=adam: auc_pr" in first
    assert second.startswith("[2/2] cross_entropy wine native trainer=sgd: auc_pr")
    assert summary.startswith("2 of 2 cells: 2 done, 0 skipped")
    options = ["--config-dir", str(tmp_path / "conf"), "--outputs", str(tmp_path / "outputs")]
    assert main([*options, "--paper", "mine", "--table", "small"]) == 0
    out = capsys.readouterr().out
    assert "# Mine, a small one" in out and "2 of 2 cells of this grid run" in out
    assert f"train.py -m --config-dir {tmp_path / 'conf'} +paper=mine/small" in out
    none = subprocess.run(
        [*command, "+paper=mine/small", "dataset=wine", "trainer=adam"], cwd=tmp_path, capture_output=True, text=True
    )
    assert none.returncode == 1 and none.stdout == ""
    assert none.stderr == (
        "error: no cell is left: small has dataset=wine with trainer=sgd only (paper.cells=null runs what you name)\n"
    )


@pytest.fixture
def tally(tmp_path, monkeypatch):
    monkeypatch.setattr(Tally, "current", None)
    monkeypatch.delenv(VARIABLE, raising=False)
    yield Tally.start(tmp_path, 3, "status.py")
    os.environ.pop(VARIABLE, None)


def test_the_tally_counts_what_became_of_the_jobs(tally):
    for job in range(3):
        tally.begin(job, f"job{job}")
    assert tally.end(0, "skipped", 0.0, False) == "[1/3] "
    assert tally.end(1, "done", 2.0, False).startswith("[2/3, ")
    assert tally.at_work() == ["job2"]
    assert tally.end(2, "failed", 0.0, True) == "[3/3] "
    assert tally.summary().startswith("3 of 3 cells: 1 done, 1 skipped (done before), 1 failed; ")
    assert tally.summary().endswith("; status.py shows why")
    assert tally.failures == 1


def test_cells_of_a_grid_are_told_apart_by_what_differs(tmp_path, monkeypatch):
    """In every process of the sweep."""
    jobs = [["method=focal", "trainer=sgd", f"trainer.lr={lr}", "+method.k=1"] for lr in (0.1, 0.01)]
    assert differing(jobs) == {"trainer.lr"}
    assert differing([*jobs, ["method=smote", "trainer=adam", "trainer.lr=0.1"]]) == {
        "trainer",
        "trainer.lr",
        "method.k",
    }
    assert differing([["method=a", "dataset=x"], ["method=b", "dataset=y"]]) == set()
    monkeypatch.setattr(Tally, "current", None)
    monkeypatch.setenv(VARIABLE, "")
    Tally.start(tmp_path, 2, "status.py", differing=differing(jobs))
    Tally.current = None
    assert Tally.find().named("focal ecoli native", jobs[1]) == "focal ecoli native trainer.lr=0.01"
    assert (
        Outcome("declined", {}, tmp_path, message="no").line("focal trainer.lr=0.1")
        == "focal trainer.lr=0.1: declined: no"
    )


def test_a_tally_that_is_damaged_or_gone_costs_no_more_than_what_it_held(tally):
    other = Tally(tally.path)  # of another process
    other.end(0, "done", 1.0, False)
    with tally.path.open("a") as file:
        file.write('{"job": 1\n[]\n{"job": 1, "status": "done", "seconds": "x", "failed": 0, "unrecorded": ""}\n')
    assert tally.end(1, "failed", 0.0, True, "no cell has this").startswith("[2/3, ")
    tally.path.unlink()
    assert tally.end(2, "done", 1.0, False) == "[3/3] "
    assert tally.summary().endswith("2 done, 0 skipped (done before), 1 failed; 0:00\n  no cell has this")


def test_an_outcome_counts_once_however_it_was_heard_of(tally):
    """From the file, or from the process that ran the job where the file did not take it."""
    worker = Tally(tally.path)
    worker.end(0, "done", 1.0, False)
    tally.hear(0, worker.ended[0])
    tally.path.unlink()
    worker._update()
    assert worker.end(1, "failed", 0.0, True) == ""  # of how many it knows nothing
    tally.hear(1, worker.ended[1])
    tally.hear(1, worker.ended[1])
    assert tally.summary(tally.unheard()).startswith("2 of 3 cells: 1 done, 0 skipped (done before), 1 failed; ")
    assert tally.summary(tally.unheard()).endswith("; how 1 ended is not known, status.py shows where they stand")


def test_a_line_that_was_cut_costs_none_after_it(tally, monkeypatch):
    """The disk was full for a moment."""
    real = os.fdopen

    def full(number, *mode):
        file = real(number, *mode)
        file.write('{"job": 0, "sta')
        file.close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    tally.end(0, "done", 1.0, False)
    monkeypatch.setattr(os, "fdopen", real)
    tally.end(1, "done", 1.0, False)
    assert list(Tally(tally.path).added())[1:] == [
        {"job": 1, "status": "done", "seconds": 1.0, "failed": False, "unrecorded": "", "line": ""}
    ]
    assert tally.unheard() == 1


def test_a_sweep_that_did_not_hear_of_a_cell_is_no_success(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Tally, "current", None)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv(VARIABLE, "")
    assert Sweep().run(lambda: Tally.start(tmp_path, 2, "status.py").end(0, "done", 1.0, False)) == 1
    assert "1 of 2 cells: 1 done, 0 skipped (done before), 0 failed; " in capsys.readouterr().out
    monkeypatch.setattr(Tally, "current", None)

    def stopped():
        Tally.start(tmp_path, 2, "status.py").end(0, "done", 1.0, False)
        raise StopSweep

    assert Sweep().run(stopped) == 0  # of those after it nothing was to be heard
    assert "not known" not in capsys.readouterr().out


def test_sweeps_of_one_folder_count_apart(tally):
    """The first one may be running still."""
    tally.end(0, "failed", 1.0, True)
    Tally.current = None
    other = Tally.start(tally.path.parent, 2, "status.py")
    other.end(0, "done", 1.0, False)
    assert tally.end(1, "done", 1.0, False).startswith("[2/3")
    assert (other.failures, tally.failures) == (0, 1)
    assert sorted(path.name for path in tally.path.parent.iterdir()) == ["outcomes.2.jsonl", "outcomes.jsonl"]


def test_no_time_is_negative_where_the_clock_is_set_back(tally, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    assert re.fullmatch(r"\[1/3, 0:0\d left\] ", tally.end(0, "done", 1.0, False))
    assert re.search(r"0 failed; 0:0\d$", tally.summary())


def test_the_tally_is_read_once(tally, monkeypatch):
    read = []
    monkeypatch.setattr(json, "loads", lambda text, loads=json.loads: read.append(text) or loads(text))
    for job in range(50):
        tally.begin(job, "a")
        tally.end(job, "done", 1.0, False)
    assert len(read) == 100


def test_a_sweep_composes_each_option_once_not_each_job():
    from imbalance_bench.sweep.grid import Grid

    files = Mock()
    files.options = lambda key: ["some"] if key in ("dataset", "method") else []
    jobs = [[f"dataset={d}", f"method={m}", f"method.k={k}"] for d in "abc" for m in "xyz" for k in (1, 2)]
    kept = Grid(None)._covering(jobs, files)
    # every data set, and every method with its key
    assert [" ".join(o[-1] for o in job) for job in kept] == ["a x 1", "a y 1", "a z 1", "b x 1", "c x 1"]
    assert Grid(None)._covering([[f"seed={seed}"] for seed in range(9)], files) == [["seed=0"]]


def test_a_long_sweep_says_what_it_does_before_the_first_cell(monkeypatch, capsys):
    from imbalance_bench.sweep.grid import EVERY, MANY, Grid

    now = itertools.count(step=EVERY / 50)
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    grid = Grid(None)
    grid.config, grid.hydra_context = object(), Mock()
    grid.hydra_context.config_loader.load_sweep_config.return_value = {}
    grid._compose([["seed=1"]] * (MANY - 1))
    assert capsys.readouterr().err == ""
    grid._compose([["seed=1"]] * MANY)
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "100 combinations: their settings are checked first"
    assert re.fullmatch(r"100 combinations: their settings are checked, \d+ so far, 0:\d\d left", second)


def test_the_clock():
    assert [clock(s) for s in (0, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]
