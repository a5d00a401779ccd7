"""Tuned decisions: the best on validation rows by brute force and by scikit-learn, and never by a look at test rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import balanced_accuracy_score, f1_score, make_scorer, recall_score
from sklearn.model_selection import TunedThresholdClassifierCV

from imbalance_bench import metrics
from imbalance_bench.metrics import scoring, thresholds


def log_probs(log_odds: np.ndarray) -> np.ndarray:
    return np.stack([-np.logaddexp(0, log_odds), -np.logaddexp(0, -log_odds)], axis=1)


def draw(rng: np.random.Generator, n: int, classes: int = 2, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels, the last class the rarest, and log-probabilities that know something of them."""
    y = rng.choice(classes, n, p=np.arange(classes, 0, -1) / sum(range(1, classes + 1)))
    logits = rng.normal(size=(n, classes)) + 1.5 * (np.arange(classes) == y[:, None]) + np.linspace(1, 0, classes)
    logits = np.round(logits, 0 if ties else 6)
    return y, logits - np.logaddexp.reduce(logits, axis=1)[:, None]


def value(objective: str, y: np.ndarray, predicted: np.ndarray, costs: np.ndarray) -> float:
    """By its definition; higher is better."""
    present = np.unique(y)
    hits = np.array([((y == c) & (predicted == c)).sum() for c in present])
    recalls = hits / [(y == c).sum() for c in present]
    if objective == "f1":
        f1 = 2 * hits / [(y == c).sum() + (predicted == c).sum() for c in present]
        return float(f1[-1] if len(costs) == 2 else f1.mean())
    if objective == "g_mean":
        return float(np.prod(recalls)) ** (1 / len(recalls))
    if objective == "balanced_accuracy":
        return float(np.mean(recalls))
    return -float(costs[y[predicted != y]].sum()) / len(y)


@pytest.mark.parametrize("objective", thresholds.OBJECTIVES)
@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_is_better_on_validation(objective, ties):
    rng = np.random.default_rng(0)
    for n in (3, 8, 30):
        y, scores = draw(rng, n, ties=ties)
        y[:2] = 0, 1
        costs = thresholds.costs_of(2, (), 4.0)
        tuned = thresholds.offsets(y, scores, objective, costs)
        found = value(objective, y, thresholds.decide(scores, tuned), costs)
        odds = scores[:, 1] - scores[:, 0]
        cuts = np.unique(odds)
        every = [*(cuts[1:] + cuts[:-1]) / 2, cuts[0] - 1, cuts[-1] + 1, 0.0]
        assert found == pytest.approx(max(value(objective, y, (odds > t).astype(int), costs) for t in every))
        own = thresholds.of_decisions(y, thresholds.decide(scores, tuned), costs)[objective]
        assert own == pytest.approx(-found if objective == "cost" else found)


class Known(ClassifierMixin, BaseEstimator):
    """Gives the probabilities (n,) of class 1 that it is asked about."""

    def fit(self, x, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, x):
        return np.column_stack([1 - x[:, 0], x[:, 0]])


@pytest.mark.parametrize(
    ("objective", "scorer"),
    [
        ("f1", make_scorer(f1_score)),
        ("balanced_accuracy", make_scorer(balanced_accuracy_score)),
        ("g_mean", make_scorer(lambda y, p: math.sqrt(recall_score(y, p) * recall_score(1 - y, 1 - p)))),
        ("cost", make_scorer(lambda y, p: -(10 * ((y == 1) & (p == 0)).sum() + ((y == 0) & (p == 1)).sum()) / len(y))),
    ],
)
def test_as_scikit_learn_tunes_it(objective, scorer):
    """The same score of the same rows, and at its threshold the same decisions on rows that it did not see."""
    y, scores = draw(np.random.default_rng(1), 60)
    new, new_scores = draw(np.random.default_rng(2), 50)
    p, new_p = np.exp(scores[:, [1]]), np.exp(new_scores[:, [1]])
    costs = thresholds.costs_of(2, ())
    tuned = thresholds.offsets(y, scores, objective, costs)
    between = np.sort(p[:, 0])
    candidates = np.unique([*(between[1:] + between[:-1]) / 2, thresholds.as_threshold(tuned)])
    theirs = TunedThresholdClassifierCV(
        FrozenEstimator(Known().fit(p, y)), scoring=scorer, thresholds=candidates, cv="prefit", refit=False
    ).fit(p, y)
    own = value(objective, y, thresholds.decide(scores, tuned), costs)
    assert own == pytest.approx(theirs.best_score_)
    theirs.best_threshold_ = thresholds.as_threshold(tuned)
    np.testing.assert_array_equal(theirs.predict(new_p), thresholds.decide(new_scores, tuned))


@pytest.mark.parametrize(
    ("labels", "odds", "expected"),
    [
        ([0, 1], [-1.0, 3.0], 0.0),  # 0.5 separates them: it stays
        ([0, 1], [-3.0, -1.0], -2.0),  # else the middle of the gap
        ([0, 1, 0, 1], [-4.0, -3.0, 1.0, 2.0], -3.5),  # of the two best for F1, 4/5 and 2/3
        ([1, 1, 0], [-2.0, -3.0, -5.0], -4.0),
        ([1, 0], [-1.0, 2.0], -2.0),  # all are called positive: one nat below the lowest
    ],
)
def test_ties_go_to_the_threshold_nearest_a_half(labels, odds, expected):
    tuned = thresholds.offsets(np.array(labels), log_probs(np.array(odds)), "f1", np.array([1.0, 10.0]))
    assert -tuned[1] == pytest.approx(expected)
    assert thresholds.as_threshold(tuned) == pytest.approx(1 / (1 + math.exp(-expected)))


