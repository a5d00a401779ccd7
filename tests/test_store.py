"""Run folders: files whole or not at all, one process a cell, and what state a cell is in."""

from __future__ import annotations

import copy
import errno
import fcntl
import json
import os
import re
import shutil
import threading

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.registry import GROUPS
from imbalance_bench.store import SCHEMA, CellFolder, Damaged, Store, file_of
from imbalance_bench.store.files import atomic_write
from imbalance_bench.store.index import entries_of

ID = "0123456789ab"
LABELS = dict.fromkeys(GROUPS, "any") | {"dataset": "oil", "ratio": "native", "backbone": "mlp", "method": "smote"}
RUN = {
    "run": 0, "fold": 0, "repeat": 0, "failure": None, "subset_hash": "a", "test_hash": "b", "n_train": 8, "n_test": 2
}  # fmt: skip
RECORD = {
    "schema": SCHEMA, "id": ID, "status": "done", "labels": LABELS, "config": {group: {} for group in GROUPS},
    "seconds": 1.5, "provenance": {}, "kind": "classification",
    "data": {"classes": 2, "class_names": ["no", "yes"], "features": 2},
    "headline": {"metric": "auc_pr", "class_group": "positive", "iterate": "last", "mean": 0.5, "sd": 0.0},
    "runs": [RUN],
}  # fmt: skip


def declined(cell_id):
    facts = ("schema", "labels", "config", "seconds", "provenance")
    return {key: RECORD[key] for key in facts} | {"id": cell_id, "status": "declined", "reason": "binary only"}


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


@pytest.fixture
def cell(tmp_path):
    return Store(tmp_path).cell(LABELS, ID)


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
    assert cell.path == tmp_path / "runs" / "oil" / "native" / "mlp" / "smote" / ID


@pytest.mark.parametrize(
    "label, folder", [("mine/smote", "mine_smote"), ("..", "_."), ("../up", "_._up"), ("a b:c", "a_b_c"), ("5", "5")]
)
def test_no_label_leads_elsewhere(tmp_path, label, folder):
    made = Store(tmp_path).cell(LABELS | {"method": label}, ID)
    assert made.path == tmp_path / "runs" / "oil" / "native" / "mlp" / folder / ID
    made.finish(RECORD)
    assert [r["path"] for r in Store(tmp_path).records()] == [made.path]


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
    cell.finish(declined(ID))
    assert cell.state() == "declined"
    assert cell.error() == ""
    cell.finish(RECORD)
    assert cell.state() == "done"
    assert cell.record() == RECORD | {"files": {}, "path": cell.path}


def test_only_one_may_work_on_a_cell(cell):
    with cell.lock() as first:
        with cell.lock() as second:
            assert (first, second) == (True, False)
        assert cell.locked()  # the second one's leaving frees nothing
    assert not cell.locked()
    with cell.lock() as third:
        assert third


def test_whoever_looks_makes_no_cell_busy(cell, monkeypatch):
    """status.py looks at the moment when a cell is to be trained; another status.py sees no process at work."""
    with cell.lock():
        pass
    seen, real = [], fcntl.flock

    def flock(file, operation):
        real(file, operation)
        monkeypatch.setattr(fcntl, "flock", real)
        seen.append(cell.locked())
        threading.Timer(0.05, real, [file.fileno(), fcntl.LOCK_UN]).start()
        with cell.lock() as mine:
            seen.append(mine)

    monkeypatch.setattr(fcntl, "flock", flock)
    cell.locked()
    assert seen == [False, True]


def test_a_running_cell_is_seen_on_a_network_file_system(cell, monkeypatch):
    """Where locks are those of byte ranges: to hold one alone, a file must be open for writing."""
    real = fcntl.flock

    def flock(file, operation):
        if operation & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with cell.lock() as mine:
        assert mine and cell.state() == "running"


def test_the_lock_is_freed_when_the_work_raises(cell):
    with pytest.raises(KeyboardInterrupt), cell.lock():
        raise KeyboardInterrupt
    with cell.lock() as mine:
        assert mine


def test_records_are_those_of_finished_cells(tmp_path, cell):
    store = Store(tmp_path)
    assert store.records() == []
    failed = store.cell(LABELS, "f" * 12)
    failed.fail("no", "trace")
    with store.cell(LABELS, "e" * 12).lock():
        pass
    cell.finish(RECORD)
    assert [(r["id"], r["path"]) for r in store.records()] == [(ID, cell.path)]
    assert [c.state() for c in store.cells()] == ["done", "started", "failed"]


def without(record, *keys):
    """A record without one of its keys, e.g. "runs", 0, "fold"."""
    changed = copy.deepcopy(record)
    place = changed
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return changed


LACKING = [(key,) for key in RECORD] + [
    ("labels", "trainer"), ("config", "method"), ("data", "classes"), ("headline", "mean"), ("runs", 0, "subset_hash"),
]  # fmt: skip
WRONG = [{"status": 1}, {"status": "half"}, {"runs": {}}, {"runs": [1]}, {"labels": []}, {"config": None}, {"files": 3}]


@pytest.mark.parametrize(
    "content",
    [b'{"status": "do', b"", b"\xff\xfe\x00", b"[]", b"null", b"[" * 100_000]
    + [json.dumps(without(RECORD, *keys)).encode() for keys in LACKING]
    + [json.dumps(RECORD | wrong).encode() for wrong in WRONG],
)
def test_a_damaged_record_is_named_and_blocks_no_other(tmp_path, cell, content):
    cell.path.mkdir(parents=True)
    (cell.path / "record.json").write_bytes(content)
    message = re.escape(str(cell.path / "record.json")) + " is damaged.*delete its folder"
    assert cell.state() == "damaged"
    with pytest.raises(Damaged, match=message):
        cell.record()
    other = Store(tmp_path).cell(LABELS, "f" * 12)
    other.finish(declined("f" * 12))
    entries, damaged = entries_of(Store(tmp_path))
    assert [entry.cell.path for entry in entries] == [other.path]
    assert [r["id"] for r in Store(tmp_path).records()] == ["f" * 12]
    assert [error.folder for error in damaged] == [cell.path]


