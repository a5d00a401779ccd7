"""scripts/report.py on any selection of records: metrics, axes, classes, parts, formats, and what it refuses."""

from __future__ import annotations

import csv
import shlex
from dataclasses import replace

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.report import any_records
from imbalance_bench.report.cli import main
from imbalance_bench.report.records.selection import Asked, selection
from imbalance_bench.report.sheets.summary import summaries
from imbalance_bench.store import Store
from tests.latex import check_latex
from tests.records import cell, decline, write

CLASSES = ("<b>no</b>", "10% of $x_1 & {y}")
VALUES = {"smote": 0.6, "focal": 0.5, "ldam": 0.4}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for k, dataset in enumerate(("ecoli", "oil", "abalone")):
        for method, value in VALUES.items():
            numbers = [value + 0.01 * k, value + 0.03 * k]
            per_class = {
                ("last", f"class:{name}", "recall"): [v / (i + 1) for v in numbers] for i, name in enumerate(CLASSES)
            }
            values = {"auc_pr": numbers, "f1": [v / 2 for v in numbers], "brier": [1 - v for v in numbers]}
            write(folder, cell(method, dataset), values, more=per_class, valid=[0.9, 0.8])
    decline(folder, cell("mesa", "oil"), "two classes only")
    return folder


def run(capsys, outputs, words):
    status = main(["--outputs", str(outputs), *shlex.split(words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def rows(sheet, block=0):
    made = sheet.blocks[block]
    keys = made.keys
    return {
        tuple(i.text for i in row[:keys]): dict(zip(made.header[keys:], row[keys:])) for row in made.rows + made.summary
    }


def sheet_of(outputs, asked, *filters):
    (sheet,) = summaries(selection(Store(outputs), filters, asked))
    return sheet


def test_several_metrics_in_one_table(outputs):
    sheet = sheet_of(outputs, Asked(("f1", "brier"), columns=("method", "metric")), "method=smote,focal")
    table = rows(sheet)
    assert sheet.blocks[0].heading == "native, holdout_kfold, mlp"
    names = ["focal, F1 (positive)", "focal, brier (positive)", "smote, F1 (positive)", "smote, brier (positive)"]
    assert sheet.blocks[0].header == ["dataset", *names]
    assert [table[("ecoli",)][name].text for name in names] == [
        "0.250 ± 0.000", "0.500 ± 0.000", "0.300 ± 0.000", "0.400 ± 0.000",
    ]  # fmt: skip
    assert [i.bold for i in table[("oil",)].values()] == [False, False, True, True]  # of an error the lower
    mean, rank = (table[(f"{kind} (3 of 3 sets)",)] for kind in ("mean", "mean rank"))
    assert mean[names[0]].text == "0.260 ± 0.010" and [i.text for i in rank.values()] == [
        "2.00",
        "2.00",
        "1.00",
        "1.00",
    ]


def test_methods_down_and_data_sets_across_with_means_beside(outputs):
    sheet = sheet_of(outputs, Asked(("auc_pr",), rows=("method",), columns=("dataset",)), "method=smote,focal")
    (block,) = sheet.blocks
    assert block.header == ["method", "abalone", "ecoli", "oil", "mean (3 of 3 sets)", "mean rank (3 of 3 sets)"]
    assert [i.text for i in block.rows[0]] == [
        "focal", "0.540 ± 0.028", "0.500 ± 0.000", "0.520 ± 0.014", "0.520 ± 0.020", "2.00",
    ]  # fmt: skip
    assert [i.bold for i in block.rows[1]] == [False, True, True, True, True, True]
    assert "Friedman test of ours (2 methods, 3 sets)" in "".join(sheet.notes)


def test_class_by_class(outputs):
    asked = Asked(("recall",), ("class:*",), rows=("method",), columns=("class",))
    table = rows(sheet_of(outputs, asked, "dataset=ecoli"))
    assert list(table[("smote",)]) == list(CLASSES)
    assert [i.text for i in table[("smote",)].values()] == ["0.600 ± 0.000", "0.300 ± 0.000"]
    down = sheet_of(outputs, replace(asked, rows=("dataset", "class"), columns=("method",)))
    assert rows(down)[("oil", CLASSES[0])]["smote"].text == "0.620 ± 0.014"
    assert rows(down)[("oil", CLASSES[1])]["mesa"].text == "n/a [1]"
    one = sheet_of(outputs, Asked(("recall",), (CLASSES[1],)))
    assert rows(one)[("ecoli",)]["smote"].text == "0.300 ± 0.000"


def test_validation_rows(outputs, tmp_path):
    assert rows(sheet_of(outputs, Asked(part="valid")))[("oil",)]["smote"].text == "0.850 ± 0.071"
    write(tmp_path, cell("a"), [0.5], valid=[0.6], validation="trained on")
    write(tmp_path, cell("b"), [0.5], valid=[0.6])
    sheet = sheet_of(tmp_path, Asked(part="valid"))
    assert {name: i.text for name, i in rows(sheet)[("ecoli",)].items()} == {"a": "n/a [1]", "b": "0.600"}
    assert "trained on" in sheet.notes[-1]


def test_an_option_across(tmp_path):
    for gamma, value in ((0.5, 0.4), (2, 0.6), (10, 0.5)):
        write(tmp_path, cell("focal", options={"method": {"gamma": gamma}}), [value])
    write(tmp_path, cell("smote"), [0.7])
    sheet = sheet_of(tmp_path, Asked(columns=("method.gamma",)))
    assert [b.heading for b in sheet.blocks] == [
        "AUC-PR (positive), focal, native, holdout_kfold, mlp",
        "AUC-PR (positive), smote, native, holdout_kfold, mlp",
    ]
    table = rows(sheet)[("ecoli",)]
    assert {name: i.bold for name, i in table.items()} == {"0.5": False, "2": True, "10": False}
    assert set(sheet.frame["method.gamma"]) == {"0.5", "2", "10", "–"}


@pytest.mark.parametrize("form, start", {"md": "<!--", "csv": "# ", "tex": "% ", "html": "<!doctype"}.items())
def test_every_format_takes_class_names_that_are_markup(capsys, outputs, form, start):
    words = f"--metric recall --per-class --rows method --columns class dataset=ecoli --format {form}"
    status, out, _ = run(capsys, outputs, words)
    assert status == 0 and out.startswith(start)
    shown = {
        "md": r"\<b>no\</b>", "csv": "class:<b>no</b>", "tex": r"10\% of \$x\_1 \& \{y\}",
        "html": "&lt;b&gt;no&lt;/b&gt;",
    }  # fmt: skip
    assert shown[form] in out
    if form == "tex":
        check_latex(out)


def test_what_was_trained_on_other_rows_is_not_mixed_whichever_way_the_table_lies(tmp_path):
    write(tmp_path, cell("smote"), [0.5], subset="aaaa")
    write(tmp_path, cell("focal"), [0.5], subset="bbbb")
    for rows, columns in (("dataset", "method"), ("method", "dataset"), ("backbone", "method")):
        with pytest.raises(BenchError, match="one table would mix two training sets of fold 0"):
            selection(Store(tmp_path), [], Asked(rows=(rows,), columns=(columns,)))


def test_the_command_of_a_table_is_the_one_that_makes_it(capsys, outputs):
    words = "--metric recall --per-class --rows method --columns class dataset=ecoli,oil"
    status, out, _ = run(capsys, outputs, words)
    assert status == 0
    command = out.splitlines()[0].removeprefix("<!-- command: ").removesuffix(" -->")
    assert main(shlex.split(command)[2:]) == 0 and capsys.readouterr().out == out


def test_several_tables_are_written_under_names_of_their_own(capsys, outputs, tmp_path):
    status, out, _ = run(capsys, outputs, "--metric f1,brier --rows method --columns dataset --write --format csv")
    assert status == 0
    names = [line.rpartition("/")[2] for line in out.splitlines() if line.startswith(str(outputs))]
    assert names == ["summary_f1_method_by_dataset.csv", "summary_brier_method_by_dataset.csv"]
    lines = (outputs / "tables" / "summary" / names[0]).read_text().splitlines()
    table = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert len(table) == 10 and {row["metric"] for row in table} == {"f1"}


def test_a_table_that_nobody_can_read_is_offered_as_csv(capsys, outputs, monkeypatch):
    monkeypatch.setattr(any_records, "MOST_CELLS", 11)
    status, _, error = run(capsys, outputs, "")
    assert status == 1 and "3 rows x 4 columns, which is 12 cells: --format csv" in error
    assert run(capsys, outputs, "--format csv")[0] == 0 and run(capsys, outputs, "dataset=oil")[0] == 0


@pytest.mark.parametrize(
    "words, says",
    [
        ("--metric f1,brierr", "no record has the metric brierr: did you mean brier"),
        ("--metric recall --group posative", "recall of the class group posative: "),
        ("--rows dataste", "no record has the axis or option dataste: did you mean dataset"),
        ("--columns dataset", "dataset is both down and across: say what is across by --rows"),
        ("--rows method", "method is both down and across: say what is across by --columns"),
        ("--per-class --group positive", "leave out one"),
        ("--tuned --rows method --columns dataset", "--tuned has rows and columns of its own"),
        ("--paper explicit_gradient --per-class", "--per-class is for the summary"),
        ("dataset=nowhere", "no cell has dataset=nowhere"),
        ("method=mesa dataset=ecoli", "no cell has all of method=mesa dataset=ecoli"),
    ],
)
def test_mistakes(capsys, outputs, words, says):
    status, out, error = run(capsys, outputs, words)
    assert (status, out) == (1, "") and says in error


def test_a_table_without_a_number_is_stored_without_its_picture(tmp_path, capsys):
    decline(tmp_path, cell("mesa"), "two classes only")
    assert main(["--outputs", str(tmp_path), "--write"]) == 0
    assert "two classes only" in capsys.readouterr().out
    assert (tmp_path / "tables/summary/summary.md").exists() and not (tmp_path / "figures").exists()


@pytest.mark.parametrize("words", [[], ["--write"], ["--format", "csv"]])
def test_the_command_takes_an_option_as_an_axis(tmp_path, capsys, words):
    for gamma in (1, 2):
        write(tmp_path, cell("focal", options={"method": {"gamma": gamma}}), [0.0])
    assert main(["--outputs", str(tmp_path), "--columns", "method.gamma", *words]) == 0
    assert "method.gamma" in capsys.readouterr().out