def test_saturated_probabilities_are_told_apart():
    """Probabilities that are 1 in float32, and one that is 0."""
    odds = np.array([20.0, 25.0, 30.0])
    scores = np.concatenate([log_probs(odds).astype(np.float32), [[0.0, -np.inf]]])
    tuned = thresholds.offsets(np.array([0, 0, 1, 0]), scores, "f1", np.array([1.0, 10.0]))
    assert -tuned[1] == pytest.approx(27.5, abs=1e-4)
    np.testing.assert_array_equal(thresholds.decide(scores, tuned), [0, 0, 1, 0])


@pytest.mark.parametrize("objective", thresholds.OBJECTIVES)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [3, 7])
def test_offsets_of_several_classes_are_where_no_single_one_does_better(objective, ties, classes):
    rng = np.random.default_rng(3)
    y, scores = draw(rng, 40, classes, ties)
    costs = thresholds.costs_of(classes, (2,), 10.0)
    tuned = thresholds.offsets(y, scores, objective, costs)
    found = value(objective, y, thresholds.decide(scores, tuned), costs)
    assert found >= value(objective, y, scores.argmax(axis=1), costs) - 1e-9
    for c in np.unique(y):
        for offset in np.linspace(-8, 8, 60):
            moved = np.where(np.arange(classes) == c, offset, tuned)
            assert value(objective, y, thresholds.decide(scores, moved), costs) <= found + 1e-9


def test_a_class_without_validation_rows_keeps_its_offset():
    y, scores = draw(np.random.default_rng(4), 30, 4)
    y[y == 3] = 2
    assert thresholds.offsets(y, scores, "f1", np.ones(4))[3] == 0


@pytest.mark.parametrize("classes", [2, 3])
def test_plain_decisions_score_as_metrics_do(classes):
    y, scores = draw(np.random.default_rng(5), 50, classes)
    found = thresholds.of_decisions(y, scores.argmax(axis=1), np.ones(classes))
    names = [str(c) for c in range(classes)]
    rows = {(r["class_group"], r["metric"]): r["value"] for r in metrics.evaluate(y, scores, names)}
    group = "positive" if classes == 2 else "macro"
    for name, where in (("f1", group), ("g_mean", group), ("balanced_accuracy", "macro")):
        assert found[name] == pytest.approx(rows[where, name]), name
    assert found["cost"] == pytest.approx(1 - rows["all", "accuracy"])


@pytest.mark.parametrize("classes", [2, 12])
def test_several_decisions_on_the_same_rows_score_as_each_of_them_does(classes):
    rng = np.random.default_rng(6)
    y, predicted = rng.integers(classes - 1, size=50), rng.integers(classes, size=(4, 50))
    costs = thresholds.costs_of(classes, (2,))
    found = thresholds.of_decisions(y, predicted, costs)
    for i, decided in enumerate(predicted):
        np.testing.assert_equal(
            {name: values[i] for name, values in found.items()}, thresholds.of_decisions(y, decided, costs)
        )


# In metrics.csv


def scored(valid: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], **more) -> dict:
    arrays = {
        prefix + name: array
        for prefix, (y, scores) in (("", test), ("valid_", valid))
        for name, array in {"run": np.zeros(len(y), np.int32), "label": y, "scores_last": scores}.items()
    }
    rows = scoring.score_predictions(arrays, [(0, 0)], ["no", "yes"], "classification", **more)
    return {(r["part"], r["class_group"], r["metric"]): r["value"] for r in rows}


def test_test_rows_are_decided_by_the_threshold_of_validation_rows():
    """The threshold that would be best on the test rows is another one, and is not taken."""
    valid = np.array([0, 0, 1, 1]), log_probs(np.array([-4.0, -3.0, -2.0, -1.0]))
    test = np.array([0, 1, 1, 0]), log_probs(np.array([-3.0, -2.8, -1.0, -2.0]))
    found = scored(valid, test, cost=5)
    assert found["test", "positive", "threshold_f1"] == pytest.approx(1 / (1 + math.exp(2.5)))
    assert found["test", "positive", "f1_tuned"] == pytest.approx(f1_score(test[0], [0, 0, 1, 1]))
    assert found["test", "positive", "g_mean_tuned"] == pytest.approx(0.5)
    assert found["test", "macro", "balanced_accuracy_tuned"] == pytest.approx(0.5)
    assert found["test", "all", "cost_tuned"] == pytest.approx((5 + 1) / 4)
    assert found["test", "all", "cost"] == pytest.approx(2 * 5 / 4)
    assert found["valid", "positive", "f1_tuned"] == 1
    other = scored(valid, (test[0], test[1][::-1]))
    assert other["test", "positive", "threshold_f1"] == found["test", "positive", "threshold_f1"]


def test_one_class_among_validation_rows_tunes_nothing():
    _, scores = valid = np.zeros(4, int), log_probs(np.array([-4.0, -3.0, -2.0, -1.0]))
    found = scored(valid, (np.array([0, 1, 1, 0]), scores))
    names = [f"{name}_tuned" for name in thresholds.OBJECTIVES]
    assert all(math.isnan(v) for (_, _, name), v in found.items() if name in names)
    assert {name for _, _, name in found} > set(names)
