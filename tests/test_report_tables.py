"""Tables from synthetic records with numbers that can be checked by hand."""

from __future__ import annotations

import io
import json
import re

import pandas as pd
import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.report.published.printed import PrintedTable, read
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records import records as frames
from imbalance_bench.report.records.records import NothingRun
from imbalance_bench.report.sheets.tables import table
from imbalance_bench.report.writing.page import rendered
from imbalance_bench.store import Store
from tests.records import FakePreset, cell, decline, fail, write

PAPER = {
    "name": "explicit_gradient",
    "table": "table2",
    "title": "Table 2",
    "published": "table_2",
    "metrics": ["auc_pr"],
    "class_group": "positive",
    "iterate": "last",
    "rows": ["dataset"],
    "columns": ["method"],
    "sections": {
        "paper": {"cross_entropy": "CE", "smote": "SMOTE", "explicit_gradient": "Ours"},
        "controls": {"cross_entropy_400": "CE 400"},
    },
}
METHODS = ["cross_entropy", "smote", "explicit_gradient", "cross_entropy_400"]
DATASETS = ["ecoli", "oil", "scene"]


def grid(**changes):
    return FakePreset(PAPER | changes, [cell(m, d) for d in DATASETS for m in METHODS])


@pytest.fixture
def outputs(tmp_path):
    """ecoli and oil run by all, scene by cross-entropy alone."""
    means = {
        ("cross_entropy", "ecoli"): [0.6, 0.8],
        ("smote", "ecoli"): [0.7, 0.7],
        ("explicit_gradient", "ecoli"): [0.5, 0.7],
        ("cross_entropy_400", "ecoli"): [0.9, 0.9],
        ("cross_entropy", "oil"): [0.4, 0.4],
        ("smote", "oil"): [0.5, 0.5],
        ("explicit_gradient", "oil"): [0.6, 0.6],
        ("cross_entropy_400", "oil"): [0.1, 0.3],
        ("cross_entropy", "scene"): [0.2, 0.2],
    }
    for (method, dataset), values in means.items():
        write(tmp_path, cell(method, dataset), values, best=[v + 0.1 for v in values])
    return tmp_path


def texts(sheet, block=0):
    """Row name → the printed cells."""
    made = sheet.blocks[block]
    return {row[0].text: row[1:] for row in made.rows + made.summary}


def test_mean_sd_paper_and_difference(outputs):
    sheet = table(grid(), Store(outputs))
    ecoli = texts(sheet)["ecoli"]
    assert [item.text for item in ecoli] == ["0.700 ± 0.141", "0.700 ± 0.000", "0.600 ± 0.141"]
    # the paper prints 0.64, 0.71 and 0.78 on ecoli
    assert [item.aside for item in ecoli] == ["(0.64, +0.06)", "(0.71, -0.01)", "(0.78, -0.18)"]
    assert sheet.blocks[0].header == ["dataset", "CE", "SMOTE", "Ours"]


def test_best_is_bold_with_ties_and_controls_stand_apart(outputs):
    sheet = table(grid(), Store(outputs))
    assert [item.bold for item in texts(sheet)["ecoli"]] == [True, True, False]  # 0.700 twice
    assert [item.bold for item in texts(sheet)["oil"]] == [False, False, True]
    assert [item.bold for item in texts(sheet)["scene"]] == [False, False, False]  # nothing to compare with
    control = texts(sheet, 1)
    assert sheet.blocks[1].heading == "Set apart: controls"
    assert control["ecoli"][0].text == "0.900 ± 0.000"  # higher than all
    assert not any(row[0].bold for row in control.values())


def test_mean_rows_cover_the_sets_that_all_were_run_on(outputs):
    rows = texts(table(grid(), Store(outputs)))
    assert [i.text for i in rows["mean (2 of 3 sets)"]] == ["0.550 ± 0.212", "0.600 ± 0.141", "0.600 ± 0.000"]
    assert [i.bold for i in rows["mean (2 of 3 sets)"]] == [False, True, True]
    # ranks: ecoli 1.5 1.5 3, oil 3 2 1; printed on the same sets: ecoli 3 2 1, oil 0.56 0.57 0.63 → 3 2 1
    ranks = rows["mean rank (2 of 3 sets)"]
    assert [i.text for i in ranks] == ["2.25", "1.75", "2.00"]
    assert [i.aside for i in ranks] == ["(3.00, -0.75)", "(2.00, -0.25)", "(1.00, +1.00)"]
    assert [i.bold for i in ranks] == [False, True, False]
    assert [i.aside for i in rows["mean, as printed"]] == ["(0.6 ± 0.33)", "(0.59 ± 0.34)", "(0.63 ± 0.33)"]
    assert [i.aside for i in rows["mean rank, as printed"]] == ["(4.37)", "(5.09)", "(2.54)"]


def test_friedman_is_reported_for_ours_and_for_the_printed_values(outputs):
    notes = "\n".join(table(grid(), Store(outputs)).notes)
    assert re.search(r"Friedman test of ours \(3 methods, 2 sets\): χ² = 0\.29, exact p = ", notes)
    assert "Fewer than 5 sets: full agreement itself gives p = 0.17." in notes
    assert "Friedman test of the printed values on the same sets (3 methods, 2 sets)" in notes
    assert "Left out of the mean rows, since a ranked method has no number there: scene." in notes


