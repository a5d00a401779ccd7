"""The table over whatever was run."""

from __future__ import annotations

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.report.figures import bars
from imbalance_bench.report.summary import scores_of, summary
from imbalance_bench.store import Store
from tests.records import cell, decline, write


def rows(sheet, block=0):
    made = sheet.blocks[block]
    return {row[0].text: dict(zip(made.header[1:], row[1:])) for row in made.rows + made.summary}


def test_data_sets_down_methods_across(tmp_path):
    write(tmp_path, cell("smote", "ecoli"), [0.6, 0.8])
    write(tmp_path, cell("focal", "ecoli"), [0.5, 0.5])
    write(tmp_path, cell("smote", "oil"), [0.2, 0.2])
    write(tmp_path, cell("focal", "oil"), [0.4, 0.4])
    sheet = summary(Store(tmp_path))
    assert [block.heading for block in sheet.blocks] == ["AUC-PR (positive), native, holdout_kfold, mlp"]
    table = rows(sheet)
    assert table["ecoli"]["smote"].text == "0.700 ± 0.141"
    assert table["ecoli"]["smote"].bold and not table["ecoli"]["focal"].bold
    assert table["mean (2 of 2 sets)"]["focal"].text == "0.450 ± 0.071"
    assert {m: i.text for m, i in table["mean rank (2 of 2 sets)"].items()} == {"focal": "1.50", "smote": "1.50"}


def test_settings_stand_apart_and_in_order(tmp_path):
    for ratio in ("ir_100", "ir_20"):
        write(tmp_path, cell("smote", "ecoli", ratio), [0.5])
    write(tmp_path, cell("squared_error", "sine"), {"mse": [0.1]}, class_group="all")
    headings = [block.heading for block in summary(Store(tmp_path)).blocks]
    assert headings == [
        "AUC-PR (positive), ir_20, holdout_kfold, mlp",
        "AUC-PR (positive), ir_100, holdout_kfold, mlp",
        "MSE, native, holdout_kfold, mlp",
    ]


def test_lower_is_better_for_errors(tmp_path):
    write(tmp_path, cell("a", "sine"), {"mse": [0.1]}, class_group="all")
    write(tmp_path, cell("b", "sine"), {"mse": [0.2]}, class_group="all")
    table = rows(summary(Store(tmp_path)))
    assert table["sine"]["a"].bold and not table["sine"]["b"].bold


def test_equal_labels_are_told_apart_by_what_differs(tmp_path):
    for gamma, value in ((2, 0.5), (5, 0.6)):
        options = {"method": {"gamma": gamma, "alpha": 0.25}, "trainer": {"epochs": 200}}
        write(tmp_path, cell("focal", options=options), [value])
    write(tmp_path, cell("smote", options={"method": {"k": 5}}), [0.4])
    assert list(rows(summary(Store(tmp_path)))["ecoli"]) == ["focal gamma=2", "focal gamma=5", "smote"]


def test_data_and_protocol_options_make_rows_and_settings(tmp_path):
    write(tmp_path, cell("smote", "csv", options={"dataset": {"path": "a.csv"}}), [0.5], subset="aaaa")
    write(tmp_path, cell("smote", "csv", options={"dataset": {"path": "b.csv"}}), [0.5], subset="bbbb")
    write(tmp_path, cell("focal", "csv", "ir_20", options={"ratio": {"seed": 1}}), [0.5], subset="cccc")
    write(tmp_path, cell("smote", "csv", "ir_20", options={"ratio": {"seed": 2}}), [0.5], subset="dddd")
    sheet = summary(Store(tmp_path))
    assert set(rows(sheet, 2)) == {"csv path=a.csv", "csv path=b.csv", "mean (2 of 2 sets)"}
    assert [b.heading.split(", ")[1] for b in sheet.blocks] == ["ir_20 seed=1", "ir_20 seed=2", "native"]


def test_other_rows_under_equal_settings_are_refused(tmp_path):
    write(tmp_path, cell("smote"), [0.5], subset="aaaa")
    write(tmp_path, cell("focal"), [0.5], subset="bbbb")
    with pytest.raises(BenchError, match="one table would mix two training sets of fold 0"):
        summary(Store(tmp_path))


def test_declined_cells_give_their_reason(tmp_path):
    write(tmp_path, cell("smote"), [0.5])
    decline(tmp_path, cell("mesa"), "two classes only")
    sheet = summary(Store(tmp_path))
    assert rows(sheet)["ecoli"]["mesa"].text == "n/a [1]"
    assert "[1] two classes only" in sheet.notes


def test_only_declined_cells_still_give_a_table(tmp_path):
    decline(tmp_path, cell("mesa"), "two classes only")
    assert rows(summary(Store(tmp_path)))["ecoli"]["mesa"].text == "n/a [1]"


def test_filters(tmp_path):
    for method in ("smote", "focal"):
        write(tmp_path, cell(method), [0.5])
    assert list(rows(summary(Store(tmp_path), ["method=sm*"]))["ecoli"]) == ["smote"]
    with pytest.raises(BenchError, match="did you mean method"):
        summary(Store(tmp_path), ["methods=smote"])
    with pytest.raises(BenchError, match="no records .* that match dataset=oil"):
        summary(Store(tmp_path), ["dataset=oil"])


def test_no_records_says_what_to_run(tmp_path):
    with pytest.raises(BenchError, match="python scripts/train.py"):
        summary(Store(tmp_path))


@pytest.mark.parametrize("sets", [2, 20])
def test_the_picture(tmp_path, sets):
    for i in range(sets):
        write(tmp_path, cell("smote", f"set{i}"), [0.5, 0.6])
        write(tmp_path, cell("focal", f"set{i}"), [0.5])
    sheet = summary(Store(tmp_path))
    drawing = bars(scores_of(sheet), sheet.title, sheet.provenance)
    assert drawing.png.startswith(b"\x89PNG")
    assert b"<svg" in drawing.svg
    assert ("over the data sets" in drawing.caption) == (sets > 12)


def test_names_that_look_like_formulas_are_drawn_as_they_stand(tmp_path):
    for method in ("smote", "cost $5 or $x_$"):
        write(tmp_path, cell(method, "ecoli $\\frac$"), [0.5, 0.6])
    sheet = summary(Store(tmp_path))
    assert bars(scores_of(sheet), sheet.title, sheet.provenance).svg
