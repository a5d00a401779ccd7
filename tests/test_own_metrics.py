"""Metrics of a user's own: one function each, computed for every group of classes, in training and by rescoring."""

from __future__ import annotations

import re
import sys
from functools import partial

import numpy as np
import pytest

from imbalance_bench import metrics, rescore
from imbalance_bench.cells import run_cell
from imbalance_bench.errors import BenchError
from imbalance_bench.report import cli
from imbalance_bench.report.sheets.summary import summary
from imbalance_bench.settings import identity
from imbalance_bench.store import Store
from tests import records
from tests.cells import cell

LABELS = np.array([0, 0, 0, 1, 1])
SCORES = np.log([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
MODULE = """
from imbalance_bench.metrics import metric

@metric("agreement")
def agreement(positive, predicted, scores):
    return (positive == predicted).mean()
"""
OTHER = """
@metric("f2")
def f2(positive, predicted, scores):
    return 5 * (positive & predicted).sum() / (4 * positive.sum() + predicted.sum())
"""
METHOD = """
from dataclasses import dataclass
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import METHODS

@METHODS.register("of_mine")
@dataclass(frozen=True)
class OfMine(Method):
    pass
"""


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", {})
    return metrics.metric


@pytest.fixture
def modules(tmp_path, monkeypatch, own):
    """Writes modules into the working directory; they are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def made(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
        written.append(name)
        return name

    yield made
    for name in written:
        sys.modules.pop(name, None)


def one(positive, predicted, scores):
    return 1


def other(positive, predicted, scores):
    return 0


def values(metric, minority=(1,)):
    rows = metrics.evaluate(LABELS, SCORES, ("no", "yes"), minority=minority)
    return {row["class_group"]: row["value"] for row in rows if row["metric"] == metric}


def test_it_is_computed_for_each_class_and_each_group(own):
    @own("hit_rate")
    def hit_rate(positive, predicted, scores):
        return predicted[positive].mean()

    negative, positive = 2 / 3, 1 / 2
    expected = {
        "positive": positive, "macro": (negative + positive) / 2, "minority": positive, "majority": negative,
        "class:no": negative, "class:yes": positive,
    }  # fmt: skip
    assert values("hit_rate") == pytest.approx(expected) == values("recall")


def test_one_that_is_not_defined_for_a_class_is_left_out_of_means(own):
    own("some")(lambda positive, predicted, scores: float("nan") if positive.sum() == 3 else np.float32(0.25))
    found = values("some")
    assert np.isnan(found["class:no"]) and found["macro"] == found["class:yes"] == 0.25


def test_what_it_does_to_its_arrays_touches_no_other_metric(own):
    before = metrics.evaluate(LABELS, SCORES, ("no", "yes"))

    @own("sorts")
    def sorts(positive, predicted, scores):
        for array in (positive, predicted, scores):
            array.sort()
        return 0

    after = [row for row in metrics.evaluate(LABELS, SCORES, ("no", "yes")) if row["metric"] != "sorts"]
    assert after == before


@pytest.mark.parametrize("name", ["f1", "accuracy", "ap_at_0.5", "balanced_accuracy", "mse"])
def test_a_name_that_is_taken_is_refused(own, name):
    with pytest.raises(BenchError, match=f"a metric {name} exists already"):
        own(name)


@pytest.mark.parametrize(
    "register, message",
    [
        (
            lambda own: own(lambda positive, predicted, scores: 0),
            r"a metric has a name: write @metric\(\"my_metric\"\)",
        ),
        (lambda own: own("f 2"), "a name is of letters, digits and _"),
        (lambda own: own("f2_pct"), "does not end with _pct"),
        (
            lambda own: own("f2")(lambda y, p: 0),
            r"f2 takes three arrays, \(positive, predicted, scores\);.*\(y, p\) does",
        ),
        (
            lambda own: (own("f2")(one), own("f2")(other)),
            "f2 is registered twice: tests.test_own_metrics and tests",
        ),
        (lambda own: own("f2")(partial(values, minority=())), "metric f2 is a function, and not a partial"),
    ],
)
def test_a_wrong_registration_is_told_at_once(own, register, message):
    with pytest.raises(BenchError, match=message):
        register(own)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda positive, predicted, scores: scores, r"gives one number \(nan .*, and not ndarray \(5,\)"),
        (lambda positive, predicted, scores: None, "gives one number .*, and not None"),
        (lambda positive, predicted, scores: "0.5", "gives one number .*, and not '0.5'"),
        (
            lambda positive, predicted, scores: 1 // 0,
            r"failed: ZeroDivisionError: .*\(in your own code: .*metrics.py, li",
        ),
    ],
)
def test_one_that_gives_no_number_is_told_so(own, function, message):
    own("wrong")(function)
    with pytest.raises(BenchError, match=f"metric wrong {message}"):
        values("wrong")


QUICK = ("dataset=breast_cancer", "method=cross_entropy")


def trained(tmp_path, *overrides):
    outcome = run_cell(cell(tmp_path, *QUICK, *overrides))
    assert outcome.status in ("done", "skipped"), outcome.message
    (record,) = Store(tmp_path).records()
    return record, outcome


def forget(monkeypatch, *names):
    """As in a process that was not told of these modules."""
    monkeypatch.setattr(metrics, "METRICS", {})
    for name in names:
        sys.modules.pop(name, None)


def rescored(tmp_path, *words):
    status = rescore.main([*words, "--outputs", str(tmp_path)])
    (record,) = Store(tmp_path).records()
    return status, (record["path"] / "metrics.csv").read_text(), record


def test_training_computes_it_at_once_under_the_id_of_the_cell(tmp_path, modules, capsys):
    plain = identity.cell_id(cell(tmp_path, *QUICK).plain)
    record, _ = trained(tmp_path, f"plugins=[{modules('my_metrics', MODULE)}]")
    assert record["id"] == plain
    text = (record["path"] / "metrics.csv").read_text()
    assert text.count(",agreement,") == 6 * text.count(",positive,agreement,")
    assert record["own_metrics"]["agreement"]["module"] == "my_metrics"
    (row,) = summary(Store(tmp_path), metric="agreement").blocks[0].rows
    (accuracy,) = summary(Store(tmp_path), metric="accuracy").blocks[0].rows
    assert row[1].text == accuracy[1].text


def test_a_cell_that_was_trained_without_it_says_how_to_compute_it(tmp_path, modules, monkeypatch, capsys):
    trained(tmp_path)
    name = modules("my_metrics", MODULE)
    record, outcome = trained(tmp_path, f"plugins=[{name}]")
    command = f"`python -m imbalance_bench rescore 'plugins=[my_metrics]' --outputs {tmp_path}`"
    assert outcome.status == "skipped" and f"without agreement as it is now: {command}" in outcome.line()
    status, text, record = rescored(tmp_path, "plugins=[my_metrics]")
    assert status == 0 and ",agreement," in text
    assert "added positive agreement" in capsys.readouterr().out
    assert trained(tmp_path, f"plugins=[{name}]")[1].note == ""
    forget(monkeypatch, name)  # a later process, and other code
    modules(name, MODULE.replace("==", "!="))
    assert "without agreement as it is now" in trained(tmp_path, f"plugins=[{name}]")[1].note
    assert "changed positive agreement" in (rescored(tmp_path, "plugins=[my_metrics]"), capsys.readouterr().out)[1]


def test_rescoring_without_the_module_keeps_its_numbers(tmp_path, modules, monkeypatch, capsys):
    before, _ = trained(tmp_path, f"plugins=[{modules('my_metrics', MODULE + OTHER)}]")
    path = before["path"] / "metrics.csv"
    right = path.read_text()
    forget(monkeypatch, "my_metrics")
    assert rescored(tmp_path)[1:] == (right, before)
    assert "unchanged" in capsys.readouterr().out
    path.write_text(right[:400])  # damaged: what cannot be kept is named
    _, text, record = rescored(tmp_path)
    assert "lost agreement: plugins=[my_metrics] computes it again; lost f2" in capsys.readouterr().out
    assert ",agreement," not in text and "own_metrics" not in record
    _, text, record = rescored(tmp_path, "plugins=[my_metrics]")
    assert sorted(text.splitlines()) == sorted(right.splitlines()) and record["own_metrics"] == before["own_metrics"]
    forget(monkeypatch, "my_metrics")
    modules("my_metrics", MODULE)  # no f2 any more
    _, text, record = rescored(tmp_path, "plugins=[my_metrics]")
    assert "removed positive f2" in capsys.readouterr().out and list(record["own_metrics"]) == ["agreement"]
    assert ",f2," not in text and ",agreement," in text


def test_one_that_fails_costs_no_trained_cell(tmp_path, modules, capsys):
    failing = "\n@metric('broken')\ndef broken(positive, predicted, scores):\n    return 1 / 0\n"
    name = modules("my_metrics", MODULE + failing)
    record, _ = trained(tmp_path, f"plugins=[{name}]")
    assert list(record["own_metrics"]) == ["agreement"]
    warning = "warning: metric broken failed: ZeroDivisionError: division by zero (in your own code: "
    said = capsys.readouterr().err
    assert said.count(warning) == 1 and "my_metrics.py, line 10, in broken); it is left out" in said
    assert rescored(tmp_path, f"plugins=[{name}]")[0] == 1
    assert "metric broken failed" in capsys.readouterr().err


def test_a_module_without_metrics_is_named(tmp_path, modules, capsys):
    assert rescore.main([f"plugins=[{modules('nothing', 'x = 1')}]", "--outputs", str(tmp_path)]) == 1
    assert "plugins=[nothing] registers no metric" in capsys.readouterr().err


@pytest.mark.parametrize(
    "files, counts",
    [
        ({"my_metrics": MODULE}, False),
        ({"my_metrics": MODULE + METHOD}, True),
        ({"my_metrics": "import my_method\n" + MODULE, "my_method": METHOD}, True),
        ({"my_metrics": "x = 1"}, True),
    ],
)
def test_only_a_module_of_metrics_alone_is_no_part_of_the_id(tmp_path, modules, monkeypatch, files, counts):
    for registry in identity.REGISTRIES.values():
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    for name, text in files.items():
        modules(name, text)
    made = cell(tmp_path, *QUICK, "plugins=[my_metrics]")
    assert (identity.cell_id(made.plain, made.plugins) != identity.cell_id(made.plain)) is counts


def report(outputs, *words):
    return cli.main([*words, "--outputs", str(outputs)])


def test_the_summary_takes_any_metric_of_the_records(tmp_path, capsys):
    more = {("last", "all", "accuracy"): [0.9], ("last", "macro", "f1"): [0.4], ("last", "positive", "f1"): [0.3]}
    records.write(tmp_path, records.cell("smote"), [0.5], more=more)
    records.write(tmp_path, records.cell("focal"), [0.6])
    assert report(tmp_path, "--metric", "f1") == 0
    printed = capsys.readouterr().out
    assert "F1 (positive), native" in printed and "0.300" in printed and "0.400" not in printed
    assert "f1 of class group positive by last epoch is not in the record" in printed  # of focal
    assert report(tmp_path, "--metric", "accuracy", "--write") == 0
    assert (tmp_path / "tables/summary/summary_accuracy.md").read_text().count("--metric accuracy") == 1


def test_a_metric_of_no_record_is_named_with_its_nearest(tmp_path, capsys):
    records.write(tmp_path, records.cell("smote"), [0.5])
    assert report(tmp_path, "--metric", "auc_rp") == 1
    said = capsys.readouterr().err
    assert "no record has the metric auc_rp: did you mean auc_pr?" in said and "rescore.py" in said
    assert report(tmp_path, "--metric", "f1", "--paper", "dos") == 1
    assert "--metric is for the summary" in capsys.readouterr().err


def test_several_metrics_are_several_tables_of_one_class_group(tmp_path, capsys):
    more = {("last", "minority", "f1"): [0.4], ("last", "minority", "recall"): [0.7], ("last", "positive", "f1"): [0.3]}
    records.write(tmp_path, records.cell("smote"), [0.5], more=more)
    assert report(tmp_path, "--metric", "f1,recall", "--group", "minority", "--write") == 0
    printed = capsys.readouterr().out
    assert "F1 (minority), native" in printed and "recall (minority), native" in printed and "0.300" not in printed
    written = (tmp_path / "tables/summary/summary_f1_minority.md").read_text()
    assert "--metric f1,recall --group minority" in written and "0.400" in written
    assert (tmp_path / "tables/summary/summary_recall_minority.csv").exists()
    assert report(tmp_path, "--metric", "f1", "--group", "minor") == 1
    assert "no record has f1 of the class group minor: did you mean minority?" in capsys.readouterr().err
    assert report(tmp_path, "--group", "minority") == 1
    assert "no record has auc_pr of the class group minority: known: positive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metric", "validation", "says"),
    [
        ("f1_tuned", None, "its record has no validation scores: train it again with cache=overwrite"),
        ("brier_platt", "trained on", "its validation rows were trained on"),
        ("threshold_f1", "none", "it has no validation rows"),
        ("log_loss_prior", "held out", "rescore.py --calibration prior --outputs {outputs}` computes it"),
        ("cost", "held out", "rescore.py --outputs {outputs}` computes it"),
    ],
)
def test_a_metric_that_a_record_could_have_says_what_it_lacks(tmp_path, capsys, metric, validation, says):
    """Of a record that no other has it beside, and in its cell's footnote where one has."""
    says = says.format(outputs=tmp_path)
    path = records.write(tmp_path, records.cell("smote"), [0.5])
    records.edit(path, **({"validation": validation} if validation else {}))
    assert report(tmp_path, "--metric", metric) == 1
    assert f"no record has the metric {metric}: " in (said := capsys.readouterr().err) and says in said
    records.write(tmp_path, records.cell("focal"), [0.5], more={("last", "all", metric): [0.9]})
    assert report(tmp_path, "--metric", metric) == 0
    assert says in re.sub(r"\\(.)", r"\1", capsys.readouterr().out)


def test_costs_that_differ_are_told(tmp_path, capsys):
    for method, cost in (("smote", 10.0), ("focal", 3.0)):
        path = records.write(tmp_path, records.cell(method), [0.5], more={("last", "all", "cost"): [0.9]})
        records.edit(path, cost=cost)
    assert report(tmp_path, "--metric", "cost") == 0
    assert "a missed positive costs 3, 10 false alarms in these records" in capsys.readouterr().out


@pytest.mark.parametrize("how", [[], ["--test", "permutation"], ["--tuned", "--by", "auc_pr"]])
def test_every_table_of_a_cost_says_at_which(tmp_path, capsys, how):
    for method, gamma in (("smote", 1), ("focal", 1), ("focal", 2)):
        made = records.cell(method, options={"method": {"gamma": gamma}})
        numbers = {"auc_pr": [0.5, 0.6], "cost": [0.9, 0.8]}
        path = records.write(tmp_path, made, numbers, valid=numbers)
        records.edit(path, cost=7.0)
    assert report(tmp_path, "--metric", "cost", *how) == 0
    assert "cost: a missed positive costs 7 false alarms." in capsys.readouterr().out
    assert report(tmp_path, "--metric", "auc_pr") == 0
    assert "false alarms" not in capsys.readouterr().out


def test_a_metric_of_different_code_in_two_records_is_told(tmp_path):
    for method, code in (("smote", "1"), ("focal", "2")):
        folder = records.write(tmp_path, records.cell(method), {"mine": [0.5]})
        records.edit(folder, own_metrics={"mine": {"module": "my_metrics", "code": {"my_metrics": code}}})
    (note,) = [n for n in summary(Store(tmp_path), metric="mine").notes if "different code" in n]
    assert "rescore.py 'plugins=[my_metrics]'" in note
