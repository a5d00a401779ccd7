"""Each metric against scikit-learn or imbalanced-learn on random input with ties; edge cases by hand."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn import metrics as imb
from sklearn import metrics as skl

from imbalance_bench import metrics
from imbalance_bench.errors import BenchError
from imbalance_bench.metrics import probabilities


def values(labels, log_probs, names=None, kind="classification", minority=()):
    names = names or [str(i) for i in range(np.shape(log_probs)[1])]
    rows = metrics.evaluate(labels, log_probs, names, kind, minority)
    return {(r["class_group"], r["metric"]): r["value"] for r in rows}


def same(ours, theirs):
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def calibration_error(labels, log_probs, bins=probabilities.BINS):
    right, confidence = log_probs.argmax(axis=1) == labels, np.exp(log_probs.max(axis=1))
    return probabilities.calibration_errors(right[None], confidence[None], bins)[0]


def log_softmax(logits):
    logits = np.asarray(logits, dtype=np.float64)
    return logits - np.logaddexp.reduce(logits, axis=1)[:, None]


@st.composite
def predictions(draw, classes):
    """Labels in which every class occurs, and scores on a coarse grid (many ties) or a fine one (few)."""
    n = draw(st.integers(classes, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    rng.shuffle(labels)
    step = draw(st.sampled_from([1.0, 0.5, 1e-3]))
    rows = rng.normal(size=(draw(st.integers(1, n)), classes))
    logits = np.round(rows / step)[rng.integers(0, len(rows), n)] * step
    return labels, log_softmax(logits)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(predictions(2))
def test_binary_agrees_with_sklearn_and_imblearn(case):
    labels, lp = case
    ours, score, pred = values(labels, lp), lp[:, 1] - lp[:, 0], lp.argmax(1)
    precision, recall, _ = skl.precision_recall_curve(labels, score)
    expected = {
        "auc_pr": skl.average_precision_score(labels, score),
        "auc_pr_trapezoid": skl.auc(recall, precision),
        "auc_roc": skl.roc_auc_score(labels, score),
        "f1": skl.f1_score(labels, pred, zero_division=0),
        "precision": skl.precision_score(labels, pred, zero_division=0),
        "recall": skl.recall_score(labels, pred),
        "specificity": imb.specificity_score(labels, pred),
        "g_mean": imb.geometric_mean_score(labels, pred),
        **{f"ap_at_{r}": max(p for p, q in zip(precision, recall) if q >= r) for r in (0.75, 0.5, 0.25)},
    }
    for metric, value in expected.items():
        same(ours["positive", metric], value)
    same(ours["macro", "g_mean"], expected["g_mean"])
    assert {m for g, m in ours if g == "positive"} == {*expected, "ece_mass"}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(2, 5).flatmap(predictions))
def test_every_group_agrees_with_sklearn_and_imblearn(case):
    labels, lp = case
    ours, pred, classes = values(labels, lp), lp.argmax(1), np.arange(lp.shape[1])
    per_class = {
        "precision": skl.precision_score(labels, pred, labels=classes, average=None, zero_division=0),
        "recall": skl.recall_score(labels, pred, labels=classes, average=None),
        "f1": skl.f1_score(labels, pred, labels=classes, average=None, zero_division=0),
        "specificity": imb.specificity_score(labels, pred, labels=classes, average=None),
        "g_mean": imb.geometric_mean_score(labels, pred, labels=classes, average=None),
        "auc_pr": [skl.average_precision_score(labels == c, metrics.ranking_scores(lp, c)) for c in classes],
        "auc_roc": [skl.roc_auc_score(labels == c, metrics.ranking_scores(lp, c)) for c in classes],
    }
    for metric, expected in per_class.items():
        same([ours[f"class:{c}", metric] for c in classes], list(expected))
        if metric != "g_mean":  # over classes it is the geometric mean of their recalls
            same(ours["macro", metric], np.mean(expected))
    g_mean = imb.geometric_mean_score(labels, pred, labels=classes, average="multiclass")
    same(ours["macro", "g_mean"], g_mean)
    same(ours["macro", "balanced_accuracy"], skl.balanced_accuracy_score(labels, pred))
    same(ours["all", "accuracy"], skl.accuracy_score(labels, pred))
    same(ours["all", "mcc"], skl.matthews_corrcoef(labels, pred))
    same(ours["all", "log_loss"], skl.log_loss(labels, np.exp(lp), labels=classes))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(predictions(4), st.sets(st.integers(0, 3), min_size=1, max_size=3))
def test_minority_and_majority_are_means_over_their_classes(case, minority):
    labels, lp = case
    ours = values(labels, lp, minority=sorted(minority))
    for metric in ("precision", "recall", "f1", "specificity", "g_mean", "auc_pr", "auc_roc"):
        for group, classes in (("minority", minority), ("majority", {0, 1, 2, 3} - minority)):
            same(ours[group, metric], np.mean([ours[f"class:{c}", metric] for c in classes]))
    assert not [g for g, _ in values(labels, lp) if g in ("minority", "majority")]


def test_f1_of_the_minority_is_a_mean_of_f1s():
    """Classes 1 and 2 are all found and half found: the mean F1 lies below the F1 of the mean precision and recall."""
    labels = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    pred = np.array([0, 0, 1, 1, 2, 0, 0, 0])
    ours = values(labels, np.log(np.where(np.eye(3)[pred] == 1, 0.8, 0.1)), minority=(1, 2))
    assert ours["minority", "precision"] == 1 and ours["minority", "recall"] == 0.625
    same(ours["minority", "f1"], (1 + 0.4) / 2)


def test_rows_in_no_slice_are_the_others():
    labels, decided = np.array([1, 1, 1, 0, 0, 0]), np.array([1, 0, 1, 0, 0, 1])
    slices = {"two": np.arange(6) < 2, "one": np.arange(6) == 1}
    rows = metrics.evaluate(labels, np.log(np.eye(2)[decided] * 0.8 + 0.1), ["a", "b"], minority=[1], slices=slices)
    found = {(r["class_group"], r["metric"]): r["value"] for r in rows}
    # Of each slice the minority rows beside all of class 0, of which one is taken for it.
    expected = {"two": (1 / 2, 2 / (2 + 1 + 1)), "one": (0, 0), "other": (1, 2 / (1 + 1 + 1))}
    for name, (recall, f1) in expected.items():
        same([found[f"minority_{name}", "recall"], found[f"minority_{name}", "f1"]], [recall, f1])


@pytest.mark.parametrize("minority", [(0, 1, 2), (3,), (-1,)])
def test_minority_classes_are_some_and_not_all(minority):
    with pytest.raises(BenchError, match="must be some, and not all, of 0..2"):
        values([0, 1, 2], log_softmax(np.eye(3)), minority=minority)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(predictions(3))
def test_multiclass_ranking_is_that_of_the_probability(case):
    """Where nothing is saturated, the log-odds rank as p does, ties included. Scores are those of predictions.npz:
    float32, where equal probabilities are equal whatever the order that they were summed in."""
    labels, lp = case[0], case[1].astype(np.float32)
    for c in range(3):
        same(
            skl.average_precision_score(labels == c, metrics.ranking_scores(lp, c)),
            skl.average_precision_score(labels == c, lp[:, c]),
        )


def test_equal_probabilities_beside_different_others_are_tied():
    p = np.array([[0.7, 0.2, 0.1], [0.7, 0.1, 0.2], [0.3, 0.6, 0.1], [0.3, 0.35, 0.35]], dtype=np.float32)
    assert len(np.unique(metrics.ranking_scores(np.log(p), 0))) == 2


def test_float32_keeps_the_ranking_at_both_ends():
    """Logits 20..60 all give p1 = 1 in float32; their order must survive in two classes and in three."""
    logit = np.linspace(20, 60, 9, dtype=np.float32)
    for classes in (2, 3):
        logits = np.zeros((18, classes), dtype=np.float32)
        logits[:9, 1], logits[9:, 1] = logit, -logit
        centred = logits - logits.max(1, keepdims=True)
        lp = centred - np.log(np.exp(centred).sum(1, keepdims=True))
        assert lp.dtype == np.float32
        assert len(np.unique(lp[:9, 1])) == 1
        np.testing.assert_array_equal(np.argsort(metrics.ranking_scores(lp, 1)), np.argsort(logits[:, 1]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(predictions(2))
def test_curve_is_sklearns(case):
    labels, lp = case
    score = lp[:, 1]
    ours, theirs = (m.precision_recall_curve(labels, score) for m in (metrics, skl))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b)
    same(metrics.average_precision(labels, score), skl.average_precision_score(labels, score))


def test_calibration_error_by_hand():
    # two rows in bin (0.6, 0.667] at 0.65, one of them right; two in (0.867, 0.933] at 0.9, both right
    p = np.array([[0.65, 0.35], [0.35, 0.65], [0.9, 0.1], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 1])
    same(values(labels, np.log(p))["all", "ece"], 0.5 * abs(0.5 - 0.65) + 0.5 * abs(1 - 0.9))


def test_calibration_bins_are_closed_above_and_a_certain_row_counts():
    with np.errstate(divide="ignore"):
        lp = np.log(np.array([[1.0, 0.0], [0.0, 1.0]]))
    same(calibration_error(np.array([0, 0]), lp), 0.5)
    # 1/3 is an upper edge: the rows lie in different bins, so their gaps do not cancel
    lp = np.log(np.array([[1 / 3, 1 / 3, 1 / 3], [0.3334, 0.3333, 0.3333]]))
    same(calibration_error(np.array([0, 1]), lp), 0.5 * (1 - 1 / 3) + 0.5 * 0.3334)


def test_bins_are_apart_from_the_first_to_the_last():
    # of two bins: 0.4, wrong, and 0.9, right; in one bin the gaps would partly cancel
    lp = np.log(np.array([[0.3, 0.4, 0.3], [0.05, 0.9, 0.05]]))
    same(calibration_error(np.array([0, 1]), lp, bins=2), 0.5 * 0.4 + 0.5 * 0.1)


def test_a_probability_that_rounding_puts_past_one_is_in_the_last_bin():
    lp = np.array([[1e-12, -50.0], [np.log(0.99), np.log(0.01)]])  # the first wrong, the second right
    same(calibration_error(np.array([1, 0]), lp), 0.5 * (1 - 0.01))


def test_certain_and_right_has_the_log_loss_of_scikit_learn():
    with np.errstate(divide="ignore"):
        lp = np.log(np.array([[1.0, 0.0]]))
    assert probabilities.log_losses(np.array([[0]]), lp[None])[0] == skl.log_loss([0], np.exp(lp), labels=[0, 1]) > 0


def test_of_several_classes_the_score_is_the_log_odds():
    lp = np.log(np.array([[0.7, 0.2, 0.1], [1 - 1e-6, 6e-7, 4e-7]]))
    same(metrics.ranking_scores(lp, 0), [math.log(0.7 / 0.3), math.log((1 - 1e-6) / 1e-6)])


def test_certain_and_wrong_is_a_finite_log_loss():
    with np.errstate(divide="ignore"):
        lp = np.log(np.array([[1.0, 0.0], [0.5, 0.5]]))
    labels = np.array([1, 1])
    same(values(labels, lp)["all", "log_loss"], skl.log_loss(labels, np.exp(lp), labels=[0, 1]))


def test_an_absent_class_is_nan_and_left_out_of_macro():
    lp = np.log(np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.6, 0.2, 0.2]]))
    labels = np.array([0, 1, 1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = values(labels, lp)
    for metric in ("precision", "recall", "f1", "auc_pr", "auc_roc"):
        assert math.isnan(ours["class:2", metric])
    same(ours["class:2", "specificity"], 0.75)
    same(ours["macro", "balanced_accuracy"], 0.75)
    same(ours["macro", "g_mean"], math.sqrt(0.5))
    same(ours["macro", "f1"], (1 + 2 / 3) / 2)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only(label):
    lp = log_softmax([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = values(np.full(3, label), lp)
    assert math.isnan(ours["positive", "auc_roc"]) and math.isnan(ours["positive", "g_mean"])
    if label:
        assert ours["positive", "auc_pr"] == 1 and math.isnan(ours["positive", "specificity"])
    else:
        for metric in ("auc_pr", "auc_pr_trapezoid", "ap_at_0.5", "recall", "precision", "f1"):
            assert math.isnan(ours["positive", metric])
        same(ours["positive", "specificity"], 1 / 3)
    same(ours["all", "accuracy"], [1 / 3, 2 / 3][label])


def test_one_row_and_all_ties():
    assert values(np.array([1]), log_softmax([[0.0, 1.0]]))["positive", "auc_pr"] == 1
    ours = values(np.array([0, 1, 0, 0]), np.log(np.full((4, 2), 0.5)))
    assert ours["positive", "auc_pr"] == 0.25 and ours["positive", "auc_roc"] == 0.5
    assert ours["positive", "ap_at_0.75"] == 0.25 and ours["positive", "f1"] == 0


def test_infinite_scores_rank():
    with np.errstate(divide="ignore"):
        lp = np.log(np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    assert values(np.array([0, 0, 1, 1]), lp)["positive", "auc_pr"] == 1


def test_average_precision_of_nan_scores_is_nan():
    assert math.isnan(metrics.average_precision(np.array([0, 1]), np.array([0.1, np.nan])))


def test_regression():
    ours = values(np.array([0.0, 1.0]), np.array([[0.5], [3.0]]), ["y"], "regression")
    assert ours == {("all", "mse"): pytest.approx(2.125), ("all", "mae"): pytest.approx(1.25)}


@pytest.mark.parametrize(
    ("labels", "log_probs", "names", "kind", "says"),
    [
        ([0, 1], np.log([[0.5, 0.5], [0.5, np.nan]]), ["a", "b"], "classification", "not log-probabilities"),
        ([0, 1], [[0.5, 0.5], [0.3, 0.7]], ["a", "b"], "classification", "not log-probabilities"),
        ([0, 2], np.log([[0.5, 0.5], [0.5, 0.5]]), ["a", "b"], "classification", "labels must be"),
        ([], np.zeros((0, 2)), ["a", "b"], "classification", "cannot score"),
        ([0], np.log([[0.5, 0.5]]), ["a"], "classification", "cannot score"),
        ([0, 1], np.log([[0.5, 0.5]]), ["a", "b"], "classification", "cannot score"),
        ([0.0], [[np.nan]], ["y"], "regression", "finite"),
        ([0.0, 1.0], [[1.0], [np.inf]], ["y"], "regression", "finite"),
        ([0.0, np.nan], [[1.0], [2.0]], ["y"], "regression", "finite"),
        ([0.0, 1.0], [[1.0, 1.0], [2.0, 2.0]], ["y"], "regression", "one finite column"),
    ],
)
def test_bad_predictions_are_named(labels, log_probs, names, kind, says):
    with pytest.raises(BenchError, match=says):
        metrics.evaluate(np.array(labels), np.asarray(log_probs), names, kind)


def test_needs_numpy_only():
    heavy = "{'torch', 'sklearn', 'scipy', 'pandas'}"
    code = f"import sys, imbalance_bench.metrics; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