def test_not_run_declined_and_failed_cells_say_so(outputs):
    decline(outputs, cell("smote", "scene"), "needs 6 minority samples")
    fail(outputs, cell("explicit_gradient", "scene"), "every run diverged")
    sheet = table(grid(), Store(outputs))
    assert [i.text for i in texts(sheet)["scene"]] == ["0.200 ± 0.000", "n/a [1]", "failed [2]"]
    assert texts(sheet, 1)["scene"][0].text == "not run"
    assert "[1] needs 6 minority samples" in sheet.notes
    assert "[2] every run diverged" in sheet.notes
    coverage = next(n for n in sheet.notes if "cells of this grid" in n)
    assert coverage.startswith("9 of 12 cells of this grid run; the paper prints 162, of which 7 are run")
    assert "1 n/a, 1 failed, 1 not run" in coverage


def test_best_epoch_is_a_second_reading(outputs):
    sheet = table(grid(), Store(outputs), readout="best")
    assert sheet.name == "table2_best"
    assert "best epoch on validation" in sheet.title
    assert texts(sheet)["oil"][0].text == "0.500 ± 0.000"


def test_a_method_without_best_epoch_shows_its_last_with_a_mark(tmp_path):
    write(tmp_path, cell("cross_entropy", "ecoli"), [0.6, 0.6], best=[0.7, 0.7])
    write(tmp_path, cell("smote", "ecoli"), [0.5, 0.5])
    sheet = table(grid(), Store(tmp_path), readout="best")
    assert [i.text for i in texts(sheet)["ecoli"]][:2] == ["0.700 ± 0.000", "0.500 ± 0.000 [1]"]
    assert "[1] last epoch: this method keeps no other" in sheet.notes


def test_methods_of_some_data_sets_only_are_shown_but_not_ranked(outputs):
    cells = [cell(m, d) for d in DATASETS for m in METHODS if m != "smote" or d == "ecoli"]
    sheet = table(FakePreset(PAPER, cells), Store(outputs))
    rows = texts(sheet)
    assert rows["oil"][1].text == "–"
    assert [i.text for i in rows["mean rank (2 of 3 sets)"]] == ["1.50", "not ranked", "1.50"]
    assert "Not ranked, and not in the test below: SMOTE." in sheet.notes


def test_two_subsets_in_one_row_are_refused(outputs):
    write(outputs, cell("smote", "scene"), [0.3, 0.3], subset="bbbb")
    with pytest.raises(BenchError) as error:
        table(grid(), Store(outputs))
    message = str(error.value)
    assert cell("cross_entropy", "scene").id in message
    assert cell("smote", "scene").id in message
    assert "aaaa0" in message
    assert "bbbb0" in message


def test_the_refusal_names_the_settings_that_differ(tmp_path):
    one, two = cell("smote", ratio="ir_50"), cell("focal", ratio="ir_50", options={"ratio": {"seed": 3}})
    write(tmp_path, one, [0.5], subset="aaaa")
    write(tmp_path, two, [0.5], subset="bbbb")
    with pytest.raises(BenchError, match=r"ratio\.seed=(null / 3|3 / null)"):
        comparable.refuse_mixed_rows(Store(tmp_path).records())


def test_two_readings_of_the_same_texts_are_refused_but_not_those_of_two_backbones(tmp_path):
    def read(stop_words):
        return [{"tokens": {"texts": 9, "stop_words": stop_words}}]

    write(tmp_path, cell("smote", backbone="textcnn"), [0.5], infos=read(179))
    write(tmp_path, cell("focal", backbone="textcnn"), [0.5], infos=read(179))
    write(tmp_path, cell("smote", backbone="xlnet"), [0.5], infos=read(0))
    comparable.refuse_mixed_rows(Store(tmp_path).records())
    write(tmp_path, cell("crt", backbone="textcnn"), [0.5], infos=read(198))
    with pytest.raises(BenchError, match="two readings of the texts of fold 0: .*'stop_words': 1(79.*198|98.*179)"):
        comparable.refuse_mixed_rows(Store(tmp_path).records())


def test_two_cells_of_equal_labels_are_refused(outputs):
    twin = cell("smote", "oil", options={"method": {"gamma": 5}})
    write(outputs, twin, [0.1, 0.1])
    preset = grid()
    preset.cells.append(twin)
    with pytest.raises(BenchError, match=r"differ in method\.gamma"):
        table(preset, Store(outputs))


def test_nothing_run_says_the_command(tmp_path):
    with pytest.raises(NothingRun, match=r"python scripts/train.py -m \+paper=explicit_gradient/table2"):
        table(grid(), Store(tmp_path))


