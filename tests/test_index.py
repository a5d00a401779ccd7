"""The index of records: what it spares, and that it is never believed over them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imbalance_bench import rescore, status
from imbalance_bench.report.records.records import survey
from imbalance_bench.report.sheets.summary import summary
from imbalance_bench.store import Store, index
from imbalance_bench.store.index import NAME, Index, entries_of
from tests.records import cell, edit, write
from tests.test_store import LABELS, RECORD

COUNT = 50


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """50 cells, of which an index is made; files count as settled at once."""
    monkeypatch.setattr(index, "FEW", 0)
    monkeypatch.setattr(index, "SETTLED", -1.0)
    for number in range(COUNT):
        name = f"{number:012x}"
        made = Store(tmp_path).cell(LABELS | {"dataset": ("oil", "ecoli")[number % 2]}, name)
        labels = LABELS | {"dataset": ("oil", "ecoli")[number % 2]}
        made.finish(RECORD | {"id": name, "labels": labels}, {"metrics.csv": "run\n", "config.yaml": f"{number}"})
    return tmp_path / "runs"


@pytest.fixture
def read(monkeypatch):
    """The files that were read, by name."""
    files: list[str] = []
    whole = Path.read_bytes

    def noted(self):
        if self.name != NAME and self.suffix != ".py":
            files.append(self.name)
        return whole(self)

    monkeypatch.setattr(Path, "read_bytes", noted)
    return files


def states(runs: Path) -> dict[str, str]:
    return {seen.id: seen.state for seen in status.survey(Index(Store(runs.parent)), [])}


def test_what_did_not_change_is_not_read_again(runs, read):
    before = states(runs)
    assert set(before.values()) == {"done"} and len(before) == COUNT
    assert len(read) == 3 * COUNT and (runs / NAME).is_file()
    read.clear()
    assert states(runs) == before
    assert read == []


def test_the_entries_are_the_same_with_and_without_it(runs):
    def all_of() -> list[tuple]:
        entries, damaged = entries_of(Store(runs.parent))
        assert not damaged
        return [(e.cell.path, e.status, e.names, e.code, e.files, e.few, e.diverged) for e in entries]

    first = all_of()
    assert len(first) == COUNT and all_of() == first
    (runs / NAME).unlink()
    assert all_of() == first


def test_an_edited_record_is_read_anew(runs, read):
    states(runs)
    first, second = sorted(runs.glob("*/*/*/*/*"))[:2]
    edit(first, headline={"metric": "auc_pr"})
    edit(second, runs=[RECORD["runs"][0] | {"failure": "the loss is nan"}])
    read.clear()
    found = {seen.id: seen for seen in status.survey(Index(Store(runs.parent)), [])}
    assert found[first.name].state == "damaged" and "no valid headline." in found[first.name].why
    assert found[second.name].notes == [("diverged", "fold 0 repeat 0: the loss is nan")]
    assert read.count("record.json") == 2
    assert {seen.state for name, seen in found.items() if name != first.name} == {"done"}


@pytest.mark.parametrize("harm", [lambda p: p.write_text("x" * len(p.read_text())), lambda p: p.unlink()])
def test_a_harmed_file_is_named_at_every_look(runs, harm):
    states(runs)
    folder = sorted(runs.glob("*/*/*/*/*"))[7]
    harm(folder / "config.yaml")
    for _ in range(2):
        found = {seen.id: seen for seen in status.survey(Index(Store(runs.parent)), [])}
        assert found[folder.name].state == "damaged" and "config.yaml" in found[folder.name].why
        assert sum(seen.state == "done" for seen in found.values()) == COUNT - 1


def test_cells_that_went_and_came(runs):
    states(runs)
    gone = sorted(runs.glob("*/*/*/*/*"))[3]
    shutil.rmtree(gone)
    Store(runs.parent).cell(LABELS, "a" * 12).finish(RECORD | {"id": "a" * 12})
    for _ in range(2):
        found = states(runs)
        assert len(found) == COUNT and found["a" * 12] == "done" and gone.name not in found
    assert gone.name not in (runs / NAME).read_text() and "a" * 12 in (runs / NAME).read_text()


def test_a_file_that_may_still_be_written_within_one_tick_is_not_taken_as_known(runs, read, monkeypatch):
    monkeypatch.setattr(index, "SETTLED", 3600.0)
    states(runs)
    read.clear()
    states(runs)
    assert read.count("record.json") == COUNT


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"a b\n{}", "cut", "flipped"],
    ids=["empty", "json", "bytes", "head", "cut", "bit"],
)
def test_a_damaged_index_is_made_again(runs, content):
    before = states(runs)
    whole = (runs / NAME).read_bytes()
    damaged = {"cut": whole[:-9], "flipped": whole.replace(b'"done"', b'"dane"', 1)}.get(content, content)
    (runs / NAME).write_bytes(damaged)
    assert states(runs) == before
    assert (runs / NAME).read_bytes() == whole


def test_an_index_of_other_code_does_not_count(runs, read, monkeypatch):
    states(runs)
    read.clear()
    monkeypatch.setattr(index, "_version", lambda: "0")
    assert set(states(runs).values()) == {"done"}
    assert read.count("record.json") == COUNT


def test_where_nothing_can_be_written_there_is_no_index_and_one_line(runs, monkeypatch, capsys):
    monkeypatch.setattr(index, "MANY", 0)

    whole = Path.open

    def refused(self, mode="r", *more, **options):
        if "w" in mode:
            raise PermissionError(13, "Permission denied")
        return whole(self, mode, *more, **options)

    monkeypatch.setattr(Path, "open", refused)
    assert set(states(runs).values()) == {"done"}
    said = capsys.readouterr().err
    assert said == f"note: cannot write {runs / NAME} (Permission denied): each command reads all records\n"
    assert not (runs / NAME).exists() and not list(runs.glob("..*"))


def test_two_commands_at_once(runs):
    """Each writes a whole file, and either will do."""
    found: list[dict[str, str]] = []
    threads = [threading.Thread(target=lambda: found.append(states(runs))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(one == found[0] for one in found)
    assert states(runs) == found[0]


def test_a_report_of_some_reads_only_those(tmp_path, read, monkeypatch):
    monkeypatch.setattr(index, "FEW", 0)
    monkeypatch.setattr(index, "SETTLED", -1.0)
    for number in range(10):
        write(tmp_path, cell("focal", options={"method": {"gamma": number}}), [0.5, 0.6])
    write(tmp_path, cell("smote"), [0.4, 0.6])
    whole = summary(Store(tmp_path), ["method=smote"])
    read.clear()
    again = summary(Store(tmp_path), ["method=smote"])
    assert again.blocks == whole.blocks and again.notes == whole.notes
    assert sorted(read) == ["metrics.csv", "record.json"]


def test_records_share_their_keys_and_what_is_equal_in_them(tmp_path):
    """Else a hundred thousand of them would take gigabytes."""
    for number in range(2):
        write(tmp_path, cell("focal", options={"method": {"gamma": number}}), [0.5, 0.6])
    (one, two), _ = survey(Store(tmp_path), [], lambda record: None)
    assert one["config"]["trainer"] is two["config"]["trainer"] and one["data"] is two["data"]

    def keys(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from value
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from keys(inner)

    assert {id(key) for key in keys(one)} == {id(key) for key in keys(two)}


def test_records_of_an_older_schema_are_named_without_being_read_again(runs, read, capsys):
    for folder in sorted(runs.glob("*/*/*/*/*"))[:20]:
        edit(folder, schema=1)
    assert sorted(states(runs).values()) == ["done"] * 30 + ["outdated"] * 20
    read.clear()
    found = status.survey(Index(Store(runs.parent)), [])
    assert sum("has schema 1" in seen.why for seen in found) == 20
    assert read == []
    assert rescore.main(["--outputs", str(runs.parent), "dataset=oil", f"{1:012x}"]) == 1  # which is of ecoli
    assert "no cell has" in capsys.readouterr().err


def test_a_small_folder_has_none(tmp_path):
    write(tmp_path, cell("focal"), [0.5, 0.6])
    assert status.main(["--outputs", str(tmp_path)]) == 0
    assert not (tmp_path / "runs" / NAME).exists()
