"""The table over whatever was run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from imbalance_bench.errors import BenchError
from imbalance_bench.report.cli import main
from imbalance_bench.report.figures import bars
from imbalance_bench.report.records.selection import selection
from imbalance_bench.report.sheets.advice import advice
from imbalance_bench.report.sheets.differences import AskedTest, differences
from imbalance_bench.report.sheets.summary import scores_in, summary
from imbalance_bench.report.sheets.tuned import tuned_table
from imbalance_bench.settings.identity import digest
from imbalance_bench.store import SCHEMA, Store
from tests.records import PROVENANCE, cell, decline, edit, fail, write


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


def test_a_failed_cell_says_so_where_its_number_would_stand(tmp_path):
    """In the row and column of what agrees with it in every option; a dash is a cell that nobody ran."""
    for method in ("smote", "focal", "dos"):
        write(tmp_path, cell(method, "ecoli", options={"method": {"k": 1}}), [0.5, 0.6])
    write(tmp_path, cell("smote", "oil", options={"method": {"k": 1}}), [0.5, 0.6])
    same, other = (cell(method, "oil", options={"method": {"k": k}}) for method, k in (("focal", 1), ("dos", 2)))
    for made in (same, other):
        fail(tmp_path, made, "no memory")
        folder = Store(tmp_path).cell(made.labels, made.id).path
        (folder / "config.yaml").write_text(yaml.safe_dump(made.config))
    sheet = summary(Store(tmp_path))
    assert {m: i.text for m, i in rows(sheet)["oil"].items()} == {
        "dos": "–",
        "focal": "failed [1]",
        "smote": "0.550 ± 0.071",
    }
    assert "[1] no memory" in sheet.notes and rows(sheet)["oil"]["focal"].cell == same.id
    (folder.parent.parent / "focal" / same.id / "config.yaml").unlink()  # as earlier versions left it
    assert rows(summary(Store(tmp_path)))["oil"]["focal"].text == "failed [1]"
    write(tmp_path, cell("focal", "ecoli", options={"method": {"k": 2}}), [0.5, 0.6])  # nobody knows which it was
    assert {i.text for m, i in rows(summary(Store(tmp_path)))["oil"].items() if "focal" in m} == {"–"}


def test_one_run_a_cell_is_no_runs(tmp_path):
    write(tmp_path, cell("smote"), [0.5])
    assert "over 1 run a cell" in notes(tmp_path)


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
    with pytest.raises(BenchError, match="no cell has dataset=oil: did you mean"):
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
    drawing = bars(scores_in(sheet), sheet.title, sheet.provenance)
    assert drawing.png.startswith(b"\x89PNG")
    assert b"<svg" in drawing.svg
    assert ("over the data sets" in drawing.caption) == (sets > 12)


def test_names_that_look_like_formulas_are_drawn_as_they_stand(tmp_path):
    for method in ("smote", "cost $5 or $x_$"):
        write(tmp_path, cell(method, "ecoli $\\frac$"), [0.5, 0.6])
    sheet = summary(Store(tmp_path))
    assert bars(scores_in(sheet), sheet.title, sheet.provenance).svg


# What does not count, and what does not go together


def notes(outputs, *filters):
    return "\n".join(summary(Store(outputs), list(filters)).notes)


@pytest.mark.parametrize(
    "damage, says",
    [
        (
            lambda f: (f / "record.json").write_text("{}"),
            "Left out, damaged: .*record.json is damaged .no valid",
        ),
        (lambda f: edit(f, schema=SCHEMA - 1), "Left out, outdated: .*has schema"),
        (lambda f: edit(f, id="another"), "Left out, damaged: .*is that of cell another"),
        (lambda f: edit(f, files={"metrics.csv": "other"}), "Left out, damaged: .*metrics.csv is damaged .*rescore.py"),
        (lambda f: (f / "metrics.csv").write_text("run,fold\n0,zero\n"), "Left out, damaged: .*metrics.csv is damaged"),
        (lambda f: (f / "metrics.csv").write_bytes(b"\xff"), "Left out, damaged: .*metrics.csv is damaged"),
        (lambda f: (f / "metrics.csv").unlink(), "Left out, damaged: .*metrics.csv is missing"),
    ],
)
def test_what_is_damaged_is_listed_and_blocks_nothing_else(tmp_path, damage, says):
    write(tmp_path, cell("smote"), [0.5])
    damage(write(tmp_path, cell("focal"), [0.9]))
    damage(write(tmp_path, cell("dice"), [0.8]))
    assert list(rows(summary(Store(tmp_path)))["ecoli"]) == ["smote"]
    assert len(re.findall(says, notes(tmp_path))) == 2


def test_a_folder_that_was_copied_is_not_pooled(tmp_path):
    folder = write(tmp_path, cell("smote"), [0.5, 0.7])
    shutil.copytree(folder, folder.with_name(f"{folder.name} (copy)"))
    shutil.copytree(folder, folder.parent.parent / "elsewhere" / folder.name)
    table = rows(summary(Store(tmp_path)))
    assert table["ecoli"]["smote"].text == "0.600 ± 0.141"
    assert "over 2 runs a cell" in notes(tmp_path)
    assert re.search("Left out, damaged: .*copy.*copied folder counts for nothing", notes(tmp_path))
    assert re.search(f"Left out, double: .* is a second record of cell {folder.name}", notes(tmp_path))


def own_data(outputs, method, values, sha256, date="2026-01-01", path="mine.csv"):
    made = cell(method, "mine", options={"dataset": {"path": path}})
    folder = write(outputs, replace(made, id=digest([made.id, sha256])), values)
    contents = {"contents": {"fingerprint": {"sha256": sha256}}} if sha256 else {}
    edit(folder, **contents, provenance=PROVENANCE | {"date": date})


def test_versions_of_ones_own_data_stand_apart(tmp_path):
    """A table that was edited under one name: two rows, never numbers of both in one."""
    own_data(tmp_path, "smote", [0.5], "a", "2026-01-01")
    assert "mine" in rows(summary(Store(tmp_path)))
    own_data(tmp_path, "smote", [0.7], "b", "2026-01-02")
    own_data(tmp_path, "focal", [0.9], "a", "2026-01-01")
    table = rows(summary(Store(tmp_path)))
    older, newer = (f"mine data={digest({'sha256': s})[:6]}" for s in "ab")
    assert (table[older]["smote"].text, table[newer]["smote"].text) == ("0.500", "0.700")
    assert (table[older]["focal"].text, table[newer]["focal"].text) == ("0.900", "–")
    assert f"dataset=mine was run on several versions of its data, a row each; the newest is '{newer}'" in notes(
        tmp_path
    )


SPELLED = {"smote": "mine.csv", "focal": "./mine.csv", "drw": "/home/me/mine.csv"}


def test_ones_own_data_by_other_spellings_of_its_path_are_one_row(tmp_path):
    for method, path in SPELLED.items():
        own_data(tmp_path, method, [0.5, 0.6], "a", path=path)
    assert list(rows(summary(Store(tmp_path)))) == ["mine"]
    assert list(tuned_table(Store(tmp_path)).frame["dataset"].unique()) == ["mine"]
    assert "3 methods in 3 cells" in advice(Store(tmp_path))
    found = selection(Store(tmp_path))
    assert {found.unit_of(r["id"]) for r in found.records} == {"mine"}
    assert len(differences(found, AskedTest("corrected_t")).frame) == 3
    write(tmp_path, cell("ldam", "oil"), [0.5, 0.6])
    lost = cell("ldam", "mine", options={"dataset": {"path": str(Path("mine.csv").absolute()), "copies": "apart"}})
    Store(tmp_path).cell(lost.labels, lost.id).fail("no memory", "", yaml.safe_dump(lost.config))
    assert rows(summary(Store(tmp_path)))["mine"]["ldam"].text.startswith("failed")


def test_other_content_under_one_label_keeps_its_path(tmp_path):
    for (method, path), sha256 in zip(SPELLED.items(), "aab"):
        own_data(tmp_path, method, [0.5], sha256, path=path)
    of = {
        path: f"mine path={path} data={digest({'sha256': s})[:6]}"
        for path, s in zip(("mine.csv", SPELLED["drw"]), "ab")
    }
    assert set(rows(summary(Store(tmp_path)))) == set(of.values())


def test_data_of_records_that_do_not_say_which_stand_apart_too(tmp_path):
    own_data(tmp_path, "smote", [0.5], "", "2026-01-01")
    own_data(tmp_path, "smote", [0.7], "b", "2026-01-02")
    assert "mine data=not recorded" in rows(summary(Store(tmp_path)))


def test_of_records_that_differ_in_a_plug_in_the_newest_counts(tmp_path):
    made = cell("mine")
    for i, (value, date) in enumerate([(0.9, "2026-01-02"), (0.5, "2026-01-03"), (0.1, "2026-01-01")]):
        folder = write(tmp_path, replace(made, id=f"{i:012d}"), [value])
        edit(folder, contents={"plugins": {"mine": str(i)}}, provenance=PROVENANCE | {"date": date})
    assert rows(summary(Store(tmp_path)))["ecoli"]["mine"].text == "0.500"
    assert "mine on ecoli: the newest of 3 records with the same options" in notes(tmp_path)


def test_records_of_different_code_are_noted(tmp_path):
    for i, (method, code) in enumerate([("smote", "a"), ("smote", "b"), ("focal", "b"), ("dice", None)]):
        folder = write(tmp_path, cell(method, f"set{i}"), [0.5])
        edit(folder, **({"code": {"imbalance_bench.methods.base": code}} if code else {}))
    assert "Records of different code stand side by side (methods/base.py; methods focal, smote)" in notes(tmp_path)
    assert "1 of 4 records do not name the code that made them" in notes(tmp_path)
    assert "different code" not in notes(tmp_path, "dataset=set1,set2,set3")
    assert "do not name the code" not in notes(tmp_path, "dataset=set3")


def test_a_folder_with_labels_that_are_no_text_is_reported(tmp_path):
    folder = write(tmp_path, cell("smote", "2024"), [0.5])
    edit(folder, labels=json.loads((folder / "record.json").read_text())["labels"] | {"dataset": 2024, "trainer": None})
    write(tmp_path, cell("smote", "ecoli"), [0.7])
    assert rows(summary(Store(tmp_path), ["dataset=2024"]))["2024"]["smote"].text == "0.500"


@pytest.mark.parametrize("asked", [[], ["--tuned"], ["--advise"], ["--test", "wilcoxon"], ["--figure", "bars"]])
def test_where_every_cell_failed_that_is_said(asked, tmp_path, capsys):
    for method in ("smote", "focal", "ldam", "adasyn"):
        fail(tmp_path, cell(method), f"no memory for {method}")
    assert main(["--outputs", str(tmp_path), *asked]) == 1
    said = capsys.readouterr().err
    assert "4 cells failed, and none has a record" in said and "make demo" not in said
    assert "adasyn on ecoli: no memory for adasyn" in said and "and 1 more" in said
    assert main(["--outputs", str(tmp_path), *asked, "method=smote"]) == 1
    said = capsys.readouterr().err
    assert "that match method=smote: 1 cell failed" in said and "adasyn" not in said


def test_the_rescore_that_is_advised_is_of_these_records_and_keeps_their_calibrations(tmp_path):
    for method, kinds, cost in (("smote", ["temperature"], 10.0), ("focal", ["isotonic"], 25.0)):
        values = {"auc_pr": [0.5, 0.6], "cost": [0.3, 0.2], f"brier_{kinds[0]}": [0.1, 0.2]}
        edit(write(tmp_path, cell(method), values, valid=[0.5, 0.5]), calibration=kinds, cost=cost)
    for metric, words in (
        ("brier_platt", "--calibration isotonic,temperature,platt"),
        ("f1_tuned", ""),
        ("mine", "'plugins=[<its module>]'"),
    ):
        with pytest.raises(BenchError) as error:
            summary(Store(tmp_path), metric=metric)
        assert " ".join(filter(None, ["`python scripts/rescore.py", words, f"--outputs {tmp_path}`"])) in str(
            error.value
        )
    absent = "\n".join(summary(Store(tmp_path), metric="brier_isotonic").notes)
    assert f"rescore.py --calibration isotonic,temperature --outputs {tmp_path}` computes it" in absent
    sheet = summary(Store(tmp_path), metric="cost")
    assert f"rescore.py --cost 25 --outputs {tmp_path}` counts it alike in all" in "\n".join(sheet.notes)
    assert not any(item.bold for row in sheet.blocks[0].rows for item in row)  # of different costs
