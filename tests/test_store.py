"""Run folders: files whole or not at all, one process a cell, and what state a cell is in."""

from __future__ import annotations

import errno
import json
import os
import re

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.store import Store, atomic_write

LABELS = {"dataset": "oil", "ratio": "native", "backbone": "mlp", "method": "smote"}


@pytest.fixture
def cell(tmp_path):
    return Store(tmp_path).cell(LABELS, "0123456789ab")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "deep" / "er" / "file.txt"
    atomic_write(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    atomic_write(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code, reason", [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota")])
def test_a_full_disk_leaves_the_earlier_file_and_names_the_override(tmp_path, monkeypatch, call, code, reason):
    path = tmp_path / "file.txt"
    atomic_write(path, "earlier")

    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(BenchError, match=re.escape(f"cannot write {path}: {reason}") + ".*paths.outputs="):
        atomic_write(path, "later")
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("below", ["file.txt", "folder/file.txt"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path, below):
    (tmp_path / "outputs").write_text("")
    with pytest.raises(BenchError, match="a file stands where a folder should be.*paths.outputs="):
        atomic_write(tmp_path / "outputs" / below, "text")
    assert names(tmp_path) == ["outputs"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BenchError, match="no permission"):
        atomic_write(tmp_path / "file.txt", "text")


def test_a_cell_lies_under_its_labels(tmp_path, cell):
    assert cell.path == tmp_path / "runs" / "oil" / "native" / "mlp" / "smote" / "0123456789ab"


@pytest.mark.parametrize(
    "label, folder", [("mine/smote", "mine_smote"), ("..", "_."), ("../up", "_._up"), ("a b:c", "a_b_c"), (5, "5")]
)
def test_no_label_leads_elsewhere(tmp_path, label, folder):
    made = Store(tmp_path).cell(LABELS | {"method": label}, "a")
    assert made.path == tmp_path / "runs" / "oil" / "native" / "mlp" / folder / "a"
    made.finish({"status": "done"})
    assert Store(tmp_path).find("a") is not None


def test_the_states_of_a_cell(cell):
    with cell.lock() as mine:
        assert mine
        assert cell.state() == "running"
    assert cell.state() == "started"
    cell.fail("what is wrong", "Traceback ...")
    assert cell.state() == "failed"
    assert cell.error().splitlines()[0] == "what is wrong"
    with cell.lock():
        assert cell.state() == "running"
    cell.finish({"status": "declined", "reason": "binary only"})
    assert cell.state() == "declined"
    assert cell.error() == ""
    cell.finish({"status": "done"})
    assert cell.state() == "done"
    assert cell.record() == {"status": "done", "path": cell.path}
    cell.reset()
    assert cell.state() == "started"
    cell.reset()


def test_only_one_may_work_on_a_cell(cell):
    with cell.lock() as first:
        with cell.lock() as second:
            assert (first, second) == (True, False)
        assert cell.locked()  # the second one's leaving frees nothing
    assert not cell.locked()
    with cell.lock() as third:
        assert third


def test_the_lock_is_freed_when_the_work_raises(cell):
    with pytest.raises(KeyboardInterrupt), cell.lock():
        raise KeyboardInterrupt
    with cell.lock() as mine:
        assert mine


def test_records_are_those_of_finished_cells(tmp_path, cell):
    store = Store(tmp_path)
    assert store.records() == []
    assert store.find("0123456789ab") is None
    failed = store.cell(LABELS, "f" * 12)
    failed.fail("no", "trace")
    with store.cell(LABELS, "e" * 12).lock():
        pass
    cell.finish({"status": "done", "id": "0123456789ab"})
    assert [r["id"] for r in store.records()] == ["0123456789ab"]
    assert store.find("0123456789ab")["path"] == cell.path
    assert store.find("f" * 12) is None
    assert [c.state() for c in store.cells()] == ["done", "started", "failed"]


@pytest.mark.parametrize("content", [b'{"status": "do', b"", b"\xff\xfe\x00", b"[]", b"null"])
def test_a_damaged_record_is_an_error_that_says_what_to_do(tmp_path, cell, content):
    cell.path.mkdir(parents=True)
    (cell.path / "record.json").write_bytes(content)
    message = re.escape(str(cell.path / "record.json")) + " is damaged.*delete its folder"
    assert cell.state() == "damaged"
    for read in (cell.record, Store(tmp_path).records, lambda: Store(tmp_path).find("0123456789ab")):
        with pytest.raises(BenchError, match=message):
            read()


def test_a_record_is_plain_json(cell):
    cell.finish({"status": "done", "seconds": 1.5})
    assert json.loads((cell.path / "record.json").read_text()) == {"status": "done", "seconds": 1.5}


def test_strays_of_a_killed_process_are_no_cells_and_no_records(tmp_path, cell):
    cell.path.mkdir(parents=True)
    (cell.path / ".record.json.4711").write_text('{"stat')
    (cell.path.parent / "notes.txt").write_text("")
    assert [c.path for c in Store(tmp_path).cells()] == [cell.path]
    assert cell.state() == "started"
    assert Store(tmp_path).records() == []
