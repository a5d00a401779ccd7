"""Which methods differ: tests over data sets and over the runs on one, as scripts/report.py shows them."""

from __future__ import annotations

import json
import math
import shlex

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from imbalance_bench.errors import BenchError
from imbalance_bench.report.cli import main
from imbalance_bench.report.records import statistics
from imbalance_bench.report.records.selection import Asked, selection
from imbalance_bench.report.sheets.differences import AskedTest, differences
from imbalance_bench.report.sheets.summary import summaries
from imbalance_bench.report.writing.latex import latex
from imbalance_bench.store import Store
from tests.latex import check_latex
from tests.records import cell, decline, edit, write

SETS = ("abalone", "ecoli", "libras_move", "oil", "scene", "us_crime", "wine_quality")
SCORES = np.array([[0.61, 0.60, 0.40, 0.52], [0.72, 0.70, 0.50, 0.41], [0.53, 0.55, 0.30, 0.42]])
SCORES = np.concatenate([SCORES, SCORES[:, ::-1] / 2, SCORES[:1] + 0.2])  # data sets x methods, columns below
METHODS = ("smote", "focal", "ldam", "drw")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for dataset, row in zip(SETS, SCORES):
        for method, value in zip(METHODS, row):
            runs = value + np.array([-0.02, 0.0, 0.01, 0.01])
            write(folder, cell(method, dataset), {"auc_pr": list(runs), "brier": list(1 - runs)})
    return Store(folder)


def sheet_of(outputs, test, *filters, metric="auc_pr"):
    sheet = differences(selection(outputs, filters, Asked((metric,))), test)
    check_latex(latex(sheet))
    return sheet


def table(block):
    return {tuple(i.text for i in row[: block.keys]): dict(zip(block.header, row)) for row in block.rows}


def wide():
    return pd.DataFrame(SCORES, columns=list(METHODS))


def test_each_method_versus_one_over_data_sets(outputs):
    sheet = sheet_of(outputs, AskedTest(versus="ldam"))
    ranks, pairs = sheet.blocks
    assert ranks.heading.endswith("mean ranks over 7 data sets")
    expected = statistics.mean_ranks(wide()).sort_values(kind="stable")
    assert {k[0]: row["mean rank"].text for k, row in table(ranks).items()} == {
        m: f"{rank:.2f}" for m, rank in expected.items()
    }
    assert [row[0].text for row in pairs.rows] == [m for m in expected.index if m != "ldam"]
    row = table(pairs)["smote", "ldam"]
    gaps = SCORES[:, 0] - SCORES[:, 2]
    assert row["difference [95 %]"].value == pytest.approx(gaps.mean())
    assert row["wins / ties / losses"].text == f"{(gaps > 0).sum()} / 0 / {(gaps < 0).sum()}"
    assert row["n"].text == "7"
    frame = sheet.frame.set_index("method")
    others = wide().columns.drop("ldam")
    p = [statistics.signed_rank((wide()["ldam"] - wide()[method]).to_numpy()) for method in others]
    np.testing.assert_allclose(frame.loc[others, "p"], p)
    np.testing.assert_allclose(frame.loc[others, "p_adjusted"], statistics.holm(p))
    assert (frame.low < frame.difference).all() and (frame.difference < frame.high).all()
    notes = "\n".join(sheet.notes)
    assert "Friedman test of ours (4 methods, 7 sets)" in notes
    assert "Wilcoxon's signed-rank test over n = 7 data sets" in notes and "Holm for 3 pairs" in notes


@pytest.mark.parametrize("name", ["nemenyi", "wilcoxon"])
def test_all_pairs_and_which_are_not_told_apart(outputs, name):
    sheet = sheet_of(outputs, AskedTest(name))
    ranks, pairs = sheet.blocks
    assert len(pairs.rows) == 6
    letters = {k[0]: set(row["not told apart"].text.split()) for k, row in table(ranks).items()}
    for (one, other), p in sheet.frame.set_index(["method", "against"])["p_adjusted"].items():
        assert bool(letters[one] & letters[other]) == (p >= 0.05), (one, other)
    assert f"n = {len(SETS)} data sets" in "".join(sheet.notes)


def test_of_an_error_the_lower_is_better(outputs):
    errors = sheet_of(outputs, AskedTest(versus="ldam"), metric="brier").frame.set_index("method")
    scores = sheet_of(outputs, AskedTest(versus="ldam")).frame.set_index("method")
    np.testing.assert_allclose(errors["difference"], -scores["difference"])
    for column in ("wins", "losses", "effect", "p"):
        np.testing.assert_allclose(errors[column], scores[column])