def test_layout_of_table_1_and_the_gap_to_potential(tmp_path):
    paper = PAPER | {
        "table": "table1",
        "published": "table_1",
        "published_as": {"method": {"balanced_batches": "random_oversampling"}, "ratio": {"ir_50": "IR=50:1"}},
        "metrics": ["auc_pr", "delta_auc_pr_vs_potential_pct"],
        "rows": ["method", "ratio"],
        "columns": ["metric"],
        "sections": {
            "paper": {"cross_entropy": "CE", "balanced_batches": "RS"},
            "upper bound": {"potential": "Potential"},
            "controls": {"random_oversampling": "ROS"},
        },
    }
    methods = {"cross_entropy": [0.3, 0.3], "balanced_batches": [0.2, 0.2], "potential": [0.4, 0.4]}
    cells = [cell(m, "adult", "ir_50") for m in [*methods, "random_oversampling"]]
    for made in cells[:3]:
        write(tmp_path, made, methods[made.labels["method"]])
    write(tmp_path, cells[3], [0.1, 0.1])
    sheet = table(FakePreset(paper, cells), Store(tmp_path))
    ours = {row[0].text: row for row in sheet.blocks[0].rows}
    assert sheet.blocks[0].header == ["method", "ratio", "AUC-PR", "Δ to potential (%)"]
    assert [(i.text, i.aside) for i in ours["CE"][2:]] == [
        ("0.300 ± 0.000", "(0.333, -0.033)"),
        ("-25.0", "(-18.1, -6.9)"),
    ]
    assert ours["RS"][2].aside == "(0.328, -0.128)"  # the paper's RS, under its file's name
    assert ours["CE"][3].bold and not ours["RS"][3].bold
    assert [i.text for i in sheet.blocks[1].rows[0][2:]] == ["0.400 ± 0.000", "baseline"]
    assert sheet.blocks[2].rows[0][2].aside == ""  # the plain ROS is not what the paper's row means
    assert not sheet.blocks[0].summary


def test_gap_without_potential_is_not_available(tmp_path):
    made = cell("cross_entropy", "adult", "ir_50")
    write(tmp_path, made, [0.3, 0.3])
    paper = PAPER | {"metrics": ["auc_pr", "delta_auc_pr_vs_potential_pct"], "rows": ["method"], "columns": ["metric"]}
    sheet = table(FakePreset(paper, [made]), Store(tmp_path))
    assert sheet.blocks[0].rows[0][2].text == "n/a [1]"
    assert "[1] potential is not run, so there is no gap to it" in sheet.notes


def test_undefined_runs_are_counted(tmp_path):
    made = cell("cross_entropy", "ecoli")
    write(tmp_path, made, [0.5, float("nan"), 0.7])
    sheet = table(FakePreset(PAPER, [made]), Store(tmp_path))
    assert texts(sheet)["ecoli"][0].text == "0.600 ± 0.141 [1]"
    assert any(note.startswith("[1] over 2 of 3 runs") for note in sheet.notes)


def test_damaged_metrics_are_named(tmp_path):
    made = cell("cross_entropy", "ecoli")
    folder = write(tmp_path, made, [0.5])
    (folder / "metrics.csv").write_text("run,fold\n0,zero\n")
    with pytest.raises(BenchError, match="nothing of table2 was run yet.*\n.*metrics.csv is damaged"):
        table(FakePreset(PAPER, [made]), Store(tmp_path))
    other = cell("smote", "ecoli")
    write(tmp_path, other, [0.7])
    sheet = table(FakePreset(PAPER, [made, other]), Store(tmp_path))  # which goes on without it
    assert any(re.match(r"\[1\] .*metrics.csv is damaged.*rescore.py", note) for note in sheet.notes)
    assert any("1 of 2 cells" in note and "1 damaged" in note for note in sheet.notes)


@pytest.mark.parametrize(("name", "rows", "cells"), [("table_1", 90, 18), ("table_2", 174, 162), ("table_3", 145, 113)])
def test_printed_values_load(name, rows, cells):
    printed = PrintedTable("explicit_gradient", name)
    assert len(printed.rows) == rows
    assert printed.cells == cells


def test_printed_values_are_as_printed():
    renamed = {"ratio": {"ir_50": "IR=50:1"}}
    first = PrintedTable("explicit_gradient", "table_1", renamed).find("cross_entropy", "adult", "ir_50", "ap_at_0.75")
    assert first is not None and first.text == "0.10"
    second = PrintedTable("explicit_gradient", "table_2").find("smote", "ecoli", "native", "auc_pr")
    assert str(second) == "0.71 ± 0.17"
    third = PrintedTable("explicit_gradient", "table_3").find("mesa", "ecoli", "native", "auc_pr")
    assert third is not None and third.text == "" and third.note == "cell prints N/A"
    fourth = {r["dataset"]: r["value"] for r in read("explicit_gradient", "table_4") if r["metric"] == "n_samples"}
    assert len(fourth) == 27 and fourth["ecoli"] == "336"
    with pytest.raises(BenchError, match="did you mean table_2"):
        read("explicit_gradient", "table_22")
    with pytest.raises(BenchError, match="did you mean explicit_gradient"):
        read("explicit_gradients", "table_2")


# Several decisions, class groups, data sets that stand in for others

