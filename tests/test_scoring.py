"""The headline, the facts of decisions, and the score that chooses an epoch, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from imbalance_bench.metrics.scoring import decisions, headline, score_predictions, selection_score


def row(value, metric="auc_pr", group="positive", iterate="last", part="test"):
    return {"metric": metric, "class_group": group, "iterate": iterate, "part": part, "value": value}


@pytest.mark.parametrize(
    ("classes", "kind", "metric", "group"),
    [
        (2, "classification", "auc_pr", "positive"),
        (3, "classification", "auc_pr", "macro"),
        (7, "classification", "auc_pr", "macro"),
        (1, "regression", "mse", "all"),
    ],
)
def test_the_headline_is_the_mean_of_one_metric_of_test_rows_at_the_last_epoch(classes, kind, metric, group):
    rows = [row(0.2, metric, group), row(0.6, metric, group)]
    others = [("auc_pr", "positive", "best"), ("f1", "macro", "last"), ("mse", "macro", "last")]
    others += [("auc_pr", "positive" if classes > 2 else "macro", "last")]
    others += [(metric, group, "last", "valid")]
    found = headline(rows + [row(0.9, *other) for other in others], classes, kind)
    assert found == {
        "metric": metric, "class_group": group, "iterate": "last", "mean": pytest.approx(0.4),
        "sd": pytest.approx(0.08**0.5),  # of n - 1: (0.2² + 0.2²) / 1
    }  # fmt: skip


def test_the_headline_of_one_run_has_no_spread():
    assert headline([row(0.7)], 2, "classification")["sd"] == 0
    assert headline([row(0.7), row(0.8)], 2, "classification")["sd"] == pytest.approx(0.005**0.5)


def test_a_run_at_chance_itself_has_collapsed():
    scores = np.log(np.full((4, 2), 0.5))  # class 0 alone
    labels = np.array([0, 1, 0, 1])
    found = {auc: decisions(labels, scores, auc)["collapsed"] for auc in (0.5, 0.55, 0.56, np.nan)}
    assert found == {0.5: True, 0.55: True, 0.56: False, np.nan: False}
    assert not decisions(labels, np.log([[0.9, 0.1], [0.1, 0.9]] * 2), 0.5)["collapsed"]


def test_epochs_of_two_classes_are_chosen_by_the_average_precision_of_the_positive():
    # By p1 the rows come 0, 1, 2, 3, and row 1 is none.
    p = np.array([0.8, 0.6, 0.4, 0.2])
    scores, labels = np.log(np.stack([1 - p, p], 1)), np.array([1, 0, 1, 1])
    assert selection_score(labels, scores, "classification") == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_epochs_of_several_classes_are_chosen_by_the_mean_over_those_that_have_rows():
    # Row 0 comes first for class 0; for class 1 the order is 1, 2, 0, and row 2 is the only one of it.
    p = np.array([[0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.1, 0.5, 0.2, 0.2]])
    assert selection_score(np.array([0, 0, 1]), np.log(p), "classification") == pytest.approx((1 + 1 / 2) / 2)
    assert selection_score(np.array([1, 1, 1]), np.log(p), "classification") == 1


def test_epochs_of_a_regression_are_chosen_by_the_mean_squared_error():
    # Errors 0.5, -1, 3: squares 0.25, 1, 9.
    predictions = np.array([[1.5], [1.0], [3.0]])
    assert selection_score(np.array([1.0, 2.0, 0.0]), predictions, "regression") == pytest.approx(-10.25 / 3)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_run_has_the_numbers_that_it_has_alone(classes):
    """Runs of equally many rows are scored as one array; ties, unequal sizes and a class without rows among them."""
    rng = np.random.default_rng(classes)
    sizes, minority = (30, 31, 30, 30, 31), [(1,), (1,), (0,), (1,), (1,)]
    arrays = {}
    for part in ("", "valid_"):
        logits = np.round(rng.normal(size=(sum(sizes), classes)), 1)
        labels = rng.integers(classes, size=sum(sizes))
        labels[-sizes[-1] :] = 0
        logits -= np.logaddexp.reduce(logits, axis=1)[:, None]
        scores = {f"{part}scores_{readout}": np.roll(logits, k, 0) for k, readout in enumerate(("last", "best"))}
        arrays |= {f"{part}run": np.repeat(np.arange(5), sizes), f"{part}label": labels, **scores}
    arrays["slice_odd"] = np.arange(sum(sizes)) % 2 == 1

    def scored(runs):
        kept = {part: np.isin(arrays[f"{part}run"], runs) for part in ("", "valid_")}
        mine = {n: values[kept["valid_" if n.startswith("valid_") else ""]] for n, values in arrays.items()}
        names = [f"c{c}" for c in range(classes)]
        return score_predictions(
            mine, [(r, 0) for r in range(5)], names, "classification", minority, calibrations=["prior"]
        )

    def ordered(rows):
        return sorted(
            (r["run"], r["iterate"], r["part"], r["class_group"], r["metric"], repr(r["value"])) for r in rows
        )

    assert ordered(scored(range(5))) == ordered([row for run in range(5) for row in scored([run])])