def test_a_region_of_practical_equivalence(outputs):
    narrow, wider = (sheet_of(outputs, AskedTest("bayes", "focal", rope)) for rope in (0.001, 0.5))
    assert (narrow.frame["same"] < 0.5).all() and (wider.frame["same"] > 0.99).all()
    assert wider.frame[["worse", "same", "better"]].sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert "within ±0.5" in "".join(wider.notes)


def test_one_data_set_is_tested_over_its_runs(outputs, tmp_path):
    """By Nadeau and Bengio, whose variance of 4 folds of 90 training and 10 test rows is 1/4 + 1/9 of s²."""
    rng = np.random.default_rng(0)
    runs = {method: list(rng.normal(0.5, 0.05, 4)) for method in ("smote", "focal")}
    for method, values in runs.items():
        write(tmp_path, cell(method), values)
    sheet = sheet_of(Store(tmp_path), AskedTest())
    gaps = np.subtract(runs["smote"], runs["focal"])
    t = gaps.mean() / np.sqrt((1 / 4 + 1 / 9) * gaps.var(ddof=1))
    assert sheet.frame["p"].tolist() == pytest.approx([2 * stats.t.sf(abs(t), 3)])
    assert sheet.frame["n"].tolist() == [4] and set(sheet.frame["over"]) == {"runs"}
    assert "n_test/n_train = 0.11" in "".join(sheet.notes)
    flipped = sheet_of(Store(tmp_path), AskedTest("permutation"))
    theirs = stats.permutation_test((gaps,), np.mean, permutation_type="samples").pvalue
    assert flipped.frame["p"].tolist() == pytest.approx([theirs])
    for folder in tmp_path.glob("runs/**/record.json"):
        record = pd.read_json(folder, typ="series")["runs"]
        edit(folder.parent, runs=[run | {"subset_hash": "same", "test_hash": "same"} for run in record])
    seeds = sheet_of(Store(tmp_path), AskedTest())
    assert seeds.frame["p"].tolist() == pytest.approx([stats.ttest_1samp(gaps, 0).pvalue])
    assert "differ in seeds alone" in "".join(seeds.notes)


def test_runs_of_several_data_sets_are_tested_on_each(outputs):
    sheet = sheet_of(outputs, AskedTest("corrected_t", "smote"), "dataset=oil,ecoli")
    headings = [b.heading.rpartition("mlp, ")[2] for b in sheet.blocks]
    assert headings == [f"{d}: {what}" for d in ("ecoli", "oil") for what in ("means over runs", "pairs")]
    assert len(sheet.frame) == 6


def test_many_pairs_are_in_the_csv(tmp_path):
    for method in range(11):
        for dataset in ("ecoli", "oil"):
            write(tmp_path, cell(f"m{method}", dataset), [0.5 + method / 100] * 2)
    sheet = sheet_of(Store(tmp_path), AskedTest())
    assert len(sheet.blocks) == 1 and len(sheet.frame) == 55
    notes = "\n".join(sheet.notes)
    assert "55 pairs, which --format csv has" in notes and "Of 2 data sets Wilcoxon's p is 0.5 at least" in notes
    alone = sheet_of(Store(tmp_path), AskedTest(), "dataset=oil")
    (means,) = alone.blocks
    assert [row["mean"].text for row in table(means).values()][:2] == ["0.600 ± 0.000", "0.590 ± 0.000"] and len(
        alone.frame
    ) == 55
    assert "55 pairs, which --format csv has" in "\n".join(alone.notes)


def seeded(folder, folds, seeds):
    """Makes the runs of a record those of ``seeds`` a fold, on the rows of that fold."""
    runs = json.loads((folder / "record.json").read_text())["runs"]
    assert len(runs) == folds * seeds
    edit(folder, runs=[
        run | {"subset_hash": f"s{run['run'] // seeds}", "test_hash": f"t{run['run'] // seeds}"} for run in runs
    ])  # fmt: skip