DOS = {
    "name": "dos",
    "table": "table6",
    "title": "Table 6",
    "published": "table_6",
    "published_as": {
        "method": {
            "cnn@knn": {"name": "cnn_cl", "metrics": ["f1", "precision", "recall"]},
            "cnn@lr": {"name": "cnn_cl", "metrics": ["auc_pr"]},
            "dos": "dos_k5",
        },
        "dataset": {"mnist_back_rotation": "mnist_back_rotation", "generated": "mnist_back_rotation"},
        "ratio": {"p90": "p=0.90", "p99": "p=0.99"},
        "metric": {"auc_pr": "auprc"},
    },
    "stand_ins": {"generated": "made from MNIST"},
    "exchanged": {"precision": "recall", "recall": "precision"},
    "metrics": ["f1", "auc_pr", "precision", "recall"],
    "class_group": ["minority", "majority"],
    "iterate": "last",
    "blocks": "dataset",
    "rows": ["ratio", "class_group", "method"],
    "columns": ["metric"],
    "sections": {
        "paper": {"cnn": "CNN", "cnn@knn": "kNN", "cnn@lr": "LR", "dos": "DOS"},
        "on DOS features": {"dos@knn": "DOS-kNN"},
    },
    "titles": {"dataset": {"mnist": "MNIST", "generated": "Stand-in"}, "ratio": {"p90": "p = 0.90"}},
}
DECISIONS = {"last": 0.5, "knn": 0.6, "lr": 0.7}


def image_cell(outputs, method, dataset, ratio="p90", metrics=("f1", "auc_pr", "precision", "recall"), **options):
    made = cell(method, dataset, ratio)
    more = {
        (readout, group, metric): [value + (group == "majority") / 10] * 2
        for readout, value in DECISIONS.items()
        for group in ("minority", "majority")
        for metric in metrics
    }
    write(outputs, made, {"accuracy": [0.9, 0.9]}, class_group="all", more=more, **options)
    return made


def rows_of(block):
    """(the leading columns) → printed cells by heading."""
    keys = block.keys
    return {tuple(i.text for i in row[:keys]): dict(zip(block.header[keys:], row[keys:])) for row in block.rows}


@pytest.fixture
def images(tmp_path):
    cells = [
        image_cell(tmp_path, m, d, collapsed=m == "dos", data={"classes": 10})
        for d in ("mnist", "generated")
        for m in ("cnn", "dos")
    ]
    return table(FakePreset(DOS, [*cells, cell("cnn", "svhn", "p90")]), Store(tmp_path))


def test_a_grid_for_each_data_set_that_was_run(images):
    assert [b.heading for b in images.blocks] == [
        "MNIST",
        "MNIST, set apart: on DOS features",
        "Stand-in",
        "Stand-in, set apart: on DOS features",
    ]
    assert "Nothing was run of: svhn." in images.notes
    assert images.blocks[0].header == ["ratio", "classes", "method", "F1", "AUC-PR", "precision", "recall"]


def test_rows_are_addressed_by_method_and_decision(images):
    rows = rows_of(images.blocks[0])
    assert [name for ratio, group, name in rows if group == "minority"] == ["CNN", "kNN", "LR", "DOS"]
    assert [rows["p = 0.90", "minority", n]["F1"].text for n in ("CNN", "kNN", "LR")] == [
        "0.500 ± 0.000",
        "0.600 ± 0.000",
        "0.700 ± 0.000",
    ]
    assert rows["p = 0.90", "majority", "CNN"]["F1"].text == "0.600 ± 0.000"
    assert rows_of(images.blocks[1])["p = 0.90", "minority", "DOS-kNN"]["F1"].text == "0.600 ± 0.000 [1]"
    assert [n for _, g, n in rows if rows["p = 0.90", g, n]["F1"].bold] == ["LR", "LR"]


def test_a_printed_row_may_stand_beside_two_of_ours_by_metric(images):
    rows = rows_of(images.blocks[0])
    asides = {n: [i.aside for i in rows["p = 0.90", "minority", n].values()] for n in ("kNN", "LR")}
    assert asides == {
        "kNN": ["(0.94, -0.34)", "", "(0.99, -0.39; exchanged 0.90, -0.30)", "(0.90, -0.30; exchanged 0.99, -0.39)"],
        "LR": ["", "(1.0, -0.30)", "", ""],
    }


def test_numbers_of_another_data_set_are_flagged_and_not_subtracted(images):
    rows = rows_of(images.blocks[2])
    assert rows["p = 0.90", "minority", "CNN"]["F1"].aside == "(0.43†)"
    assert "† Stand-in: made from MNIST" in images.notes
    coverage = next(n for n in images.notes if "of this grid" in n)
    # MNIST at p = 0.90: CNN, CNN-CL, DOS
    assert coverage.startswith("4 of 5 cells of this grid run; the paper prints 27, of which 3 are run")


def test_values_that_may_be_exchanged_stand_both_ways(images, tmp_path):
    stand_in = rows_of(images.blocks[2])["p = 0.90", "minority", "CNN"]
    assert (stand_in["precision"].aside, stand_in["recall"].aside) == (
        "(0.31†; exchanged 0.76†)",
        "(0.76†; exchanged 0.31†)",
    )
    equal = rows_of(images.blocks[2])["p = 0.90", "majority", "DOS"]
    assert equal["F1"].aside == "(0.71†)"
    made = image_cell(tmp_path / "99", "cnn", "mnist", "p99")
    here = rows_of(table(FakePreset(DOS, [made]), Store(tmp_path / "99")).blocks[0])["p99", "minority", "CNN"]
    assert here["precision"].aside == "(0.65, -0.15; exchanged 0.98, -0.48)"
    assert here["F1"].aside == "(0.77, -0.27)"


