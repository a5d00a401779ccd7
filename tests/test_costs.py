"""What cells may cost: from made-up records, by hand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from imbalance_bench import run
from imbalance_bench.running.tally import VARIABLE, Tally
from imbalance_bench.sweep import costs as module
from imbalance_bench.sweep.costs import costs
from imbalance_bench.sweep.launchers import Processes

# method, data set, rows, seconds
SEEN = [
    ("focal", "wine", 100, 2.0),
    ("focal", "oil", 200, 6.0),
    ("focal", "oil", 200, 10.0),
    ("smote", "wine", 100, 50.0),
    ("smote_half", "oil", 200, 7.0),
]


@pytest.fixture
def outputs(tmp_path, monkeypatch) -> Path:
    records = {}
    for count, (method, dataset, rows, seconds) in enumerate(SEEN):
        path = tmp_path / "runs" / dataset / f"ratio{count}" / "mlp" / method / "id"
        path.mkdir(parents=True)
        (path / "record.json").touch()
        labels = {"method": method, "dataset": dataset}
        records[path] = {"status": "done", "labels": labels, "data": {"rows": rows}, "seconds": seconds}
    monkeypatch.setattr(module.CellFolder, "record", lambda cell: records.get(cell.path))
    return tmp_path


def test_a_cell_costs_what_those_like_it_took(outputs):
    jobs = [
        ["method=focal", "dataset=oil"],  # the median of 6 and 10
        ["method=smote", "dataset=oil"],  # 50 s for 100 rows: twice that
        ["method=focal", "dataset=new"],  # of the method: 2 and 8, on data of unknown size
        ["method=new"],  # of the data set: 2 and 50
        ["method=new", "dataset=new"],  # the mean
    ]
    assert costs(jobs, {"method": "focal", "dataset": "wine"}, outputs) == [8.0, 100.0, 5.0, 26.0, 34.75]
    assert costs([["method=new", "dataset=new"]], {}, outputs) == []
    assert costs([["method=smote/half", "dataset=oil"]], {}, outputs) == [7.0]  # a variant has a label of its own
    assert costs(jobs, {}, outputs / "elsewhere") == []


def test_a_cost_is_looked_up_once_however_many_jobs_have_it(outputs, monkeypatch):
    asked, cost = [], module._cost
    monkeypatch.setattr(module, "_cost", lambda *of: asked.append(of[:2]) or cost(*of))
    jobs = [[f"method={method}", f"seed={seed}"] for seed in range(20) for method in ("focal", "new")]
    assert costs(jobs, {"dataset": "oil"}, outputs) == [8.0, 7.5] * 20
    assert asked == [("focal", "oil"), ("new", "oil")]


def test_a_cell_that_its_method_declined_says_nothing_of_costs(tmp_path):
    """Its record holds no data: as written for real."""
    declined = ["method=gaussian_process", "method.max_rows=10", "dataset=breast_cancer"]
    assert run(*declined, "device=cpu", f"paths.outputs={tmp_path}")["status"] == "declined"
    assert costs([declined, ["method=focal"]], {}, tmp_path) == []


def test_a_trained_cell_beside_declined_ones_counts(outputs, monkeypatch):
    path = outputs / "runs/oil/native/mlp/focal"
    declined = {path / name: {"status": "declined", "seconds": 1.0} for name in ("a", "b")}
    trained = {"status": "done", "labels": {"method": "rare", "dataset": "oil"}, "data": {"rows": 200}, "seconds": 3.0}
    records = declined | {path / "c": trained}
    for cell in records:
        cell.mkdir(parents=True)
        (cell / "record.json").touch()
    monkeypatch.setattr(module.CellFolder, "record", lambda cell: records.get(cell.path))
    assert costs([["method=rare", "dataset=oil"]], {}, outputs) == [3.0]


@pytest.fixture
def tally(tmp_path, monkeypatch) -> Tally:
    monkeypatch.setattr(Tally, "current", None)
    monkeypatch.setenv(VARIABLE, "")
    return Tally.start(tmp_path, 3, "status.py", [1.0, 10.0, 4.0])


def test_the_time_left_is_by_cost(tally, monkeypatch):
    begun = tally.begun_at
    monkeypatch.setattr(time, "monotonic", lambda: begun + 2.0)
    assert tally.end(0, "done", 2.0, False) == "[1/3, 0:28 left] "  # a unit took 2 s, and 14 are left
    monkeypatch.setattr(time, "monotonic", lambda: begun + 22.0)
    assert tally.end(1, "done", 20.0, False) == "[2/3, 0:08 left] "
    assert tally.end(2, "skipped", 0.0, False) == "[3/3] "


@pytest.mark.parametrize("processes, order", [(2, [1, 2, 0]), (1, [0, 1, 2])])
def test_several_processes_take_the_longest_first(tally, processes, order):
    launcher = Processes(processes)
    launcher.overrides = {0: [], 1: [], 2: []}
    assert launcher.pieces() == [[number] for number in order]