def test_runs_of_one_split_that_differ_in_seeds_count_by_their_mean(tmp_path):
    rng = np.random.default_rng(0)
    runs = {method: rng.normal(0.5, 0.05, (4, 3)) for method in ("smote", "focal")}
    for method, values in runs.items():
        seeded(write(tmp_path, cell(method), values.ravel().tolist()), 4, 3)
    gaps = (runs["smote"] - runs["focal"]).mean(axis=1)
    t = gaps.mean() / np.sqrt((1 / 4 + 1 / 9) * gaps.var(ddof=1))
    sheet, flipped = (sheet_of(Store(tmp_path), AskedTest(name, "focal")) for name in ("corrected_t", "permutation"))
    assert sheet.frame["p"].tolist() == pytest.approx([2 * stats.t.sf(abs(t), 3)])
    assert sheet.frame[["n", "over"]].values.tolist() == [[4, "splits"]]
    assert flipped.frame["p"].tolist() == pytest.approx(
        [stats.permutation_test((gaps,), np.mean, permutation_type="samples").pvalue]
    )
    for made in (sheet, flipped):
        assert "over n = 4 splits" in "".join(made.notes)
        assert "A split counts by the mean of its runs, which have the same rows and differ in seeds" in "".join(
            made.notes
        )


def test_a_diverged_run_is_left_out_of_the_pairs_of_its_method_only(tmp_path):
    write(tmp_path, cell("smote"), [0.5, 0.6, 0.7, 0.65])
    write(tmp_path, cell("focal"), [0.4, 0.55, 0.5, 0.45])
    write(tmp_path, cell("drw"), [0.3, math.nan, 0.2, 0.25])
    sheet = sheet_of(Store(tmp_path), AskedTest())
    n = {frozenset(pair): n for *pair, n in sheet.frame[["method", "against", "n"]].itertuples(index=False)}
    assert [n[frozenset(p)] for p in (("smote", "focal"), ("smote", "drw"), ("focal", "drw"))] == [4, 3, 3]
    notes = "".join(sheet.notes)
    assert "over n = 3 to 4 runs" in notes
    assert "Of 4 runs, left out of the pairs of what has no score in them: drw (1)." in notes


def test_sheets_of_other_questions_have_other_names(outputs):
    asked = [
        Asked(("auc_pr",)),
        Asked(("auc_pr",), readout="best"),
        Asked(("auc_pr",), rows=("method",), columns=("dataset",)),
    ]
    made = [(a, AskedTest("bayes", rope=rope)) for a in asked for rope in (0.01, 0.0)]
    names = {differences(selection(outputs, [], a), test).name for a, test in made}
    assert len(names) == len(made)


def test_no_threshold_is_better_than_another(tmp_path):
    for dataset, of in (("ecoli", 0.4), ("oil", 0.6)):
        for i, method in enumerate(("smote", "focal")):
            write(tmp_path, cell(method, dataset), {"threshold_f1": [of + i / 10], "f1": [of]})
    found = selection(Store(tmp_path), [], Asked(("threshold_f1",)))
    (sheet,) = summaries(found)
    (block,) = sheet.blocks
    assert [row[0].text for row in block.summary] == ["mean (2 of 2 sets)"]
    assert not any(item.bold for row in [*block.rows, *block.summary] for item in row)
    assert "Friedman" not in "".join(sheet.notes)
    with pytest.raises(BenchError, match="no value of it is better than another: --test and --versus need another"):
        differences(found)
    both = differences(selection(Store(tmp_path), [], Asked(("threshold_f1", "f1"))))
    assert set(both.frame["metric"]) == {"f1"} and "no value of it is better" in "".join(both.notes)


def test_an_option_of_the_protocol_says_which_data_as_the_protocol_does(tmp_path):
    """Five folds and ten are of different rows, which stand apart where folds are an axis."""
    for folds in (5, 10):
        for i, method in enumerate(("smote", "focal")):
            made = cell(method, options={"protocol": {"folds": folds}})
            write(tmp_path, made, [0.5 + i / 10, 0.6 + i / 10], subset=f"of{folds}")
    found = selection(Store(tmp_path), [], Asked(("auc_pr",), rows=("protocol.folds",)))
    (sheet,) = summaries(found)
    assert [[item.bold for item in row[1:]] for row in sheet.blocks[0].rows] == [[True, False], [True, False]]
    assert set(differences(found).frame["n"]) == {2}
    with pytest.raises(BenchError, match="no axis shows methods"):
        differences(selection(Store(tmp_path), ["method=smote"], Asked(rows=("dataset",), columns=("protocol.folds",))))


def test_units_of_one_data_set_are_said_to_be_dependent(tmp_path):
    for ratio in ("ir_10", "ir_20"):
        for i, method in enumerate(("smote", "focal")):
            write(tmp_path, cell(method, ratio=ratio), [0.5 + i / 10])
    found = selection(Store(tmp_path), [], Asked(("auc_pr",), rows=("dataset", "ratio")))
    assert "Several of these are of one data set, and not independent" in "".join(differences(found).notes)


