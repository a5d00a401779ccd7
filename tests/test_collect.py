"""Records in one file: what collect writes and report reads in place of run folders."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.report import cli, paper
from imbalance_bench.report import collect as command
from imbalance_bench.report.collect import collect
from imbalance_bench.report.figures import figure
from imbalance_bench.report.records import collected
from imbalance_bench.report.records.collected import Collection, numbers_of
from imbalance_bench.report.records.records import numbers, tidy
from imbalance_bench.report.sheets.summary import summary
from imbalance_bench.store import SCHEMA, NotCollected, Store
from tests.records import cell, decline, edit, fail, preset, write

VALUES = [0.1 + 0.2, 1 / 3, 5e-324, float("nan")]
LATER = {"date": "2026-02-01T00:00:00+00:00"}


def planted(outputs):
    """Cells of two data sets with numbers of both parts, one of them declined, one failed."""
    for i, dataset in enumerate(("ecoli", "oil")):
        for j, gamma in enumerate((1, 2)):
            made = cell("focal", dataset, options={"method": {"gamma": gamma}})
            values = [0.5 + (i + j) / 7, 0.6 + (i - j) / 3]
            write(outputs, made, values, best=values[::-1], valid=[0.4 + j / 9, 0.3], infos=[{}, {}])
        write(outputs, cell("smote", dataset), {"auc_pr": VALUES, "f1": VALUES[::-1]})
    decline(outputs, cell("cwgan", "ecoli"), "no pool")
    fail(outputs, cell("cwgan", "oil"), "out of memory")
    return outputs


def said(capsys, *words, status=0):
    """What report prints but for what names where the records are: lines, and the folder in advice, which a file of
    records does not know."""
    assert cli.main([str(word) for word in words]) == status
    out, err = capsys.readouterr()
    out = re.sub(r"^(<!--|#|%) (command|records): .*\n", "", out, flags=re.M)
    return re.sub(r" --outputs [^`]*`", "`", out) + err


def both(capsys, outputs, *words):
    """Output of report from a file and from the folders that it was collected from."""
    return [
        said(capsys, *place, *words) for place in (("--from", outputs / "records/all.parquet"), ("--outputs", outputs))
    ]


@pytest.mark.parametrize(
    "words",
    [
        "--format csv", "--readout best dataset=ecoli method=focal,smote", "--metric f1,auc_pr --format tex",
        "--tuned method=focal", "--tuned --by f1",
    ],
)  # fmt: skip
def test_the_summary_from_a_file_is_that_of_the_folders(tmp_path, capsys, words):
    collect(Store(planted(tmp_path)), tmp_path / "records/all.parquet")
    statuses = cli.main(["--outputs", str(tmp_path), *words.split()])
    capsys.readouterr()
    places = ("--outputs", tmp_path), ("--from", tmp_path / "records/all.parquet")
    of_folders, of_file = (said(capsys, *place, *words.split(), status=statuses) for place in places)
    assert of_file == of_folders
    shutil.rmtree(tmp_path / "runs")
    assert said(capsys, *places[1], *words.split(), status=statuses) == of_file


def test_a_paper_from_a_file_is_that_of_the_folders(tmp_path, capsys, monkeypatch):
    """Table and claims; a figure of what the file has not is one message."""
    loaded = {name: preset("explicit_gradient", name) for name in ("table2", "convergence")}
    monkeypatch.setattr("imbalance_bench.report.paper.PaperReport._preset", lambda self, name: loaded[name])
    few = {"table": ["table2"], "figure": ["convergence"]}
    monkeypatch.setattr("imbalance_bench.report.paper.presets", lambda paper, kind, own: few[kind])
    wanted = {"ecoli", "oil", "scene", "cross_entropy", "smote", "explicit_gradient"}
    some = [made for made in loaded["table2"].cells if {made.labels["dataset"], made.labels["method"]} <= wanted]
    for i, made in enumerate(some):
        write(tmp_path, made, [0.5 + i / 99, 0.6 + i / 77])
    write(tmp_path, loaded["convergence"].cells[0], [0.5], history=[{"run": 0, "epoch": 1, "loss": 1.0}])
    collect(Store(tmp_path), tmp_path / "records/all.parquet")
    for words in (["--table", "2", "--format", "csv"], []):
        of_file, of_folders = both(capsys, tmp_path, "--paper", "explicit_gradient", *words)
        assert of_file == of_folders
    source = Collection(tmp_path / "records/all.parquet").runs
    place = ["--from", str(source), "--outputs", str(tmp_path), "--paper", "explicit_gradient"]
    assert cli.main([*place, "--figure", "convergence"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: this needs history.csv of")
    assert error.count("\n") == 1
    assert "leave out --from" in error
    assert cli.main([*place, "--table", "2", "--format", "md", "--write"]) == 0
    stored = (tmp_path / "tables/explicit_gradient/table2.md").read_text()
    assert f"records: {source}" in stored
    assert f"--from {source}" in stored
    assert "train.py" not in stored.partition("\n")[0]


def test_what_needs_a_file_that_was_not_collected_is_left_out_of_all(capsys):
    def made(name):
        if name == "curves":
            raise NotCollected("predictions.npz of a cell", Path("dos.parquet"))
        return name

    assert paper._those_run(made, ["table", "curves"]) == ["table"]
    assert capsys.readouterr().err.startswith("left out: this needs predictions.npz of a cell, and dos.parquet holds")


@pytest.mark.slow
def test_a_figure_of_numbers_from_a_file_is_that_of_the_folders(tmp_path):
    made = preset("explicit_gradient", "critical_difference")
    for i, one in enumerate(made.cells):
        write(tmp_path, one, [0.5 + i % 17 / 40, 0.6 + i % 13 / 50])
    collect(Store(tmp_path), tmp_path / "all.parquet")
    of_file, of_folders = (figure(made, source) for source in (Collection(tmp_path / "all.parquet"), Store(tmp_path)))
    assert of_file.caption == of_folders.caption
    assert repr(of_file.values) == repr(of_folders.values)


def test_every_number_comes_back_to_the_last_bit(tmp_path):
    path = tmp_path / "records/all.parquet"
    line = collect(Store(planted(tmp_path)), path)
    assert re.fullmatch(rf"{path}: 7 new, 1 failed; 40 numbers, \d+ kB", line)
    of_file = {c.names["id"]: c.record() for c in Collection(path).cells() if not c.error()}
    of_folders = {record["id"]: record for record in Store(tmp_path).records()}
    assert of_file.keys() == of_folders.keys()
    for cell_id, record in of_folders.items():
        again = of_file[cell_id]
        assert {k: v for k, v in again.items() if k not in ("path", "collected")} == {
            k: v for k, v in record.items() if k != "path"
        }
        if record["status"] == "done":
            assert repr(numbers_of(again)) == repr(numbers_of(record))
            for part in ("test", "valid"):
                assert repr(numbers(again, part)) == repr(numbers(record, part))
    read = pd.read_parquet(path).explode("numbers")  # by anyone
    values = sorted(row["value"] for row in read["numbers"].dropna() if row["part"] == "test")
    expected = tidy(of_folders.values())["value"]
    np.testing.assert_array_equal(values, sorted(expected))


def test_another_machine_extends_a_file(tmp_path):
    """Its cells stay; a newer record of a cell replaces, an older one does not; one scored again has the same date."""
    here, there = tmp_path / "here", tmp_path / "there"
    shared, mine, theirs = cell("focal"), cell("smote"), cell("smote", "oil")
    folders = {place: write(place, shared, [0.5]) for place in (here, there)}
    write(here, mine, [0.6])
    write(there, theirs, [0.7])
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"

    def counts(place, path):
        return collect(Store(place), path).removeprefix(f"{path}: ").split(";")[0]

    def value_of(made, path):
        record = next(c.record() for c in Collection(path).cells() if c.names["id"] == made.id)
        return [row[-1] for row in numbers_of(record)]

    assert counts(here, first) == "2 new"
    assert counts(here, first) == "2 as before"
    assert counts(there, first) == "1 new, 2 as before"
    assert counts(there, second) == "2 new"
    assert counts(here, second) == "1 new, 2 as before"
    assert first.read_bytes() == second.read_bytes()  # a function of the records, not of the order they came in
    for changes, kept in (({}, 0.8), (LATER, 0.8), ({"date": "2025-01-01T00:00:00+00:00"}, 0.5)):
        shutil.copy(second, first)
        shutil.rmtree(folders[there])
        write(there, shared, [0.8])
        edit(folders[there], provenance=Store(here).records()[0]["provenance"] | changes, seconds=2.0)
        assert counts(there, first) == ("1 replaced, 2 as before" if kept == 0.8 else "3 as before")
        assert value_of(shared, first) == [kept]
        assert value_of(mine, first) == [0.6]


def test_a_cell_that_failed_is_told_with_its_reason_as_from_the_folders(tmp_path, capsys, monkeypatch):
    table = preset("explicit_gradient", "table2")
    monkeypatch.setattr("imbalance_bench.report.paper.PaperReport._preset", lambda self, name: table)
    first, second = [one for one in table.cells if one.labels["dataset"] == "ecoli"][:2]
    write(tmp_path, first, [0.5, 0.6])
    fail(tmp_path, second, "out of memory: choose fewer rows")
    collect(Store(tmp_path), tmp_path / "records/all.parquet", cells=table.cells)
    of_file, of_folders = both(capsys, tmp_path, "--paper", "explicit_gradient", "--table", "2")
    assert of_file == of_folders
    assert "out of memory: choose fewer rows" in of_file
    assert f"1 of {len(table.cells)} cells of this grid run" in of_file
    assert "1 failed" in of_file
    failed = next(one for one in Collection(tmp_path / "records/all.parquet").cells() if one.error())
    assert failed.names == second.labels | {"id": second.id}


def test_a_failure_stays_until_there_is_a_record_and_never_takes_the_place_of_one(tmp_path):
    path, made = tmp_path / "all.parquet", cell("smote")

    def collected_again():
        counts = collect(Store(tmp_path), path).removeprefix(f"{path}: ").split(";")[0]
        (found,) = [one for one in Collection(path).cells() if one.names["id"] == made.id]
        return counts, found.error()

    write(tmp_path, cell("focal"), [0.5])
    fail(tmp_path, made, "no memory")
    assert collected_again() == ("1 new, 1 failed", "no memory")
    folder = Store(tmp_path).cell(made.labels, made.id).path
    shutil.rmtree(folder)
    assert collected_again() == ("1 as before, 1 failed", "no memory")
    fail(tmp_path, made, "another reason")
    assert collected_again() == ("1 as before, 1 failed", "another reason")
    shutil.rmtree(folder)
    write(tmp_path, made, [0.7])
    assert collected_again() == ("1 replaced, 1 as before", "")
    shutil.rmtree(folder)
    fail(tmp_path, made, "no memory")
    assert collected_again() == ("2 as before", "")


def test_a_file_of_the_format_before_failures_is_read(tmp_path, monkeypatch):
    planted(tmp_path)
    collect(Store(tmp_path), tmp_path / "new.parquet")
    with monkeypatch.context() as before:
        before.setattr(collected, "FORMAT", "1")
        before.setattr(collected, "TEXTS", tuple(name for name in collected.TEXTS if name != "failure"))
        before.setattr(command, "failures", lambda *_: [])
        collect(Store(tmp_path), tmp_path / "old.parquet")
    assert "failure" not in pd.read_parquet(tmp_path / "old.parquet").columns
    new, old = (Collection(tmp_path / f"{name}.parquet") for name in ("new", "old"))
    assert repr(summary(old).frame) == repr(summary(new).frame)
    assert re.search("7 as before, 1 failed;", collect(Store(tmp_path), tmp_path / "old.parquet"))
    assert (tmp_path / "old.parquet").read_bytes() == (tmp_path / "new.parquet").read_bytes()


def everything(path):
    """What a file says, as text."""
    found = []
    for one in Collection(path).cells():
        record = {key: value for key, value in (one.record() or {}).items() if key not in ("path", "collected")}
        found.append((one.names, one.texts, record, one.rows()))
    return repr(found)


def test_a_harmed_file_is_one_message_whichever_byte_it_is(tmp_path, capsys):
    path = tmp_path / "records/all.parquet"
    collect(Store(planted(tmp_path)), path)
    whole = path.read_bytes()
    assert everything(path)
    rng = np.random.default_rng(0)
    broken = [whole[:size] for size in (0, 3, 100, len(whole) // 2, len(whole) - 1)]
    for place in rng.integers(len(whole), size=200):
        broken.append(whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :])
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(BenchError) as error:
            everything(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    assert cli.main(["--from", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: None, "there is no such file of collected records; python scripts/collect.py writes one"),
        (lambda path: path.mkdir(), "there is no such file"),
        (lambda path: path.write_text("a,b\n1,2\n"), "cannot be read .*: where it is damaged, take it from version"),
        (lambda path: pd.DataFrame({"a": [1]}).to_parquet(path), "was not written by python scripts/collect.py"),
        (
            lambda path: pq.write_table(
                pa.table({"id": ["a"]}).replace_schema_metadata({"imbalance_bench": "9"}), path
            ),
            "is of format 9, which newer code reads",
        ),
        (
            lambda path: pq.write_table(
                pa.table({"id": ["a"]}).replace_schema_metadata({"imbalance_bench": "1"}), path
            ),
            "cannot be read",
        ),
    ],
)
def test_another_file_is_named(tmp_path, capsys, make, message):
    make(tmp_path / "x.parquet")
    assert cli.main(["--from", str(tmp_path / "x.parquet")]) == 1
    error = capsys.readouterr().err
    assert re.match(f"error: {re.escape(str(tmp_path / 'x.parquet'))}:? {message}", error)
    assert error.count("\n") == 1


def test_records_that_do_not_count_are_named_and_what_was_collected_stays(tmp_path, capsys):
    path = tmp_path / "records/all.parquet"
    good, bad, old = (write(tmp_path, cell(method), [0.5]) for method in ("focal", "smote", "cross_entropy"))
    collect(Store(tmp_path), path)
    (bad / "metrics.csv").write_text("run,fold\n0,0\n")
    edit(old, schema=SCHEMA - 1)
    assert "3 as before" in collect(Store(tmp_path), path)
    error = capsys.readouterr().err
    assert "Left out, damaged: " in error and str(bad) in error
    assert "Left out, outdated: " in error and str(old) in error
    assert len(summary(Collection(path)).frame) == 3
    shutil.rmtree(good)
    shutil.rmtree(old)
    with pytest.raises(BenchError, match="no records under .*: train.py runs them\n  Left out, damaged"):
        collect(Store(tmp_path), tmp_path / "new.parquet")
    assert not list(tmp_path.glob("*new.parquet*"))


def test_records_of_another_schema_in_a_file_are_left_out(tmp_path, monkeypatch):
    write(tmp_path, cell("focal"), [0.5])
    collect(Store(tmp_path), tmp_path / "a.parquet")
    monkeypatch.setattr("imbalance_bench.store.SCHEMA", SCHEMA + 1)
    with pytest.raises(
        BenchError, match=r"no records under .*\n  Left out, outdated: .*schema 2.*: run and collect the"
    ):
        summary(Collection(tmp_path / "a.parquet"))


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "records/all.parquet"
    collect(Store(planted(tmp_path)), path)
    before = path.read_bytes()
    write(tmp_path, cell("ros"), [0.5])

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchError, match=r"cannot write .*all\.parquet: the disk is full"):
        collect(Store(tmp_path), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["all.parquet"]


@pytest.fixture
def parts_read(monkeypatch) -> list[tuple[int, str]]:
    """Row group and column of each part of a file that is read, but for names."""
    read: list[tuple[int, str]] = []
    original = pq.ParquetFile.read_row_group

    def noted(self, group, columns):
        if columns in (["numbers"], ["record"]):
            read.append((group, *columns))
        return original(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    return read


def test_a_filtered_report_reads_the_numbers_of_what_it_shows(tmp_path, monkeypatch, parts_read):
    monkeypatch.setattr(collected, "TOGETHER", 3)  # ecoli: 3 and the declined one, oil: 3 and the one that failed
    collect(Store(planted(tmp_path)), tmp_path / "a.parquet")
    summary(Collection(tmp_path / "a.parquet"), ["dataset=oil", "method=smote"])
    assert sorted(parts_read) == [(2, "numbers"), (2, "record")]


def test_each_part_of_a_file_is_read_once_and_one_is_held_at_a_time(tmp_path, monkeypatch, parts_read):
    """Whenever its cells were run: those beside one another here are days apart."""
    monkeypatch.setattr(collected, "TOGETHER", 3)
    for day, record in enumerate(Store(planted(tmp_path)).records()):
        edit(record["path"], provenance=record["provenance"] | {"date": f"2026-03-{1 + 5 * day % 7:02d}"})
    collect(Store(tmp_path), tmp_path / "a.parquet")
    held = []
    rows = Collection.rows
    monkeypatch.setattr(Collection, "rows", lambda self, *place: (rows(self, *place), held.append(self._numbers[0]))[0])
    summary(Collection(tmp_path / "a.parquet"))
    assert sorted(parts_read) == [(group, of) for group in range(3) for of in ("numbers", "record")]
    assert held == sorted(held)


def test_the_command(tmp_path, capsys, monkeypatch):
    planted(tmp_path)
    place = ["--outputs", str(tmp_path)]
    assert command.main([*place, "dataset=oil", "--name", "mine"]) == 0
    assert re.match(r".*records/mine\.parquet: 3 new, 1 failed; ", capsys.readouterr().out)
    of_table = next(made for made in preset("explicit_gradient", "table2").cells)
    write(tmp_path, of_table, [0.5])
    monkeypatch.setattr(command, "load_preset", lambda *_: preset("explicit_gradient", "table2"))
    monkeypatch.setattr(command, "presets", lambda *_, **__: ["table2"])
    assert command.main([*place, "--paper", "explicit_gradient"]) == 0
    assert re.match(r".*records/explicit_gradient\.parquet: 1 new; 1 numbers", capsys.readouterr().out)
    for words, error in (
        ([], "say what the file is to be called: --name mine, or --paper"),
        (["--name", "../x"], "--name ../x: of letters"),
        (["--name", "x", "dataset=oli"], "no cell has dataset=oli: did you mean ecoli, oil?"),
        (["--paper", "explicit_gradient", "dataset=oil"], "no cell has dataset=oil"),
    ):
        assert command.main([*place, *words]) == 1
        assert capsys.readouterr().err.startswith(f"error: {error}")
