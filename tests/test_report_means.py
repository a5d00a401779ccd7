"""Mean rows over data sets, and the mean over the runs of a cell, by hand."""

from __future__ import annotations

import pytest

from imbalance_bench.report.records.records import average
from imbalance_bench.report.sheets.means import MeanRows
from imbalance_bench.report.sheets.scores import Score


def score(dataset, method, mean, published="", metric="auc_pr"):
    labels = {"ratio": "native", "backbone": "mlp", "protocol": "holdout_kfold", "trainer": "adam"}
    found = {"class_group": "positive", "iterate": "last", "state": "done", "reason": "", "sd": None, "runs": 1}
    where = {"section": "", "method": method, "dataset": dataset, "metric": metric, "id": f"{dataset} {method}"}
    return Score(**where, **labels, **found, mean=mean, of=1, published=published)


def mean_rows(ours, printed=None, metric="auc_pr", restricted=()):
    """``ours``, ``printed``: method → a number a data set d0, d1, ..., None where there is none."""
    printed = printed or {}
    scores = [
        score(f"d{i}", method, value, printed.get(method, [""] * len(values))[i], metric)
        for method, values in ours.items()
        for i, value in enumerate(values)
    ]
    return MeanRows(metric, {method: method.upper() for method in ours}, scores, restricted)


def row(rows, name, heads=None):
    """The items of a row by method."""
    heads = heads or rows.heads
    found = {items[0].text.split(" (")[0]: dict(zip(heads, items[1:])) for items in rows.rows(heads)}
    return found[name]


def test_a_mean_of_the_paper_needs_its_values_on_the_same_sets():
    """b lacks one printed value: it has no mean of the paper's, and no method has a rank of the paper's."""
    printed = {"a": ["0.5", "0.7"], "b": ["0.4", ""]}
    rows = mean_rows({"a": [0.6, 0.8], "b": [0.5, 0.4]}, printed)
    assert {m: item.aside for m, item in row(rows, "mean").items()} == {"a": "(0.600, +0.100)", "b": ""}
    assert {m: item.aside for m, item in row(rows, "mean rank").items()} == {"a": "", "b": ""}
    assert [note.split(" (")[0] for note in rows.notes()] == ["Friedman test of ours"]
    whole = mean_rows({"a": [0.6, 0.8], "b": [0.5, 0.4]}, printed | {"b": ["0.9", "0.6"]})
    assert {m: item.aside for m, item in row(whole, "mean").items()} == {"a": "(0.600, +0.100)", "b": "(0.750, -0.300)"}
    assert row(whole, "mean rank")["a"].aside == "(1.50, -0.50)"
    assert len(whole.notes()) == 2


@pytest.mark.parametrize(
    ("b", "said"),
    [
        ([0.5, None], "No mean rows: of 2 data sets only d0 has a number of every ranked method."),
        ([None, 0.6, None], "No mean rows: of 3 data sets only d1 has a number of every ranked method."),
        ([None, None, 0.5, 0.5], "Left out of the mean rows, since a ranked method has no number there: d0, d1."),
        ([0.5], ""),
    ],
)
def test_what_is_left_out_of_the_mean_rows_is_said_where_there_are_such_rows(b, said):
    rows = mean_rows({"a": [0.6, 0.7, 0.8, 0.9][: len(b)], "b": b})
    assert bool(rows.rows(rows.heads)) == bool(rows.frame_rows()) == said.startswith("Left out")
    assert rows.notes()[:1] == ([said] if said else [])


def test_methods_that_share_no_data_set_have_no_mean_rows():
    rows = mean_rows({"a": [0.6, None], "b": [None, 0.5]})
    assert rows.notes() == ["No mean rows: of 2 data sets no data set has a number of every ranked method."]


@pytest.mark.parametrize("methods", [2, 20])
def test_ranks_are_computed_once_however_many_methods_there_are(methods, monkeypatch):
    """For each method anew, a table of a thousand would take minutes."""
    ranked, ranks = [], MeanRows.mean_ranks
    monkeypatch.setattr(MeanRows, "mean_ranks", lambda self, of: ranked.append(of) or ranks(self, of))
    ours = {f"m{i}": [0.5 + i / 100, 0.7 - i / 200] for i in range(methods)}
    rows = mean_rows(ours, {method: ["0.5", "0.6"] for method in ours})
    assert len(rows.rows(rows.heads)) == 2 and len(ranked) == 2  # ours and the paper's