@pytest.mark.parametrize(
    "filters, test, says",
    [
        (
            ["dataset=oil"],
            AskedTest("wilcoxon"),
            "wilcoxon compares over data sets, and there is one, oil: --test corrected_t",
        ),
        ([], AskedTest(versus="smot"), "--versus smot is not among what is compared: did you mean smote"),
        (["method=smote"], AskedTest(), "nothing can be compared: there is only smote"),
        (["method=smote", "dataset=oil"], AskedTest(), "nothing can be compared: there is only smote"),
    ],
)
def test_what_cannot_be_tested(outputs, filters, test, says):
    with pytest.raises(BenchError, match=says):
        sheet_of(outputs, test, *filters)


def test_what_lacks_numbers_or_runs_is_named(tmp_path):
    for dataset in ("ecoli", "oil"):
        write(tmp_path, cell("smote", dataset), [0.5])
        write(tmp_path, cell("focal", dataset), [0.6])
        decline(tmp_path, cell("mesa", dataset), "two classes only")
    write(tmp_path, cell("drw"), [0.4])
    with pytest.raises(BenchError, match="no two methods have more than one in common .* protocol=repeated_holdout"):
        sheet_of(Store(tmp_path), AskedTest("corrected_t"), "dataset=ecoli")
    with pytest.raises(BenchError, match="nothing has a number"):
        differences(selection(Store(tmp_path), ["method=mesa"]), AskedTest("wilcoxon"))
    write(tmp_path, cell("drw", "digits"), [0.4])
    with pytest.raises(BenchError, match=r"1 of 3 data sets .*run what is missing \(.*smote on 2"):
        sheet_of(Store(tmp_path), AskedTest("wilcoxon"))


def test_an_axis_must_say_what_is_compared(outputs):
    found = selection(outputs, [], Asked(("auc_pr", "brier"), columns=("metric",)))
    with pytest.raises(BenchError, match="no axis shows methods: add method to --rows or --columns"):
        differences(found, AskedTest())
    turned = selection(outputs, [], Asked(("auc_pr",), rows=("method",), columns=("dataset",)))
    usual = sheet_of(outputs, AskedTest(versus="ldam"))
    assert differences(turned, AskedTest(versus="ldam")).frame.equals(usual.frame)


def test_runs_that_were_split_differently_are_not_paired(tmp_path):
    write(tmp_path, cell("smote"), [0.5, 0.6])
    folder = write(tmp_path, cell("focal"), [0.5, 0.6])
    text = (folder / "metrics.csv").read_text().replace("\n0,0,", "\n0,7,").replace("\n1,1,", "\n1,8,")
    (folder / "metrics.csv").write_text(text)
    with pytest.raises(BenchError, match="there is no run that focal, smote all have"):
        sheet_of(Store(tmp_path), AskedTest())


def test_the_command_shows_the_table_and_the_test_and_writes_both(outputs, capsys):
    def run(words):
        status = main(["--outputs", str(outputs.runs.parent), *shlex.split(words)])
        return status, capsys.readouterr()

    status, shown = run("--metric auc_pr --versus smote --test bayes --rope 0.02")
    assert status == 0 and shown.out.index("## Summary") < shown.out.index("## Which differ")
    command = shown.out.splitlines()[0].removeprefix("<!-- command: ").removesuffix(" -->")
    assert main(shlex.split(command)[2:]) == 0 and capsys.readouterr().out == shown.out
    status, shown = run("--metric auc_pr --test nemenyi --format csv")
    assert status == 0 and "Which differ" in shown.out and "Summary" not in shown.out
    status, shown = run("--versus smote --write --format tex method=smote,focal")
    assert status == 0 and "tests_versus_smote,method=smote,focal.tex" in shown.out
    status, shown = run("--metric auc_pr --test bayes --rope 0 method=smote,focal")
    assert status == 0 and "--rope 0 " in shown.out.splitlines()[0]
    for rope in ("nan", "-0.1", "inf"):
        status, shown = run(f"--test bayes --rope={rope}")
        assert status == 1 and f"--rope {rope} must be finite and 0 or more" in shown.err
    status, shown = run("--rope 0.1 --test nemenyi")
    assert status == 1 and "--rope needs --test bayes" in shown.err


def test_seeds_that_change_nothing_are_no_runs_of_a_test(tmp_path):
    for method, score in (("k_nn", 0.6), ("logistic_regression", 0.5)):
        seeded(write(tmp_path, cell(method), [score] * 6), 1, 6)
    for name in ("corrected_t", "permutation"):
        with pytest.raises(BenchError, match="no two methods have more than one in common"):
            sheet_of(Store(tmp_path), AskedTest(name))
