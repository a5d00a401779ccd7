"""Rows that belong together (groups, copies), rows in time: read from columns, kept in one part, and said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Dataset
from imbalance_bench.data.encode import ArrayEncoder
from imbalance_bench.data.tasks import make_runs
from imbalance_bench.data.together import Copies, copies_together, copy_numbers, remarks, time_order
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import DATASETS, PROTOCOLS, RATIOS
from imbalance_bench.settings.config import from_omegaconf
from imbalance_bench.settings.identity import cell_id
from tests.cells import cell, composed
from tests.tasks import option


def table(folder, **columns):
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def load(path, name="csv", **options):
    return DATASETS.build(option("dataset", name) | {"path": str(path), "target": "y"} | options).load(Path())


def made(data, protocol="stratified_kfold", **options):
    spec = PROTOCOLS.build(option("protocol", protocol) | options)
    return make_runs(data, RATIOS.build(option("ratio", "native")), spec, 0), spec


N = 120
COLUMNS = {
    "x": np.arange(N) * 1.5,
    "patient": [f"p{i // 4}" for i in range(N)],
    "seen": [f"2024-{1 + i // 10:02d}-{1 + i % 10:02d}" for i in range(N)],
    "y": ["ill" if i // 4 % 3 == 0 else "well" for i in range(N)],
}


def test_the_columns_of_group_and_time_are_no_features(tmp_path):
    data = load(table(tmp_path, **COLUMNS), group="patient", time="seen")
    assert list(data.x.columns) == ["x"]
    assert data.groups.tolist() == [i // 4 for i in range(N)]
    assert data.times.tolist() == list(range(N))
    runs, _ = made(data)
    for run in runs:
        assert not set(data.groups[run.test.ids]) & set(data.groups[run.task.train.ids])
    assert "rows of one patient (dataset.group=patient)" in data.grouped_by


def test_texts_have_groups_and_times_too(tmp_path):
    words = [f"text {i}" for i in range(N)]
    data = load(table(tmp_path, words=words, **COLUMNS), "texts", text="words", group="patient", time="x")
    assert data.groups.tolist() == [i // 4 for i in range(N)]
    assert data.times.tolist() == list(range(N))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"group": "pateint"}, "dataset.group: .* has no column 'pateint': did you mean patient"),
        ({"time": "sen"}, "dataset.time: .* has no column 'sen': did you mean seen"),
        ({"group": "y"}, r"dataset.group=y is the class \(dataset.target\)"),
        ({"time": "patient"}, "dataset.time=patient: 120 of 120 rows have no time .* row 0 .*'p0': write numbers, or"),
        ({"group": "gaps"}, r"dataset.group=gaps: 1 of 120 rows have no value, the first is row 7"),
        ({"time": "gaps"}, r"dataset.time=gaps: 1 of 120 rows have no time"),
    ],
)
def test_columns_that_are_none_say_what_to_change(tmp_path, options, words):
    gaps = [None if i == 7 else float(i) for i in range(N)]
    with pytest.raises(BenchError, match=words):
        load(table(tmp_path, gaps=gaps, **COLUMNS), **options)


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ([3, 1, 3], [1, 0, 1]),
        (["10", "9", "1e1"], [1, 0, 1]),  # numbers, not words
        (["2024-01-02", "2023-12-31T23:59", "2024-01-02T00:00"], [1, 0, 1]),
        (["2024-01-01T01:00+01:00", "2024-01-01T00:30Z", "2024-01-01"], [0, 1, 0]),
        (pd.to_datetime(["2024-01-02", "2023-12-31", "2024-01-02"]), [1, 0, 1]),
    ],
)
def test_times_are_numbers_or_iso_dates(values, order):
    assert time_order(pd.Series(values, name="t")).tolist() == order


def test_dates_of_another_form_are_not_guessed_at():
    with pytest.raises(BenchError, match="2 of 3 rows .* row 1 .*'02/01/2024': write numbers, or dates as 2024-12-31"):
        time_order(pd.Series(["2024-01-02", "02/01/2024", "x"], name="t"))


# Copies


@pytest.mark.parametrize(
    "x",
    [
        np.array([[1.0, 2], [3, 4], [1, 2], [1, 3]]),
        np.array([[[7]], [[8]], [[7]], [[9]]], np.uint8),
        np.array(["one", "two", "one", "One"], object),
        pd.DataFrame({"a": [1, 2, 1, 1], "b": ["x", None, "x", "y"]}),
        pd.DataFrame({"a": [np.nan, 2, np.nan, 1], "b": pd.Categorical(["x", "y", "x", "x"])}),
    ],
)
def test_rows_that_hold_the_same_have_one_number(x):
    assert copy_numbers(x).tolist() == [0, 1, 0, 2]


def fourfold(**options):
    """50 rows, each four times, in shuffled order."""
    which = np.random.default_rng(0).permutation(np.repeat(np.arange(50), 4))
    x = np.random.default_rng(1).normal(size=(50, 3))[which]
    return Dataset("made", x, (which % 4 == 0).astype(np.int64), ("no", "yes"), ArrayEncoder("none"), **options)


def test_copies_are_counted_and_said_where_they_are_parted():
    data = fourfold()
    runs, protocol = made(data)
    found = Copies.of(data, runs)
    assert (found.repeats, found.rows, found.labelled_apart, found.tested) == (150, 200, 0, 200)
    assert found.parted > 150
    (said,) = remarks(data, protocol, runs)
    assert said.startswith("150 of 200 rows are copies of another; ") and "dataset.copies=together" in said


def test_copies_stay_in_one_part_where_they_are_told_to():
    data = copies_together(fourfold())
    runs, protocol = made(data)
    assert Copies.of(data, runs).parted == 0
    assert remarks(data, protocol, runs) == ["150 of 200 rows are copies of another"]


def test_copies_link_the_groups_that_they_are_in():
    x = np.array([[0], [1], [1], [2], [3]])
    data = replace(
        fourfold(), x=x, y=np.zeros(5, np.int64), groups=np.array([0, 0, 1, 1, 2]), grouped_by="rows of one p"
    )
    groups = copies_together(data).groups
    assert len(set(groups[:4])) == 1 and groups[4] != groups[0]
    assert "rows of one p or copies" in copies_together(data).grouped_by


def test_copies_of_two_classes_are_counted():
    data = replace(fourfold(), y=np.arange(200) % 2)
    assert Copies.of(data, made(data)[0]).labelled_apart > 100


def test_without_copies_and_times_nothing_is_said():
    data = replace(fourfold(), x=np.arange(200.0)[:, None])
    runs, protocol = made(data)
    assert remarks(data, protocol, runs) == []
    (said,) = remarks(replace(data, times=np.arange(200)), protocol, runs)
    assert "protocol=stratified_kfold does not honour dataset.time" in said


@pytest.mark.parametrize("label", ["ecoli", "ag_news_world", "semeval_10000", "digits_8"])
def test_a_data_set_takes_the_key_and_keeps_its_id(label):
    def plain(*overrides):
        return from_omegaconf(composed(f"dataset={label}", *overrides)).plain

    apart, together = plain(), plain("dataset.copies=together")
    assert apart["dataset"] | {"copies": "together"} == together["dataset"] != apart["dataset"]
    assert cell_id(apart) != cell_id(together)
    assert DATASETS.build(together["dataset"]) == DATASETS.build(apart["dataset"])


def test_a_cell_says_what_it_found_and_keeps_copies_together(tmp_path, capsys):
    rows = {"a": np.arange(N) // 2 % 40, "y": np.arange(N) // 2 % 4 == 0}
    own = (f"dataset.path={table(tmp_path, **rows)}", "dataset.target=y", "method=logistic_regression")
    assert run_cell(cell(tmp_path, "dataset=csv", *own)).status == "done"
    assert "are in the training part too: dataset.copies=together keeps" in capsys.readouterr().err
    done = run_cell(cell(tmp_path, "dataset=csv", *own, "dataset.copies=together"))
    assert done.status == "done"
    said = capsys.readouterr().err
    assert "80 of 120 rows are copies of another" in said and "training part" not in said
    assert "copies of another" in (done.path / "train.log").read_text()


def test_another_value_of_copies_is_an_error(tmp_path):
    outcome = run_cell(cell(tmp_path, "dataset.copies=apartt"))
    assert outcome.status == "failed" and "dataset.copies='apartt' must be one of apart, together" in outcome.message
