"""report.py --advise: what the records of one data set say, with numbers that stand in the records."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from imbalance_bench.api import composed
from imbalance_bench.errors import BenchError
from imbalance_bench.report.cli import main
from imbalance_bench.report.records.selection import selection
from imbalance_bench.report.sheets.advice import advice, more_splits
from imbalance_bench.report.sheets.differences import AskedTest, differences
from imbalance_bench.settings.conf_files import content_of
from imbalance_bench.settings.identity import digest
from imbalance_bench.store import Store
from tests.records import PROVENANCE, FakeCell, cell, edit, fail, write

RUNS = range(10)


def as_it_stands(method, **changes):
    options = {group: content_of(group, name) for group, name in (("method", method), ("trainer", "adam"))}
    for content in options.values():
        content.pop("search", None)
    options["trainer"]["epochs"] = 7  # of all cells, so that no option differs in it
    return cell(method, options=options | {"method": options["method"] | changes})


def planted(outputs, runs=RUNS):
    """focal, tuned, and smote differ by noise; cross_entropy is behind by 0.2 in each run."""
    noise = [0.01 * (-1) ** run for run in runs]
    write(outputs, as_it_stands("focal"), [0.7 + e for e in noise], valid=[0.1] * len(noise), seconds=30)
    write(outputs, as_it_stands("focal", gamma=5.0), [0.75 + e for e in noise], valid=[0.2] * len(noise), seconds=30)
    write(outputs, as_it_stands("focal", gamma=1.0), [0.76 + e for e in noise], valid=[0.15] * len(noise), seconds=30)
    write(outputs, as_it_stands("smote"), [0.748 - e for e in noise], valid=[0.1] * len(noise), seconds=10)
    write(outputs, as_it_stands("cross_entropy"), [0.55 + e for e in noise], seconds=5)


def test_ten_lines_with_their_numbers(tmp_path):
    planted(tmp_path)
    lines = advice(Store(tmp_path)).splitlines()
    assert [line.partition(". ")[0] for line in lines] == [str(i) for i in range(1, len(lines) + 1)]
    assert 8 <= len(lines) <= 10
    text = "\n".join(lines)
    for said in (
        "3 methods in 5 cells, 10 runs that all of them have",
        "Best first: focal, tuned over 3 0.750, smote, not tuned 0.748, cross_entropy, not tuned 0.550.",
        "Nobody beats beyond chance: focal, smote (Wilcoxon over 10 runs, Holm, p < 0.05).",
        "Cheapest of these: smote, 1 s a run; the dearest, focal, 3 s.",
        "The default, cross_entropy, is 0.200 behind focal (95 % interval +0.200 to +0.200, corrected for ",
        "Tuning gained over the defaults: focal +0.050.",
        "Choosing on the test rows would have added, falsely: focal +0.010.",
        "Not tuned, so perhaps better than shown: smote, cross_entropy.",
        "strong ones among them: logistic_regression, random_forest,",
        f"Next: python scripts/search.py method=smote dataset=ecoli trainer.epochs=7 paths.outputs={tmp_path} (docs",
    ):
        assert said in text, f"{said}\n{text}"


def test_few_runs_are_said_to_show_nothing(tmp_path):
    planted(tmp_path, range(4))
    text = advice(Store(tmp_path))
    assert "Nobody beats beyond chance: focal, smote, cross_entropy" in text
    assert "4 runs cannot tell 3 methods apart, whatever their scores (p is 0.25 or more)" in text
    assert "protocol=repeated_holdout" in text and "protocol.seeds" not in text


def test_one_method_alone_and_no_default(tmp_path):
    write(tmp_path, cell("smote"), [0.5, 0.6])
    text = advice(Store(tmp_path))
    assert "One method alone" in text and "cross_entropy was not run" in text


def test_what_failed_is_told_apart_from_what_was_not_tried(tmp_path):
    planted(tmp_path)
    before = advice(Store(tmp_path))
    fail(tmp_path, cell("ldam", "oil"), "of another data set")
    fail(tmp_path, cell("focal"), "of a method that has other cells")
    assert advice(Store(tmp_path), ["dataset=ecoli"]) == before
    fail(tmp_path, cell("random_forest"), "no memory")
    fail(tmp_path, cell("easy_ensemble"), "no memory")
    after = advice(Store(tmp_path), ["dataset=ecoli"])
    assert "Failed: easy_ensemble, random_forest." in after
    assert "Failed: random_forest." in advice(Store(tmp_path), ["dataset=ecoli", "method=*o*"])
    told = [re.search(r"Not tried: (\d+) methods.*", text) for text in (before, after)]
    assert int(told[1][1]) == int(told[0][1]) - 2
    assert "random_forest" in told[0][0] and not re.search(r"\b(random_forest|easy_ensemble)", told[1][0])


def test_it_is_of_one_data_set(tmp_path, capsys):
    planted(tmp_path)
    write(tmp_path, cell("smote", "oil"), [0.5, 0.6])
    with pytest.raises(BenchError, match="--advise needs one data set in one setting: add dataset="):
        advice(Store(tmp_path))
    assert main(["--outputs", str(tmp_path), "--advise", "dataset=ecoli"]) == 0
    assert "Best first: focal" in capsys.readouterr().out


def test_the_interval_to_the_default_is_that_of_versus(tmp_path):
    ours = {"smote": [0.75, 0.7, 0.8, 0.72], "cross_entropy": [0.6, 0.66, 0.61, 0.65]}
    for method, values in ours.items():
        write(tmp_path, cell(method), values)
    pair = differences(selection(Store(tmp_path)), AskedTest(versus="cross_entropy")).frame.iloc[0]
    assert f"(95 % interval {pair['low']:+.3f} to {pair['high']:+.3f}, corrected for" in advice(Store(tmp_path))


def test_one_run_has_no_interval(tmp_path):
    for method, value in (("smote", 0.75), ("cross_entropy", 0.6)):
        write(tmp_path, cell(method), [value])
    assert "is 0.150 behind smote (better in 1 run, worse in 0)." in advice(Store(tmp_path))


@pytest.mark.parametrize("words", [{}, {"by": "auc_pr"}])
def test_no_advice_by_a_threshold(tmp_path, words):
    for method in ("focal", "smote"):
        write(tmp_path, cell(method), {"auc_pr": [0.5], "threshold_f1": [0.5]})
    with pytest.raises(BenchError, match="no value of threshold_f1 is better than another: --advise needs another"):
        advice(Store(tmp_path), metric="threshold_f1", **words)


def seeded(folder, seeds):
    """Makes the runs of a record those of ``seeds`` a fold, on the rows of that fold."""
    runs = json.loads((folder / "record.json").read_text())["runs"]
    edit(folder, runs=[
        run | {"subset_hash": f"s{run['run'] // seeds}", "test_hash": f"t{run['run'] // seeds}"} for run in runs
    ])  # fmt: skip


def test_seeds_of_a_split_are_no_runs_of_their_own(tmp_path):
    """k_nn wins one fold of four: five deterministic runs of each fold are still four values."""
    for method, folds in (("logistic_regression", [0.8, 0.7, 0.75, 0.6]), ("k_nn", [0.7, 0.6, 0.65, 0.61])):
        for seeds in (1, 5):
            seeded(write(tmp_path / str(seeds), cell(method), [v for v in folds for _ in range(seeds)]), seeds)
    once, often = (advice(Store(tmp_path / seeds)) for seeds in ("1", "5"))
    said = "Nobody beats beyond chance: logistic_regression, k_nn (Wilcoxon over 4 "
    assert f"{said}runs, Holm" in once and f"{said}splits, Holm" in often
    assert "20 runs that all of them have" in often
    assert "4 splits cannot tell 2 methods apart, whatever their scores (p is 0.12 or more)" in often
    for text in (once, often):
        assert "run all of them on more, such as protocol=repeated_holdout." in text
        assert "protocol.seeds" not in text


@pytest.mark.parametrize(
    ("protocol", "methods", "says"),
    [
        ({"name": "holdout_kfold", "folds": 4}, 3, "protocol=repeated_holdout"),
        (
            {"name": "repeated_holdout", "repeats": 10}, 30,
            "protocol=repeated_holdout protocol.repeats=11 protocol.label=repeated_holdout_11",
        ),
        (
            {"name": "past_future", "folds": 3, "test_fraction": 0.2}, 3,
            "protocol=past_future protocol.folds=10 protocol.test_fraction=0.06 protocol.label=past_future_10",
        ),
        (
            {"name": "official_trials", "trials": 4}, 3,
            "protocol=official_trials protocol.trials=10 protocol.label=official_trials_10",
        ),
        (
            {"name": "official_test"}, 3,
            "protocol=official_test protocol.seeds=10 protocol.label=official_test_10",
        ),
    ],
)  # fmt: skip
def test_more_splits_are_advised_by_a_protocol_that_makes_them(protocol, methods, says):
    assert " ".join(more_splits({"config": {"protocol": protocol}}, methods)) == says


def test_the_interval_of_a_metric_of_which_lower_is_better_has_the_sign_of_being_behind(tmp_path):
    for method, values in {"smote": [0.2, 0.3, 0.25, 0.28], "cross_entropy": [0.3, 0.45, 0.4, 0.35]}.items():
        write(tmp_path, cell(method), {"brier": values})
    pair = differences(selection(Store(tmp_path)), AskedTest(versus="cross_entropy")).frame.iloc[0]
    text, behind = advice(Store(tmp_path)), [-pair[key] for key in ("difference", "high", "low")]
    assert "is {:.3f} behind smote (95 % interval {:+.3f} to {:+.3f}, corr".format(*behind) in text
    assert "better in 4 runs, worse in 0" in text


def planned(words, folder=None):
    """A cell that is composed as on the command line."""
    config = composed(*words, config_dir=folder)
    return FakeCell(config.labels, config.plain, digest([config.plain, words]))


def advised(text):
    """The words of the advised command, and the configuration that they compose."""
    line = re.search(r"\d+\. Next(?:, more splits)?: (.*?)(?: \(docs/tuning.md\)|; likewise .*)?\.$", text, re.M)[1]
    verb, *words = shlex.split(line.removeprefix("python scripts/").replace(" -m ", " "))
    folder = words.pop(0) if words[0] == "--config-dir" and words.pop(0) else None
    return verb, words, composed(*words, config_dir=folder)


OWN_TABLE = (
    *("dataset=csv", "dataset.label=three", "dataset.path=my table.csv", "dataset.target=class", "dataset.drop=[id,n]"),
    *("dataset.separator=semicolon", 'dataset.positive="1"', "dataset.copies=together"),
)


@pytest.mark.parametrize(
    "words",
    [
        ("method=random_forest", *OWN_TABLE),
        ("method=hist_gradient_boosting/weighted", "dataset=ecoli", "ratio=ir_20", "ratio.r=12.5"),
        ("method=focal", "dataset=oil", "protocol=stratified_kfold", "protocol.folds=3", "protocol.label=three_folds"),
        ("method=focal", "method.label=mine", "backbone=tabm", "trainer=adam", "trainer.epochs=3", "seed=5"),
        ("method=cross_entropy/400", "dataset=ecoli", "trainer.lr=1e-4", "trainer.betas=[0.8,0.9]"),
        (
            "method=random_forest", "+method.options.max_depth=3", "method.options.n_estimators=7",
            "+method@method.resampler=smote/balanced", "dataset=ecoli",
        ),
    ],
    ids=["own table", "variant", "protocol", "network", "control", "component"],
)  # fmt: skip
def test_the_next_command_composes_the_cell_that_it_is_about(tmp_path, words):
    made = planned(words)
    write(tmp_path, made, [0.5, 0.6], valid=[0.5, 0.6])
    edit_all(tmp_path, cost=5.0, calibration=["platt"])
    verb, said, config = advised(advice(Store(tmp_path)))
    assert verb == "search.py" and config.plain == made.config
    assert config.paths.outputs == str(tmp_path) and (config.cost, config.calibration) == (5.0, ("platt",))
    assert not any(word.startswith(("seed=", "ratio=native", "backbone=mlp")) for word in said if "seed=5" not in words)


def edit_all(outputs, **changes):
    for path in (outputs / "runs").rglob("record.json"):
        edit(path.parent, **changes)


def test_the_next_command_names_plug_ins_and_the_folder_of_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_losses.py").write_text("")
    option = tmp_path / "conf" / "method" / "mine.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("defaults: [focal, _self_]\nlabel: mine\ngamma: 3.0\n")
    made = planned(["method=mine", "dataset=ecoli"], "conf")
    folder = write(tmp_path / "out", made, [0.5, 0.6], valid=[0.5, 0.6])
    (folder / "config.yaml").write_text("plugins: [my_losses]\n")
    edit(folder, provenance=PROVENANCE | {"command": "train.py --config-dir conf method=mine dataset=ecoli"})
    text = advice(Store("out"))
    assert "search --config-dir conf method=mine dataset=ecoli 'plugins=[my_losses]' paths.outputs=out (docs" in text
    assert advised(text.replace("python -m imbalance_bench search", "search"))[2].plain == made.config
    edit(folder, provenance=PROVENANCE)
    assert "method=focal dataset=ecoli method.label=mine method.gamma=3.0" in advice(Store("out"))


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ((), " -m dataset=ecoli paths.outputs={} method=cross_entropy,logistic_regression,random_forest"),
        (
            ("smote",),
            "more splits: python scripts/search.py method=focal dataset=ecoli paths.outputs={} "
            "protocol=repeated_holdout; likewise smote",
        ),
    ],
)
def test_next_after_tuning_are_more_splits_and_what_was_not_tried(tmp_path, others, says):
    for method in ("focal", *others):
        key = {"focal": "gamma", "smote": "k_neighbors"}[method]
        for value in (3, 7):
            made = planned([f"method={method}", "dataset=ecoli", f"method.{key}={value}"])
            write(tmp_path, made, [0.6] * 4, valid=[value / 10] * 4)
    assert says.format(tmp_path) in advice(Store(tmp_path))
    if others:
        assert advised(advice(Store(tmp_path)))[2].labels["protocol"] == "repeated_holdout"