def test_means_that_are_shown_alike_are_both_the_best():
    best = {
        m: item.bold
        for m, item in row(mean_rows({"a": [0.5, 0.7], "b": [0.5, 0.7008], "c": [0.4, 0.4]}), "mean").items()
    }
    assert best == {"a": True, "b": True, "c": False}
    best = {m: item.bold for m, item in row(mean_rows({"a": [0.5, 0.7], "b": [0.5, 0.703]}), "mean").items()}
    assert best == {"a": False, "b": True}


def test_the_mean_of_a_loss_is_best_where_it_is_lowest():
    rows = mean_rows({"a": [0.5, 0.7], "b": [0.4, 0.3]}, metric="log_loss")
    assert {m: item.bold for m, item in row(rows, "mean").items()} == {"a": False, "b": True}
    assert {m: (item.text, item.bold) for m, item in row(rows, "mean rank").items()} == {
        "a": ("2.00", False), "b": ("1.00", True)
    }  # fmt: skip


def test_the_best_mean_rank_is_the_lowest():
    rows = mean_rows({"a": [0.5, 0.7, 0.6], "b": [0.6, 0.8, 0.5], "c": [0.4, 0.9, 0.4]})
    assert {m: (i.text, i.bold, i.muted) for m, i in row(rows, "mean rank").items()} == {
        "a": ("2.00", False, False), "b": ("1.67", True, False), "c": ("2.33", False, False)
    }  # fmt: skip


def test_mean_ranks_that_are_shown_alike_are_both_the_best():
    """Of 401 sets a is first on 201 and b on 200: mean ranks 1.4988 and 1.5012."""
    rows = mean_rows({"a": [0.5] * 401, "b": [0.4 if i % 2 == 0 else 0.6 for i in range(401)], "c": [0.1] * 401})
    assert {m: (i.text, i.bold) for m, i in row(rows, "mean rank").items()} == {
        "a": ("1.50", True), "b": ("1.50", True), "c": ("3.00", False)
    }  # fmt: skip


def test_a_method_of_other_sets_has_no_mean_and_no_rank():
    """c is run on one set and restricted to it: it decides no row, and its items are set back."""
    rows = mean_rows({"a": [0.5, 0.7], "b": [0.6, 0.8], "c": [0.9, None]}, restricted=["c"])
    mean, rank = row(rows, "mean")["c"], row(rows, "mean rank")["c"]
    assert (mean.text, mean.muted, rank.text, rank.muted) == ("– (lacks 1)", True, "not ranked", True)
    assert row(rows, "mean")["b"].bold and row(rows, "mean rank")["b"].bold


def test_what_stands_apart_is_no_best():
    """A block whose methods are not those ranked has means, and nothing in bold."""
    rows = mean_rows({"a": [0.5, 0.7], "b": [0.6, 0.8]})
    rows.heads = {"a": "A"}
    apart = row(rows, "mean", {"a": "A", "b": "B"})
    assert {m: (item.text, item.bold) for m, item in apart.items()} == {
        "a": ("0.600 ± 0.141", False), "b": ("0.700 ± 0.141", False)
    }  # fmt: skip


@pytest.mark.parametrize("values", [None, {}])
def test_no_number_is_a_mean_of_no_runs(values):
    assert average(values, "f1", "macro", "last") == {"iterate": "last", "mean": None, "sd": None, "runs": 0}


def test_a_mean_over_runs_has_the_sd_of_n_minus_one():
    values = {("last", "macro", "f1"): [0.5, 0.7, float("nan")]}
    found = average(values, "f1", "macro", "best")
    assert found == {"iterate": "last", "mean": pytest.approx(0.6), "sd": pytest.approx(0.02**0.5), "runs": 2}
    assert average({("last", "macro", "f1"): [0.5]}, "f1", "macro", "last")["sd"] is None