def test_runs_that_predict_few_classes_are_counted_in_a_footnote(images):
    rows = rows_of(images.blocks[0])
    assert rows["p = 0.90", "minority", "DOS"]["F1"].text == "0.500 ± 0.000 [1]"
    assert "[" not in rows["p = 0.90", "minority", "CNN"]["F1"].text
    note = "[1] at the last epoch 1 of 2 runs predict at most half of the classes"
    assert note in images.notes


def test_a_decision_that_a_method_lacks_is_not_another(tmp_path):
    made = cell("cnn", "mnist", "p90")
    write(tmp_path, made, {"f1": [0.5, 0.5]}, class_group="minority")
    paper = DOS | {"metrics": ["f1"], "class_group": "minority"}
    sheet = table(FakePreset(paper, [made]), Store(tmp_path))
    rows = rows_of(sheet.blocks[0])
    assert rows["p = 0.90", "minority", "CNN"]["F1"].text == "0.500 ± 0.000"
    assert rows["p = 0.90", "minority", "kNN"]["F1"].text == "n/a [1]"
    why = "[1] f1 of class group minority by k-nearest neighbours on deep features is not in the record"
    assert any(n.startswith(why) for n in sheet.notes)
    best = table(FakePreset(paper, [made]), Store(tmp_path), readout="best")
    assert rows_of(best.blocks[0])["p = 0.90", "minority", "CNN"]["F1"].text == "0.500 ± 0.000 [1]"  # its last, marked
    assert rows_of(best.blocks[0])["p = 0.90", "minority", "kNN"]["F1"].text == "n/a [2]"


def test_class_groups_may_go_with_the_ratio(tmp_path):
    paper = DOS | {"metrics": ["f1"], "class_group": {"native": ["macro"], "p90": ["minority", "majority"]}}
    balanced = cell("cnn", "mnist")
    write(tmp_path, balanced, {"f1": [0.8, 0.8]}, class_group="macro")
    rare = image_cell(tmp_path, "cnn", "mnist")
    rows = rows_of(table(FakePreset(paper, [balanced, rare]), Store(tmp_path)).blocks[0])
    assert [key[:2] for key in rows if key[2] == "CNN"] == [
        ("native", "all classes"),
        ("p = 0.90", "minority"),
        ("p = 0.90", "majority"),
    ]


SELECTNET = {
    "name": "selectnet",
    "table": "table1",
    "title": "Table 1",
    "published": "table_1",
    "published_as": {
        "method": {"cross_entropy": "imbalanced"},
        "ratio": {"four": "4 minors", "ten": "10 minors"},
        "backbone": {"simple": "simple net", "deep": "ResNet56"},
    },
    "metrics": ["accuracy"],
    "class_group": "all",
    "iterate": "last",
    "rows": ["method"],
    "columns": ["dataset", "ratio", "backbone"],
    "sections": {"paper": {"cross_entropy": "Imbalanced", "selectnet": "SelectNet"}},
}


def test_ratio_and_network_together_are_the_printed_setting_and_no_column_is_empty(tmp_path):
    """The printed setting is "4 minors, simple net"; CIFAR-10 has no column of ten minors."""
    places = [("cifar10", "four", "simple"), ("cifar10", "four", "deep"), ("cifar100", "ten", "deep")]
    cells = [cell("selectnet", d, r, backbone=b, trainer=f"for_{d}") for d, r, b in places]
    for made in cells:
        write(tmp_path, made, {"accuracy": [0.7, 0.7]}, class_group="all")
    sheet = table(FakePreset(SELECTNET, cells), Store(tmp_path))
    assert sheet.blocks[0].header == ["method", "cifar10 four simple", "cifar10 four deep", "cifar100 ten deep"]
    (row,) = sheet.blocks[0].rows
    assert [i.aside for i in row[1:]] == ["(0.7424, -0.0424)", "(0.8011, -0.1011)", "(0.6171, +0.0829)"]
    assert any("the paper prints 30, of which 3 are run" in n for n in sheet.notes)


def test_a_trainer_is_a_row_only_where_it_tells_two_numbers_apart(tmp_path):
    cells = [cell("selectnet", "cifar10", "four", backbone="simple", trainer=t) for t in ("short", "long")]
    for made, value in zip(cells, (0.6, 0.7)):
        write(tmp_path, made, {"accuracy": [value, value]}, class_group="all")
    sheet = table(FakePreset(SELECTNET, cells), Store(tmp_path))
    assert sheet.blocks[0].header[:2] == ["method", "trainer"]
    assert [[i.text for i in row] for row in sheet.blocks[0].rows] == [
        ["SelectNet", "short", "0.600 ± 0.000"],
        ["SelectNet", "long", "0.700 ± 0.000"],
    ]


