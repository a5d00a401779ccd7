"""Calibration and what is measured of probabilities, against scikit-learn and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss

from imbalance_bench import metrics
from imbalance_bench.metrics import calibration, probabilities, scoring
from imbalance_bench.options import check
from imbalance_bench.settings.config import TOP_LEVEL


def draw(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and log-probabilities that are too sure of themselves."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n, p=np.arange(classes, 0, -1) / sum(range(1, classes + 1)))
    logits = 3 * rng.normal(size=(n, classes)) + 3 * (np.arange(classes) == y[:, None])
    return y, logits - np.logaddexp.reduce(logits, axis=1)[:, None]


class Decides(ClassifierMixin, BaseEstimator):
    """Its rows are log-probabilities; it decides by each class's log-odds, which is what scikit-learn calibrates."""

    def fit(self, x, y):
        self.classes_ = np.arange(x.shape[1])
        return self

    def predict(self, x):
        return x.argmax(axis=1)

    def decision_function(self, x):
        odds = np.stack([metrics.ranking_scores(x, c) for c in range(x.shape[1])], axis=1)
        return odds[:, 1] if x.shape[1] == 2 else odds


class Gives(Decides):
    """... that gives the probabilities themselves."""

    decision_function = None

    def predict_proba(self, x):
        return np.exp(x)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("kind", "theirs", "model"),
    [("platt", "sigmoid", Decides), ("isotonic", "isotonic", Decides), ("temperature", "temperature", Gives)],
)
def test_as_scikit_learn_calibrates(kind, theirs, model, classes):
    y, scores = draw(0, 200, classes)
    _, new = draw(1, 40, classes)
    oracle = CalibratedClassifierCV(FrozenEstimator(model().fit(scores, y)), method=theirs).fit(scores, y)
    calibrate = calibration.fitted(kind, y, scores)
    np.testing.assert_allclose(np.exp(calibrate(new)), oracle.predict_proba(new), atol=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_shift_of_class_shares_is_undone(classes):
    y, scores = draw(2, 300, classes)
    calibrated = calibration.fitted("prior", y, scores)(scores)
    share = (np.bincount(y, minlength=classes) + 1) / (len(y) + classes)
    np.testing.assert_allclose(np.exp(calibrated).mean(axis=0), share, atol=1e-9)
    # As of training on other class shares: p' ∝ p · w (Saerens et al. 2002; Dal Pozzolo et al. 2015 for two classes).
    shifted = calibrated + np.linspace(0, 3, classes)
    shifted -= np.logaddexp.reduce(shifted, axis=1)[:, None]
    np.testing.assert_allclose(calibration.fitted("prior", y, shifted)(shifted), calibrated, atol=1e-6)


def test_the_configuration_takes_all_kinds():
    assert check(TOP_LEVEL["calibration"], list(calibration.KINDS), "calibration") == calibration.KINDS


def test_scores_that_say_nothing_become_the_shares():
    y = np.array([0, 0, 0, 1])
    same = np.log(np.full((4, 2), 0.5))
    np.testing.assert_allclose(np.exp(calibration.fitted("prior", y, same)(same))[:, 1], 2 / 6)
    np.testing.assert_allclose(np.exp(calibration.fitted("isotonic", y, same)(same))[:, 1], 1 / 4)


@pytest.mark.parametrize("kind", calibration.KINDS)
def test_what_is_certain_and_separated_stays_finite(kind):
    """Probabilities of 0 and 1, all right: log-probabilities are what the clipped log loss takes."""
    y, scores = np.array([0, 0, 1, 1]), np.log(np.eye(2)[[0, 0, 1, 1]] + 1e-320)
    scores[0, 1] = scores[2, 0] = -np.inf
    found = calibration.fitted(kind, y, scores)(scores)
    assert not np.isnan(found).any() and (found.argmax(axis=1) == y).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    assert calibration.fitted(kind, np.zeros(4, int), scores) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_brier_scores(classes):
    y, scores = draw(3, 60, classes)
    p = np.exp(scores)
    given = (p[:, 1],) if classes == 2 else (p,)
    theirs = brier_score_loss(y, *given, labels=list(range(classes)))
    rare = classes - 1
    mine = y == rare
    found = probabilities.of_probabilities(y, scores, [rare])
    assert found["brier"] == pytest.approx(theirs)
    onehot = np.eye(classes)[y]
    errors = ((p - onehot) ** 2).sum(axis=1) / (2 if classes == 2 else 1)
    assert found["brier_minority"] == pytest.approx(errors[mine].mean())
    assert math.isnan(probabilities.of_probabilities(y[~mine], scores[~mine], [rare])["brier_minority"])


def test_bins_of_equal_mass_are_those_of_scikit_learn():
    y, scores = draw(4, 100, 2)
    p = np.round(np.exp(scores[:, 1]), 1)  # with ties, which share a bin
    found = probabilities.reliability(y == 1, p, bins=7)
    observed, predicted = calibration_curve(y, p, n_bins=7, strategy="quantile")
    np.testing.assert_allclose(found["observed"], observed)
    np.testing.assert_allclose(found["predicted"], predicted)
    assert found["rows"].sum() == 100
    # Fifteen rows, a bin each: the mean distance of events from their probabilities.
    p, events = np.linspace(0.1, 0.9, 15), np.arange(15) % 2
    assert probabilities.equal_mass_error(events, p) == pytest.approx(np.abs(events - p).mean())


def test_errors_of_calibration_by_class_and_of_the_likeliest():
    y, scores = draw(5, 90, 3)
    found = {(r["class_group"], r["metric"]): r["value"] for r in metrics.evaluate(y, scores, "abc", minority=[2])}
    of_class = [probabilities.equal_mass_error(y == c, np.exp(scores[:, c])) for c in range(3)]
    assert [found[f"class:{name}", "ece_mass"] for name in "abc"] == of_class
    assert found["macro", "ece_mass"] == pytest.approx(np.mean(of_class))
    assert found["minority", "ece_mass"] == of_class[2]
    top = probabilities.equal_mass_error(scores.argmax(axis=1) == y, np.exp(scores.max(axis=1)))
    assert found["all", "ece_mass"] == top


def test_test_rows_are_calibrated_by_validation_rows():
    (y, scores), (valid_y, valid) = draw(6, 80, 2), draw(7, 100, 2)
    arrays = {"run": np.zeros(80, np.int32), "label": y, "scores_last": scores}
    arrays |= {"valid_run": np.zeros(100, np.int32), "valid_label": valid_y, "valid_scores_last": valid}

    def rows(**more):
        found = scoring.score_predictions(
            arrays | more, [(0, 0)], ["no", "yes"], "classification", calibrations=calibration.KINDS
        )
        return {(r["part"], r["metric"]): r["value"] for r in found if r["class_group"] == "all"}

    found = rows()
    for kind in calibration.KINDS:
        q = calibration.fitted(kind, valid_y, valid)(scores)
        assert found["test", f"brier_{kind}"] == pytest.approx(brier_score_loss(y, np.exp(q[:, 1])))
        assert found["test", f"log_loss_{kind}"] == probabilities.of_probabilities(y, q, [1])["log_loss"]
        assert ("valid", f"brier_{kind}") not in found
    assert found["test", "log_loss_temperature"] < found["test", "log_loss"]
    one = rows(valid_label=np.zeros(100, int))
    assert math.isnan(one["test", "brier_platt"]) and one["test", "brier"] == found["test", "brier"]
