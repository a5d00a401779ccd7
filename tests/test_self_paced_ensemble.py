"""Self-paced Ensemble, against Algorithm 1 by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from imbalance_bench.engine import Engine
from imbalance_bench.methods.self_paced_ensemble import shares
from tests.tasks import method, task, trainer

# Ten majority rows: their probability of their own class, so hardness 0, 0.1, 0.15, 0.3, 0.3, 0.5, 0.7, 0.9, 0.95, 1.
P = 1 - np.array([0, 0.1, 0.15, 0.3, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0])


def test_bins_and_shares_are_those_of_the_paper():
    """Five bins of width 0.2 hold 3, 2, 1, 1 and 3 rows of mean hardness 0.25 / 3, 0.3, 0.5, 0.7, 2.85 / 3. After the
    first of four members α = tan(π / 8) = √2 - 1 and p = 2.0100, 1.4002, 1.0938, 0.8975, 0.7330 (6.1346 in all); of
    four rows that is 1.311, 0.913, 0.713, 0.585, 0.478: one each of the first, and by the largest remainders of the
    second, third and fourth."""
    bins, counts = method("self_paced_ensemble", bins=5, members=4).paced(P, 1, 4)
    assert bins.tolist() == [0, 0, 0, 1, 1, 2, 3, 4, 4, 4]
    assert counts.tolist() == [1, 1, 1, 1, 0]
    # At the end every bin counts the same; a second row is left for the first three, of which the third has but one.
    for total, wanted in {5: [1, 1, 1, 1, 1], 8: [3, 2, 1, 1, 1], 10: [3, 2, 1, 1, 3]}.items():
        _, counts = method("self_paced_ensemble", bins=5, members=4).paced(P, 4, total)
        assert counts.tolist() == wanted


@pytest.mark.parametrize(
    "hardness, edges",
    [("absolute", [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]), ("squared", [0, 0, 0, 0, 0, 0, 0, 1, 1, 1])],
)
def test_hardness(hardness, edges):
    bins, _ = method("self_paced_ensemble", bins=2, hardness=hardness).paced(P, 1, 2)
    assert bins.tolist() == edges


def test_cross_entropy_is_hardness_up_to_its_largest_value():
    bins, _ = method("self_paced_ensemble", bins=2, hardness="cross_entropy").paced(
        np.exp(-np.array([0.0, 1, 3, 4])), 1, 2
    )
    assert bins.tolist() == [0, 0, 1, 1]


def test_what_a_bin_is_too_small_for_goes_to_the_others():
    assert shares(np.array([8.0, 1, 1]), np.array([2, 5, 9]), 8).tolist() == [2, 3, 3]
    assert shares(np.array([1.0, 1, 1]), np.array([0, 4, 0]), 4).tolist() == [0, 4, 0]


def test_members_are_trained_on_as_many_rows_of_each_class_and_averaged(monkeypatch):
    seen = []
    fit = DecisionTreeClassifier.fit

    def watched(self, x, y, **more):
        seen.append(np.bincount(y).tolist())
        return fit(self, x, y, **more)

    monkeypatch.setattr(DecisionTreeClassifier, "fit", watched)
    for n in [(90, 15), (40, 20, 10)]:
        seen.clear()
        t = task(n=n)
        (made,) = method("self_paced_ensemble", members=4).fit([t], None, Engine(trainer(), "cpu"))
        assert seen == [[min(n)] * len(n)] * 5  # f_0 too
        assert len(made.made) == 4
        mean = np.mean([tree.predict_proba(t.valid.x.astype(float)) for tree in made.made], axis=0)
        np.testing.assert_allclose(np.exp(made.scores(t.valid.x)), mean, atol=1e-9)


@pytest.mark.parametrize(
    ("estimator", "said"), [("sklearn.svm.LinearSVC", True), ("sklearn.tree.DecisionTreeClassifier", False)]
)
def test_members_without_probabilities_are_said_to_have_none(estimator, said):
    (classifier,) = method("self_paced_ensemble", members=2, estimator=estimator, options={}).fit(
        [task(n=(60, 12))], None, Engine(trainer(), "cpu")
    )
    assert str(classifier.info.get("scores")).startswith("decision_function") == said