def test_percentages_and_settings(tmp_path):
    """Table 5 prints 100 times the balanced accuracy; Table 4 settings, those of the configuration without a run."""
    half = {"trainer": {"batch_size": 40, "epochs": 10}, "method": {"initial": 0.5}}
    made = cell("dos", "mnist_back_rotation", "r0", half)
    write(tmp_path, made, {"balanced_accuracy": [0.75, 0.77]}, class_group="macro")
    recall = DOS | {
        "published": "table_5",
        "published_as": {
            "ratio": {"r0": "reduction_rate=0%"},
            "metric": {"balanced_accuracy_pct": "mean_class_recall_pct"},
        },
        "metrics": ["balanced_accuracy_pct"],
        "class_group": "macro",
        "blocks": None,
        "rows": ["ratio"],
        "columns": ["method"],
        "sections": {"paper": {"dos": "DOS"}},
    }
    (row,) = table(FakePreset(recall, [made]), Store(tmp_path)).blocks[0].rows
    assert (row[1].text, row[1].aside) == ("76.00 ± 1.41", "(77.35, -1.35)")
    longer = {"trainer": {"batch_size": 60, "epochs": 20}, "method": {"initial": 0.85}}
    other = cell("dos", "svhn", options=longer)
    settings = recall | {
        "published": "table_4",
        "published_as": {"method": {"dos": ""}, "ratio": {"r0": ""}},
        "metrics": ["n_classes", "n_train", "batch_size", "training_rounds"],
        "rows": ["dataset"],
        "columns": ["metric"],
    }
    run, unrun = table(FakePreset(settings, [made, other]), Store(tmp_path)).blocks[0].rows
    assert [f"{i.text} {i.aside}" for i in run[1:]] == [
        "2 (10, -8)",
        "90 (12000, -11910)",
        "40 (40, +0)",
        "5 (5, +0)",
    ]
    assert [f"{i.text} {i.aside}" for i in unrun[1:]] == [
        "not run (10)",
        "not run (73257)",
        "60 (60, +0)",
        "3 (3, +0)",
    ]


@pytest.mark.parametrize(
    ("paper", "name", "rows", "cells"),
    [
        ("dos", "table_1", 60, 2), ("dos", "table_2", 60, 2), ("dos", "table_3", 18, 4),
        ("dos", "table_4", 25, 5), ("dos", "table_5", 15, 15), ("dos", "table_6", 216, 27),
        ("dos", "table_7", 120, 15), ("dos", "table_8", 30, 15),
        ("selectnet", "table_1", 30, 30), ("selectnet", "table_2", 30, 3), ("selectnet", "table_3", 4, 4),
    ],
)  # fmt: skip
def test_printed_values_of_the_image_papers_load(paper, name, rows, cells):
    printed = PrintedTable(paper, name)
    assert (len(printed.rows), printed.cells) == (rows, cells)


def test_printed_values_of_setconv_load():
    sizes = {
        name: (len((t := PrintedTable("setconv", name)).rows), t.cells) for name in ("table_1", "table_2", "table_4")
    }
    assert sizes == {"table_1": (60, 20), "table_2": (12, 4), "table_4": (75, 5)}


def test_a_data_set_may_be_a_setting_and_a_metric_a_class_group():
    """IRT-NYC stands twice in Table 1, and Table 2 has the numbers of both classes under one name."""
    nyc = {
        "irt_nyc": {"name": "irt_nyc", "setting": "two classes"},
        "nyc4": {"name": "irt_nyc", "setting": "four classes"},
    }
    groups = {"rest": "not_incident_related", "shooting": "shooting"}
    first = PrintedTable("setconv", "table_1", {"method": {"ours": ""}, "dataset": nyc, "class_group": groups})
    found = [first.find("ours", d, "native", "n_instances", g) for d in nyc for g in groups]
    assert [f and f.text for f in found] == ["1446", None, "1446", "45"]
    assert first.places("ours", "nyc4", "native") == {("", "irt_nyc", "four classes")}
    assert {n["dataset"] for n in first.ours("") if n["class_group"] == "shooting" and "nyc" in n["dataset"]} == {
        "nyc4"
    }
    minority = {
        "few": {"name": "n_instances", "class_group": "positive"},
        "many": {"name": "n_instances", "class_group": "negative"},
    }
    renamed = {"method": {"ours": ""}, "metric": minority, "class_group": {"all": ""}}
    second = PrintedTable("setconv", "table_2", renamed)
    found = [second.find("ours", "amazon_books", "native", m, "all") for m in ("few", "many", "imbalance_ratio")]
    assert [f and f.text for f in found] == ["7389", "72039", "9.75"]
    assert {(n["metric"], n["value"]) for n in second.ours("all") if n["dataset"] == "amazon_books"} == {
        ("few", "7389"), ("many", "72039"), ("imbalance_ratio", "9.75")
    }  # fmt: skip


def counting(ratio, dataset="breast_cancer"):
    from tests.tasks import option

    options = {"dataset": option("dataset", dataset), "ratio": option("ratio", ratio)}
    return cell("cross_entropy", dataset, ratio, options=options)


