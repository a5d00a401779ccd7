"""Records that filters choose, where they stand, and their numbers."""

from __future__ import annotations

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.report.records.selection import Asked, selection
from imbalance_bench.store import Store
from tests.records import cell, decline, write


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for dataset in ("ecoli", "oil"):
        for gamma in (1, 2):
            made = cell("focal", dataset, options={"method": {"gamma": gamma}})
            write(folder, made, {"auc_pr": [0.1 * gamma, 0.2], "f1": [0.3, 0.4]}, best=[0.9, 0.8], valid=[0.5, 0.6])
        write(folder, cell("smote", dataset, options={"backbone": {"name": "none"}}, backbone="none"), [0.7, 0.6])
    decline(folder, cell("mesa", "oil"), "two classes only")
    made = cell("focal", "oil", "ir_20", {"method": {"gamma": 1}})
    write(folder, made, [0.5], subset="ir")
    return Store(folder)


def table(found):
    """(setting, row, column, metric) → values by run."""
    groups = found.runs.groupby(["id", "metric"], sort=False)["value"]
    return {(*found.places[i], metric): list(values) for (i, metric), values in groups}


def test_labels_say_where_a_record_stands(outputs):
    found = selection(outputs, ["dataset=oil", "ratio=native"])
    assert table(found) == {
        ("native, holdout_kfold, mlp", "oil", "focal gamma=1", "auc_pr"): [0.1, 0.2],
        ("native, holdout_kfold, mlp", "oil", "focal gamma=2", "auc_pr"): [0.2, 0.2],
        ("native, holdout_kfold, mlp", "oil", "smote", "auc_pr"): [0.7, 0.6],
    }
    assert [r["labels"]["method"] for r in found.records if r["status"] == "declined"] == ["mesa"]
    assert len(found.done) == 3 and len(found.records) == 4
    # what was declined is asked for what the others have
    assert set(map(tuple, found.heads.values())) == {(("auc_pr", "positive"),)}


def test_options_are_named_as_they_are_given(tmp_path):
    """What a record leaves out as long as it changes nothing has the value that it then has; no value is Python's."""
    ways = {"ecoli": {}, "oil": {"copies": "together"}}
    for made in ways.values():
        write(tmp_path, cell("focal", "csv", options={"dataset": {"name": "csv"} | made}), [0.5])
    for alpha in (None, [0.5, True]):
        write(tmp_path, cell("dos", "csv", options={"dataset": {"name": "csv"}, "method": {"alpha": alpha}}), [0.5])
    places = selection(Store(tmp_path)).places.values()
    assert {place.row for place in places} == {"csv copies=apart", "csv copies=together"}
    assert {place.column for place in places} == {"focal", "dos alpha=null", "dos alpha=[0.5, true]"}


def test_any_axis_down_and_across(outputs):
    places = set(table(selection(outputs, ["method=focal"], Asked(rows=("ratio",), columns=("dataset",)))))
    assert ("focal gamma=1, holdout_kfold, mlp", "ir_20", "oil", "auc_pr") in places
    of = ["method=focal", "ratio=native"]
    found = table(selection(outputs, of, Asked(rows=("dataset",), columns=("method.gamma",))))
    setting = "focal, native, holdout_kfold, mlp"
    assert set(found) == {(setting, d, g, "auc_pr") for d in ("ecoli", "oil") for g in ("1", "2")}


def test_metrics_groups_readout_and_part(outputs):
    of = ["method=focal", "dataset=ecoli"]
    found = selection(outputs, of, Asked(metrics=("f1", None), groups=("positive",)))
    assert list(found.heads.values()) == [[("f1", "positive"), ("auc_pr", "positive")]] * 2
    assert set(found.runs["metric"]) == {"f1", "auc_pr"}
    best = selection(outputs, ["dataset=ecoli"], Asked(readout="best")).runs
    assert set(best["iterate"]) == {"best", "last"}  # smote keeps no best epoch
    assert set(best.loc[best["iterate"] == "best", "value"]) == {0.9, 0.8}
    valid = selection(outputs, of, Asked(part="valid")).runs
    assert list(valid["value"]) == [0.5, 0.6] * 2


@pytest.mark.parametrize(
    "asked, says",
    [
        (Asked(metrics=("f2",)), "no record has the metric f2: did you mean f1"),
        (Asked(metrics=("f1",), groups=("negative",)), "f1 of the class group negative: "),
        (Asked(groups=("negative",)), "no record has auc_pr of the class group negative: did you mean positive"),
        (Asked(groups=("class:*",)), "no record has auc_pr of single classes: leave out --per-class"),
        (Asked(columns=("method.gama",)), "no record has the axis or option method.gama: did you mean method.gamma"),
        (Asked(rows=("datset",)), "no record has the axis or option datset: did you mean dataset"),
    ],
)
def test_what_no_record_has(outputs, asked, says):
    with pytest.raises(BenchError, match=says):
        selection(outputs, [], asked)


def test_the_class_groups_that_are_named_are_those_of_the_metric(tmp_path):
    write(tmp_path, cell("focal"), {"f1": [0.5]}, class_group="macro", more={("last", "class:a", "recall"): [0.5]})
    with pytest.raises(BenchError, match="no record has f1 of the class group a: known: macro"):
        selection(Store(tmp_path), [], Asked(groups=("a",)))
    with pytest.raises(BenchError, match="no record has f1 of single classes: there are recall"):
        selection(Store(tmp_path), [], Asked(groups=("class:*",)))


def test_records_without_any_number_say_so(tmp_path):
    write(tmp_path, cell("focal"), [0.5])
    with pytest.raises(BenchError, match="no record has a number of valid rows: its record has no validation scores"):
        selection(Store(tmp_path), [], Asked(("f1",), part="valid"))
    decline(tmp_path, cell("mesa"), "two classes only")
    with pytest.raises(BenchError, match="no record has a number at all: every cell was declined"):
        selection(Store(tmp_path), ["method=mesa"], Asked(("f1",)))
