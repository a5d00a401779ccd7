"""report.py --tuned: options are chosen on validation rows, and test rows decide nothing."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.report.cli import main
from imbalance_bench.report.records import tuning
from imbalance_bench.report.sheets.tuned import tuned_table
from imbalance_bench.store import Store
from tests.records import cell, decline, write

NAN = math.nan


def option(gamma, method="focal", dataset="ecoli", **more):
    groups = {"method": {"gamma": gamma}} | more
    return cell(method, dataset, options=groups)


def table(outputs, *filters, **how):
    """Row name → the texts of its columns."""
    (block,) = tuned_table(Store(outputs), list(filters), **how).blocks
    return {row[1].text: [item.text for item in row[2:]] for row in block.rows}


def notes(outputs, **how):
    return "\n".join(tuned_table(Store(outputs), **how).notes)


def planted(outputs):
    """The option that is best on test, gamma=5, is not best on validation; and the two runs choose otherwise."""
    write(outputs, option(1), [0.50, 0.60], valid=[0.9, 0.2])
    write(outputs, option(2), [0.40, 0.70], valid=[0.1, 0.8])
    write(outputs, option(5), [0.80, 0.90], valid=[0.3, 0.3])
    write(outputs, cell("smote"), [0.65, 0.75], valid=[0.5, 0.5])


def test_each_run_takes_the_option_that_is_best_on_its_validation_rows(tmp_path):
    planted(tmp_path)
    found = table(tmp_path)
    assert found == {
        "focal, tuned over 3": ["0.600 ± 0.141", "0.850 ± 0.071", "+0.250", "0.850"],
        "smote, not tuned": ["0.700 ± 0.071", "–", "–", "–"],
    }
    frame = tuned_table(Store(tmp_path)).frame
    chose = frame[frame["method"] == "focal"]
    assert chose["option"].tolist() == ["method.gamma=1", "method.gamma=2"]
    assert chose["option_on_test"].tolist() == ["method.gamma=5", "method.gamma=5"]
    assert (chose["valid"].tolist(), chose["test"].tolist()) == ([0.9, 0.8], [0.5, 0.7])
    (block,) = tuned_table(Store(tmp_path)).blocks
    assert [row[2].bold for row in block.rows] == [False, True]
    assert block.rows[0][5].aside == "(method.gamma=5)"


def test_the_best_of_one_data_set_is_not_bold_on_another(tmp_path):
    for dataset, focal in (("ecoli", 0.5), ("oil", 0.9)):
        for gamma in (1, 2):
            write(tmp_path, option(gamma, dataset=dataset), [focal, focal], valid=[0.5, 0.5])
            write(tmp_path, option(gamma, "ldam", dataset), [0.7, 0.7], valid=[0.5, 0.5])
    (block,) = tuned_table(Store(tmp_path)).blocks
    assert [row[2].bold for row in block.rows] == [False, True, True, False]


def test_equal_options_the_first_by_value(tmp_path):
    for gamma in (10, 5, None, 2):
        write(tmp_path, option(gamma), [0.5, 0.6], valid=[0.3, 0.3])
    frame = tuned_table(Store(tmp_path)).frame
    assert frame["option"].tolist() == ["method.gamma=null"] * 2
    names = tuning.named_options(Store(tmp_path).records())
    assert list(names.values()) == [f"method.gamma={g}" for g in ("null", 2, 5, 10)]


def test_of_what_is_an_error_the_lowest_is_chosen(tmp_path):
    for gamma, test, valid in ((1, 0.4, 0.1), (2, 0.2, 0.3)):
        write(tmp_path, option(gamma), {"mse": [test]}, class_group="all", valid={"mse": [valid]})
    assert table(tmp_path) == {"focal, tuned over 2": ["0.400", "0.200", "-0.200", "0.200"]}


def test_by_another_metric_and_of_another(tmp_path):
    write(tmp_path, option(1), {"auc_pr": [0.5], "f1": [0.1]}, valid={"auc_pr": [0.9], "f1": [0.3]})
    write(tmp_path, option(2), {"auc_pr": [0.7], "f1": [0.2]}, valid={"auc_pr": [0.1], "f1": [0.4]})
    assert table(tmp_path)["focal, tuned over 2"][0] == "0.500"
    assert table(tmp_path, by="f1")["focal, tuned over 2"][:2] == ["0.700", "0.700"]
    assert table(tmp_path, metric="f1")["focal, tuned over 2"][0] == "0.200"
    assert table(tmp_path, metric="f1", by="auc_pr")["focal, tuned over 2"] == ["0.100", "0.200", "+0.100", "0.200"]
    with pytest.raises(BenchError, match="no record has the metric g_men"):
        tuned_table(Store(tmp_path), by="g_men")


def test_no_option_is_chosen_by_a_threshold_and_of_thresholds_none_is_the_best(tmp_path):
    for gamma, threshold, f1 in ((1, 0.3, 0.8), (2, 0.6, 0.4)):
        scores = {"f1": [f1], "threshold_f1": [threshold]}
        write(tmp_path, option(gamma), scores, valid=scores)
    for words in ({"by": "threshold_f1"}, {"metric": "threshold_f1"}, {"metric": "f1", "by": "threshold_f1"}):
        with pytest.raises(BenchError, match="no value of threshold_f1 is better than another.* such as --by f1"):
            tuned_table(Store(tmp_path), **words)
    shown = tuned_table(Store(tmp_path), metric="threshold_f1", by="f1").blocks[0].rows[0]
    assert [(item.text, item.bold) for item in shown[2:]] == [
        ("0.300", False), ("0.300", False), ("–", False), ("–", False)
    ]  # fmt: skip


def test_options_are_of_method_trainer_and_backbone_and_no_seed_is_one(tmp_path):
    write(tmp_path, option(1, trainer={"lr": 0.1}), [0.5], valid=[0.1])
    write(tmp_path, option(1, trainer={"lr": 0.01}), [0.6], valid=[0.2])
    write(tmp_path, option(1, backbone={"hidden": [64]}), [0.7], valid=[0.3])
    write(tmp_path, option(1, trainer={"compile": True, "deterministic": False, "lr": 0.2}), [0.9], valid=[0.15])
    assert list(table(tmp_path)) == ["focal, tuned over 4"]
    for seed in (1, 2):
        write(tmp_path, option(1, "smote", seed=seed), [0.5], valid=[0.5])
        write(tmp_path, option(1, "ldam", ratio={"seed": seed}), [0.5], valid=[0.5])
    names = [row[1].text for block in tuned_table(Store(tmp_path)).blocks for row in block.rows]
    focal, smote = ["focal, tuned over 4"], ["smote seed=1, not tuned", "smote seed=2, not tuned"]
    assert names == ["ldam, not tuned", "ldam, not tuned", *focal, *smote]  # those of two ratios first


def test_an_option_that_lacks_a_run_is_left_out_and_named(tmp_path):
    planted(tmp_path)
    write(tmp_path, option(7), [0.9, NAN], valid=[1.0, NAN])
    write(tmp_path, option(8), [0.9], valid=[1.0])
    decline(tmp_path, option(9), "two classes only")
    assert table(tmp_path)["focal, tuned over 3 of 6"][0] == "0.600 ± 0.141"
    said = notes(tmp_path)
    assert "focal on ecoli, method.gamma=7, method.gamma=8: no score in fold 1 repeat 0." in said
    assert "focal on ecoli, method.gamma=9: declined: two classes only." in said


def test_a_run_that_is_undefined_for_all_costs_no_option(tmp_path):
    write(tmp_path, option(1), [0.5, NAN], valid=[0.1, 0.1])
    write(tmp_path, option(2), [0.6, NAN], valid=[0.2, 0.1])
    assert table(tmp_path)["focal, tuned over 2"][0] == "0.600 [1]"
    assert "[1] over 1 of 2 runs: the others diverged or are undefined" in notes(tmp_path)


@pytest.mark.parametrize(
    "validation, remedy",
    [("trained on", "set trainer.rows=train"), ("none", "protocol.valid_fraction"), (None, "cache=overwrite")],
)
def test_without_scores_of_rows_that_were_not_trained_on_nothing_is_chosen(tmp_path, validation, remedy):
    for gamma in (1, 2):
        write(tmp_path, option(gamma), [0.5, 0.6], validation=validation)
    with pytest.raises(BenchError, match=rf"no options can be chosen by validation rows:\n  focal .*{remedy}"):
        tuned_table(Store(tmp_path))
    for gamma in (1, 2):
        write(tmp_path, option(gamma, dataset="oil"), [0.5, 0.6], valid=[0.1, 0.2])
    sheet = tuned_table(Store(tmp_path))
    assert [row[2].text for row in sheet.blocks[0].rows] == ["n/a [1]", "0.550 ± 0.071"]
    assert remedy in "\n".join(sheet.notes)


def test_what_learned_from_validation_rows_in_its_own_way_is_said(tmp_path):
    for gamma in (1, 2):
        write(tmp_path, option(gamma), [0.5], valid=[0.1], validation="guided training")
    assert "Their training used the validation rows, in its own way: focal." in notes(tmp_path)


def test_with_one_cell_a_method_everything_stands_and_it_is_said(tmp_path):
    write(tmp_path, cell("smote"), [0.5, 0.7])  # without validation rows too
    assert table(tmp_path) == {"smote, not tuned": ["0.600 ± 0.141", "–", "–", "–"]}
    assert "No method was run with several options" in notes(tmp_path)


def test_means_over_data_sets(tmp_path):
    for dataset, shift in (("ecoli", 0.0), ("oil", 0.1)):
        for gamma in (1, 2):
            write(tmp_path, option(gamma, dataset=dataset), [0.1 * gamma + shift], valid=[-gamma])
        write(tmp_path, cell("smote", dataset), [0.3 + shift], valid=[0.5])
    (block,) = tuned_table(Store(tmp_path)).blocks
    assert [[i.text for i in row] for row in block.summary] == [
        ["mean (2 of 2 sets)", "focal", "0.150 ± 0.071", "0.250", "+0.100", "–"],
        ["mean (2 of 2 sets)", "smote", "0.350 ± 0.071", "–", "–", "–"],
    ]


def test_a_choice_by_noise_has_no_optimism_of_its_own_and_that_on_test_has(tmp_path):
    """Twenty options of no effect, 40 runs: by validation their mean is what one option has, on test the largest of
    twenty normal values, 1.87 standard deviations above (David and Nagaraja, 2003)."""
    draw = random.Random(0)
    for gamma in range(20):
        test, valid = ([draw.gauss(0, 1) for _ in range(40)] for _ in range(2))
        write(tmp_path, option(gamma), test, valid=valid)
    (row,) = tuned_table(Store(tmp_path)).frame.groupby("method")
    assert abs(row[1]["test"].mean()) < 0.35
    assert row[1]["test_on_test"].mean() == pytest.approx(1.87, abs=0.25)


@pytest.mark.parametrize("form", ["md", "csv", "tex", "html"])
def test_the_command_in_every_format(tmp_path, capsys, form):
    planted(tmp_path)
    assert main(["--outputs", str(tmp_path), "--tuned", "--format", form, "dataset=ecoli"]) == 0
    out = capsys.readouterr().out
    assert "tuned over 3" in out or "method.gamma=1" in out
    assert "--tuned" in out


def test_what_each_run_chose_is_written(tmp_path, capsys):
    planted(tmp_path)
    assert main(["--outputs", str(tmp_path), "--tuned", "--by", "auc_pr", "--write"]) == 0
    stored = (tmp_path / "tables/summary/tuned_by_auc_pr.csv").read_text()
    assert "method.gamma=1" in stored and "# command: python scripts/report.py --by auc_pr --outputs" in stored
    assert main(["--outputs", str(tmp_path), "--by", "auc_pr"]) == 1
    assert "add --tuned" in capsys.readouterr().err
    assert main(["--tuned", "--paper", "dos"]) == 1
    assert "leave out --paper" in capsys.readouterr().err


def test_the_table_imports_no_torch(tmp_path):
    planted(tmp_path)
    code = (
        "import sys; from imbalance_bench.report.cli import main; "
        f"main(['--tuned', '--outputs', {str(tmp_path)!r}]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