def test_a_table_of_data_sets_is_counted_on_loading(tmp_path):
    """Breast cancer has 357 benign and 212 malignant rows; IR 20 leaves 17 of these. No run stands behind it."""
    paper = PAPER | {
        "counted": True,
        "name": "setconv",
        "published": "table_2",
        "published_as": {
            "method": {"cross_entropy": ""},
            "dataset": {"ecoli": "semieval"},
            "metric": {
                "n_majority": {"name": "n_instances", "class_group": "negative"},
                "n_minority": {"name": "n_instances", "class_group": "positive"},
            },
        },
        "metrics": ["n_instances", "n_majority", "n_minority", "imbalance_ratio"],
        "class_group": "all",
        "rows": ["dataset", "ratio"],
        "columns": ["metric"],
        "sections": {"paper": {"cross_entropy": "instances"}},
    }
    cells = [counting("native"), counting("ir_20"), counting("native", "ecoli")]
    sheet = table(FakePreset(paper, cells), Store(tmp_path), command="train; report", data=tmp_path)
    assert [[i.text for i in row] for row in sheet.blocks[0].rows] == [
        ["breast_cancer", "native", "569", "357", "212", "1.68"],
        ["breast_cancer", "ir_20", "374", "357", "17", "21.00"],
        ["ecoli", "native", "–", "absent [1]", "absent [1]", "–"],
    ]
    assert sheet.title == "Table 2"
    assert sheet.provenance == ["command: report", "counted on loading: no run stands behind it"]
    assert any(note.startswith("[1] the data set does not lie here") for note in sheet.notes)
    classes = ["class:benign", "class:malignant"]
    paper |= {"metrics": ["n_instances"], "class_group": classes, "rows": ["dataset"], "columns": ["class_group"]}
    (row,) = table(FakePreset(paper, cells[:1]), Store(tmp_path)).blocks[0].rows
    assert [i.text for i in row] == ["breast_cancer", "357", "212"]


def test_width_and_norm_of_vectors(tmp_path):
    made = cell("setconv", "imdb", backbone="lsa")
    folder = write(tmp_path, made, {"f1": [0.5, 0.7]}, data={"features": 384})
    record = json.loads((folder / "record.json").read_text())
    for run, norm in zip(record["runs"], (1.0, 2.0)):
        run["info"]["mean_norm"] = norm
    (folder / "record.json").write_text(json.dumps(record))
    other = cell("iht", "imdb", backbone="lsa")
    write(tmp_path, other, {"f1": [0.5, 0.7]}, data={"features": 384})
    paper = PAPER | {
        "published": None,
        "metrics": ["n_features", "mean_norm"],
        "rows": ["method"],
        "columns": ["metric"],
        "sections": {"paper": {"setconv": "SetConv", "iht": "IHT"}},
    }
    ours, theirs = table(FakePreset(paper, [made, other]), Store(tmp_path)).blocks[0].rows
    assert [i.text for i in ours] == ["SetConv", "384", "1.50"]
    assert [i.text for i in theirs] == ["IHT", "384", "n/a [1]"]


# Rows of chosen networks, and numbers of generated rows (MISO)

SHARES = ["difficult_before_pct", "difficult_after_pct", "difficult_change_pct"]
TEXTS = {
    "name": "miso",
    "table": "table4",
    "title": "Table 4",
    "published": "table_4",
    "published_as": {
        "method": {
            "cross_entropy/textcnn": "textcnn",
            "miso/textcnn": [
                {"name": "miso_cnn", "metrics": ["f1_pct"]},
                {"name": "no_oversampling", "metrics": SHARES[:1]},
                {"name": "miso", "metrics": SHARES[1:]},
            ],
        },
        "ratio": {"native": "natural imbalance"},
        "class_group": {"minority_difficult": "difficult", "minority": "difficult"},
        "metric": dict(zip(SHARES, ["percentage", "percentage", "percentage_change"])),
    },
    "metrics": [*SHARES, "f1_pct"],
    "lower": SHARES,
    "class_group": ["minority", "minority_difficult"],
    "only": {
        **dict.fromkeys(SHARES, {"class_group": ["minority"], "method": ["miso"]}),
        "f1_pct": {"class_group": ["minority_difficult"]},
    },
    "iterate": "last",
    "rows": ["method"],
    "columns": ["class_group", "metric"],
    "titles": {"class_group": {"minority": "", "minority_difficult": "difficult"}},
    "sections": {"paper": {"cross_entropy/textcnn": "TextCNN", "miso/textcnn": "M-CNN"}},
}


def text_cell(outputs, method, backbone, f1, infos=None):
    made = cell(method, "sms_spam", backbone=backbone, trainer="textcnn")
    write(outputs, made, {"f1": f1}, class_group="minority_difficult", infos=infos)
    return made


def generated(*shares):
    return [{"generator": {"1": {"difficult_before": a, "difficult_after": b, "warning": "text"}}} for a, b in shares]


