"""scripts/status.py over cells in every state."""

from __future__ import annotations

import io
import json
import time

import pytest

from imbalance_bench import status
from imbalance_bench.running import progress
from imbalance_bench.running.progress import Progress, following
from imbalance_bench.store import Store
from tests.records import cell, edit, write

PRESET = "+paper=miso/table3_cpu"
NARROW = [PRESET, "dataset=sms_spam", "backbone=textcnn", "method=cross_entropy,focal,miso"]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "outputs")


def shown(capsys, store, *arguments: str) -> tuple[int, list[str]]:
    code = status.main(["--outputs", str(store.runs.parent), *arguments])
    return code, capsys.readouterr().out.splitlines()


BROKEN = {"dataset": "oil", "ratio": "native", "backbone": "mlp", "method": "smote"}


def failing(store: Store) -> None:
    trace = "Traceback (most recent call last):\n  File x, line 1\n\n    y = 1 / 0\nZeroDivisionError: division by zero"
    broken = store.cell(BROKEN, "0123456789ab")
    broken.path.mkdir(parents=True)
    broken.fail("division by zero", trace)


def test_what_failed_is_shown_with_the_end_of_its_traceback(store, capsys):
    write(store.runs.parent, cell("focal"), [0.5, 0.6])
    failing(store)
    code, lines = shown(capsys, store, "--failed")
    assert code == 1
    assert lines == [
        "failed    oil/native/mlp/smote/0123456789ab",
        "          division by zero",
        "          | Traceback (most recent call last):",
        "          |   File x, line 1",
        "          |     y = 1 / 0",
        "          | ZeroDivisionError: division by zero",
        "1 done, 1 failed",
        f"what is not to be run again: `python scripts/status.py --outputs {store.runs.parent} --forget` removes what "
        "failed cells left",
    ]
    assert shown(capsys, store, "method=focal") == (0, ["1 done"])


def test_failed_cells_are_forgotten_and_records_stay(store, capsys):
    """Also that of a cell that failed when it was trained again; one that a process works on is not touched."""
    write(store.runs.parent, cell("focal"), [0.5, 0.6])
    kept = store.cells()[0]
    kept.fail("no room", "Traceback")
    failing(store)
    begun = store.cell({"dataset": "oil", "ratio": "native", "backbone": "mlp", "method": "dos"}, "0123456789ac")
    begun.path.mkdir(parents=True)  # its process died: the same command goes on
    assert shown(capsys, store, "--forget", "method=focal,dos")[1][0] == "none failed"
    _, (*_, hint) = shown(capsys, store, "method=smote")
    assert hint.startswith("what is not") and hint.split("`")[1].endswith("--forget method=smote")
    code, lines = shown(capsys, store, "--forget")
    assert code == 1  # of the one that was begun
    assert lines[:2] == ["removed   oil/native/mlp/smote/0123456789ab", "          division by zero"]
    assert lines[-1] == "1 done, 1 started" and (kept.path / "error.txt").exists() and kept.record()
    assert shown(capsys, store, "method=focal")[0] == 0 and not store.cell(BROKEN, "0123456789ab").path.exists()
    failing(store)
    with store.cell(BROKEN, "0123456789ab").lock():
        assert status.forget(store, [status.Seen("oil/native/mlp/smote/0123456789ab", BROKEN, "", "failed")]) == []
    assert shown(capsys, store, "--forget")[1][0].startswith("removed")


def test_a_running_cell_says_what_it_does(store, capsys):
    labels = {"dataset": "oil", "ratio": "native", "backbone": "mlp", "method": "smote"}
    running = store.cell(labels, "0123456789ab")
    clock = iter(range(0, 1000, 3))
    with running.lock():
        work = Progress("smote oil native", [running.path / progress.NAME], io.StringIO(), lambda: next(clock))
        with following(work):
            for epoch in range(1, 6):
                progress.report("training", epoch, 200, numbers={"loss": 0.25})
            code, lines = shown(capsys, store)
    assert code == 0
    assert lines[0] == "running   oil/native/mlp/smote/0123456789ab"
    assert lines[1].strip().startswith("training 5 of 200 epochs, loss 0.25, ")
    assert f"process {work.state(0, 0, '', 1)['process']}, 0 s ago" in lines[1]
    assert lines[2:] == ["1 running"]


def test_json_has_every_cell(store, capsys):
    write(store.runs.parent, cell("focal"), [0.5, 0.6])
    failing(store)
    code = status.main(["--outputs", str(store.runs.parent), "--json"])
    found = {entry["labels"]["method"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert code == 1
    assert {method: entry["state"] for method, entry in found.items()} == {"focal": "done", "smote": "failed"}
    assert found["smote"]["why"] == "division by zero"


def test_json_has_what_failed_where_that_is_asked_for(store, capsys):
    write(store.runs.parent, cell("focal"), [0.5, 0.6])
    failing(store)
    code, lines = shown(capsys, store, "--json", "--failed")
    assert code == 1
    assert [(found["state"], found["why"]) for found in json.loads("\n".join(lines))] == [
        ("failed", "division by zero")
    ]


def test_cells_of_other_code_are_stale(store, capsys):
    folder = write(store.runs.parent, cell("focal"), [0.5, 0.6])
    edit(folder, code={"imbalance_bench.methods.focal": "000000000000"})
    code, lines = shown(capsys, store, "--all")
    assert code == 0
    assert lines[0].startswith("stale     ecoli/native/mlp/focal/")
    assert lines[1].strip() == "made by other code (methods/focal.py): cache=overwrite trains it again"
    assert lines[-1] == "1 stale"


def test_of_a_preset_it_says_what_is_missing(store, capsys):
    cells = status.planned(store, "miso/table3_cpu", NARROW[1:], None)
    assert len(cells) == 3
    with cells[0].lock():
        pass
    code, lines = shown(capsys, store, *NARROW)
    assert code == 1
    assert lines[-1] == f"{len(cells) - 1} missing, 1 started"
    missing = [line for line in shown(capsys, store, *NARROW, "--failed")[1] if line.startswith("missing")]
    assert len(missing) == len(cells) - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+paper=miso"], "+paper=miso names no preset"),
        (["+paper=miso/table33"], "unknown preset miso/table33: did you mean table3"),
        (["metod=focal"], "no group 'metod' to select by: did you mean method"),
        (["method=focla"], "no cell has method=focla: did you mean focal"),
        (["method=focal", "dataset=oil"], "no cell has all of method=focal dataset=oil"),
        (["--outputs", "nowhere"], "--outputs nowhere: there is no such folder"),
    ],
)
def test_a_mistyped_word_is_one_message(store, capsys, arguments, message):
    write(store.runs.parent, cell("focal"), [0.5, 0.6])
    write(store.runs.parent, cell("smote", dataset="oil"), [0.5, 0.6])
    assert status.main(["--outputs", str(store.runs.parent), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_watching_ends_with_the_last_cell(store, capsys, monkeypatch):
    labels = {"dataset": "oil", "ratio": "native", "backbone": "mlp", "method": "smote"}
    running = store.cell(labels, "0123456789ab")
    lock = running.lock()
    lock.__enter__()
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            lock.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", sleep)
    code, lines = shown(capsys, store, "--watch")
    assert code == 1 and slept == [status.EVERY] * 2
    assert [line for line in lines if line.startswith("1 ")] == ["1 running", "1 running", "1 started"]