def test_a_copied_folder_and_another_schema_do_not_count(tmp_path, cell):
    cell.finish(RECORD, {"metrics.csv": "a"})
    copied, older = cell.path.with_name(f"{ID}_copy"), Store(tmp_path).cell(LABELS, "a" * 12)
    shutil.copytree(cell.path, copied)
    older.finish(RECORD | {"id": "a" * 12, "schema": SCHEMA - 1})
    entries, damaged = entries_of(Store(tmp_path))
    assert [entry.cell.path for entry in entries] == [cell.path]
    assert [r["path"] for r in Store(tmp_path).records()] == [cell.path]
    assert {error.folder: error.state for error in damaged} == {copied: "damaged", older.path: "outdated"}
    assert (CellFolder(copied).state(), older.state()) == ("damaged", "outdated")
    said = "; ".join(map(str, damaged))
    assert f"is that of cell {ID}" in said and f"has schema {SCHEMA - 1}" in said


@pytest.mark.parametrize("schema, cure", [(SCHEMA - 1, "run again"), (SCHEMA + 1, "newer code")])
def test_a_record_of_another_schema_is_outdated_whatever_its_keys_are(cell, schema, cure):
    cell.path.mkdir(parents=True)
    (cell.path / "record.json").write_text(json.dumps({"id": ID, "schema": schema, "numbers": [0.5]}))
    with pytest.raises(Damaged, match=f"has schema {schema}, numbers of this code have {SCHEMA}: .*{cure}"):
        cell.record()
    assert cell.state() == "outdated"


@pytest.mark.parametrize("damage", [lambda p: p.write_text("metric,1.860"), lambda p: p.unlink(), cut])
def test_a_file_that_is_not_what_was_written_is_damaged(cell, damage):
    cell.finish(RECORD, {"metrics.csv": "metric,0.860", "config.yaml": "a: 1"})
    assert cell.state() == "done" and cell.damage() == ""
    record = cell.record()
    assert file_of(record, "metrics.csv") == b"metric,0.860"
    damage(cell.path / "metrics.csv")
    assert cell.state() == "damaged"
    assert re.search(f"metrics.csv is (damaged|missing).*scripts/rescore.py {ID} --outputs", cell.damage())
    with pytest.raises(Damaged):
        file_of(record, "metrics.csv")
    assert file_of(record, "config.yaml") == b"a: 1"


def test_a_record_without_sums_is_believed(cell):
    cell.finish(RECORD, {"metrics.csv": "metric,0.860"})
    (cell.path / "record.json").write_text(json.dumps(RECORD))
    (cell.path / "metrics.csv").write_text("metric,0.861")
    assert cell.state() == "done"
    assert file_of(cell.record(), "metrics.csv") == b"metric,0.861"


def test_a_record_that_was_edited_is_damaged(cell):
    cell.finish(RECORD, {"metrics.csv": "a"})
    path = cell.path / "record.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written, indent=1))  # another layout of the same
    assert cell.state() == "done" and cell.record() == RECORD | {"path": cell.path, "files": cell.record()["files"]}
    path.write_text(json.dumps(written | {"headline": written["headline"] | {"mean": 0.99}}))
    assert cell.state() == "damaged"
    with pytest.raises(Damaged, match="record.json is not what the run wrote: train the cell again with cache=overwri"):
        cell.record()
    path.write_text(json.dumps(written))
    cell.amend(cell.record() | {"headline": written["headline"] | {"mean": 0.25}}, {"metrics.csv": "b"})  # a rescore
    assert cell.state() == "done" and cell.record()["headline"]["mean"] == 0.25


def test_labels_that_were_written_as_numbers_are_read_as_text(tmp_path, cell):
    cell.finish(RECORD | {"labels": RECORD["labels"] | {"dataset": 2024, "method": None}})
    assert Store(tmp_path).records()[0]["labels"]["dataset"] == "2024"
    assert Store(tmp_path).records()[0]["labels"]["method"] == "None"


def test_a_record_that_an_empty_label_wrote_too_high_is_found(tmp_path):
    high = CellFolder(tmp_path / "runs" / "native" / "mlp" / "smote" / ID)
    high.finish(RECORD)
    (high.path / "tensorboard").mkdir()
    assert [c.path for c in Store(tmp_path).cells()] == [high.path]


@pytest.mark.parametrize(
    "content, first", [(b"", "error.txt is empty"), (b"\xff no", "\ufffd no"), (b"\n", "error.txt")]
)
def test_a_damaged_error_file_is_still_a_reason(cell, content, first):
    cell.path.mkdir(parents=True)
    (cell.path / "error.txt").write_bytes(content)
    assert cell.state() == "failed"
    assert cell.error().splitlines()[0].startswith(first)


def test_a_record_is_plain_json(cell):
    cell.finish(RECORD)
    stored = json.loads((cell.path / "record.json").read_text())
    assert {key: value for key, value in stored.items() if key != "sum"} == RECORD | {"files": {}}


def test_strays_of_a_killed_process_are_no_cells_and_no_records(tmp_path, cell):
    cell.path.mkdir(parents=True)
    (cell.path / ".record.json.4711").write_text('{"stat')
    (cell.path.parent / "notes.txt").write_text("")
    assert [c.path for c in Store(tmp_path).cells()] == [cell.path]
    assert cell.state() == "started"
    assert Store(tmp_path).records() == []