def test_shares_of_generated_rows_stand_beside_the_printed_rows_that_have_them(tmp_path):
    plain = text_cell(tmp_path, "cross_entropy", "textcnn", [0.5, 0.7])
    made = text_cell(tmp_path, "miso", "textcnn", [0.6, 0.8], generated((0.4, 0.3), (0.5, 0.2)))
    sheet = table(FakePreset(TEXTS, [plain, made]), Store(tmp_path))
    heads = ["method", "difficult before (%)", "after (%)", "change (%)", "difficult F1 (%)"]
    assert sheet.blocks[0].header == heads
    rows = texts(sheet)
    assert [i.text for i in rows["TextCNN"]] == ["–", "–", "–", "60.00 ± 14.14"]
    assert [i.text for i in rows["M-CNN"]] == ["45.00 ± 7.07", "25.00 ± 7.07", "-20.00 ± 14.14", "70.00 ± 14.14"]
    assert [i.aside for i in rows["M-CNN"]] == ["(42.1, +2.9)", "(22.0, +3.0)", "(-22.1, +2.1)", "(62.1, +7.9)"]
    assert rows["TextCNN"][3].aside == "(61.9, -1.9)"
    assert "of which 4 are run" in next(n for n in sheet.notes if "cells of this grid" in n)


def test_numbers_of_generated_rows_are_means_over_classes():
    assert frames._generated({}) == {}
    info = {"generator": {"1": {"copies": 0.2, "anchors": 3}, "2": {"copies": 0.4}}}
    assert frames._generated(info) == pytest.approx({"copies": 0.3})


def test_a_row_may_be_the_best_of_several_networks(tmp_path):
    named = {"crt/*": "crt", "focal/textcnn|textrnn": "focal"}
    paper = TEXTS | {
        "published": "table_3",
        "published_as": {"method": named, "ratio": {"native": "natural imbalance"}},
        "metrics": ["f1_pct", "recall_pct"],
        "class_group": "minority_difficult",
        "columns": ["metric"],
        "only": None,
        "sections": {"paper": {"focal/textcnn|textrnn": "Focal", "crt/*": "cRT", "crt/textcnn": "cRT, TextCNN"}},
    }
    values = {("crt", "textcnn"): (0.5, 0.9), ("crt", "textrnn"): (0.6, 0.1), ("focal", "textcnn"): (0.7, 0.7)}
    cells = [cell(m, "sms_spam", backbone=b) for m in ("focal", "crt") for b in ("textcnn", "textrnn", "xlnet")]
    for made in cells:
        if found := values.get((made.labels["method"], made.labels["backbone"])):
            numbers = {name: [v, v] for name, v in zip(("f1", "recall"), found)}
            write(tmp_path, made, numbers, class_group="minority_difficult")
    sheet = table(FakePreset(paper, cells), Store(tmp_path))
    rows = texts(sheet)
    # the network of the better F1, whatever its recall
    assert [i.text for i in rows["cRT"]] == ["60.00 ± 0.00 [1]", "10.00 ± 0.00 [1]"]
    assert "[1] best of textcnn, textrnn: textrnn" in sheet.notes
    assert rows["cRT"][0].aside == "(87.2, -27.2)" and rows["Focal"][0].aside == "(86.6, -16.6)"
    assert [i.text for i in rows["Focal"]] == ["70.00 ± 0.00", "70.00 ± 0.00"]  # the other was not run
    assert [i.text for i in rows["cRT, TextCNN"]] == ["50.00 ± 0.00", "90.00 ± 0.00"]
    assert [i.text for i in texts(sheet, 1)["focal/xlnet"]] == ["not run", "not run"]  # no row was declared for it


def test_printed_values_of_miso_load():
    tables = {n: PrintedTable("miso", f"table_{n}") for n in range(1, 6)}
    sizes = {n: (len(t.rows), t.cells) for n, t in tables.items()}
    assert sizes == {1: (36, 9), 2: (45, 9), 3: (135, 117), 4: (135, 72), 5: (135, 72)}


def test_csv_parses_and_is_tidy(outputs):
    text = rendered(table(grid(), Store(outputs)), "csv")
    assert text.startswith("# ")
    frame = pd.read_csv(io.StringIO(text), comment="#")
    row = frame[(frame.method == "explicit_gradient") & (frame.dataset == "ecoli")].iloc[0]
    assert (row["mean"], row["published"], row["runs"], row["section"]) == (0.6, 0.78, 2, "paper")
    assert round(row["difference"], 6) == -0.18
    assert set(frame["dataset"]) == {*DATASETS, "mean_over_2_datasets"}


def test_every_format_carries_its_provenance(outputs):
    sheet = table(grid(), Store(outputs), command="python scripts/report.py --table 2")
    for form in ("md", "csv", "tex", "html"):
        text = rendered(sheet, form)
        for fact in ("A Processor", "2026-01-02", "torch 2.15.0", "9 s for 18 runs in 9 cells", "scripts/report.py"):
            assert fact in text, (form, fact)


def test_latex_is_balanced_and_escaped(outputs):
    text = rendered(table(grid(), Store(outputs)), "tex")
    assert r"\toprule" in text and r"\bottomrule" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert r"\bfseries 0.700 +- 0.141 &" in text
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[_#]", body)
    rows = [line for line in body.splitlines() if line.startswith("ecoli")]
    assert [row.count("&") for row in rows] == [4, 2, 1]  # what is beside a number has a column of its own


def test_markdown_bolds_the_best(outputs):
    text = rendered(table(grid(), Store(outputs)), "md")
    assert re.search(r"\| oil .*\*\*0\.600 ± 0\.000\*\* \(0\.63, -0\.03\)", text)
