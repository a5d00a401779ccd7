"""The baselines of the SetConv paper, against libraries, closed forms and loops written out here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from imblearn.over_sampling import KMeansSMOTE
from imblearn.under_sampling import InstanceHardnessThreshold
from scipy.optimize import brentq
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from imbalance_bench.data.base import Part
from imbalance_bench.engine import Engine
from imbalance_bench.engine.loop import TrainState
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.cs_dmlp import NearestMean, fisher_targets
from imbalance_bench.methods.iml import (
    by_class,
    capped,
    jaccard,
    lmnn,
    lmnn_loss,
    principal_components,
    target_neighbours,
)
from imbalance_bench.methods.kmeans_smote import interpolated, kept_clusters, log_sparsity
from imbalance_bench.methods.shared.allotted import allotted
from imbalance_bench.methods.shared.vectors import flat_vectors
from imbalance_bench.methods.weob2 import implicit_step, learn, poisson_rates, tracked_recalls
from imbalance_bench.settings.config import from_omegaconf
from imbalance_bench.settings.identity import cell_id
from tests.cells import composed
from tests.tasks import backbone, byte_image_task, method, task, trainer

BASELINES = [
    "logistic_regression", "logistic_regression_balanced", "iht", "iht_mlp", "kmeans_smote", "kmeans_smote_mlp",
    "weob2", "iml",
]  # fmt: skip


def fitted(label, *tasks, precision="float32", **options):
    engine = Engine(trainer(epochs=2, precision=precision), "cpu")
    return method(label, **options).fit(list(tasks), backbone(), engine)


def probabilities(classifier, x):
    return np.exp(classifier.scores(x).astype(np.float64))


def part(x, y):
    return Part(np.asarray(x, np.float32), np.asarray(y), np.arange(len(y)))


# Vectors


def test_bytes_become_numbers_between_zero_and_one():
    x = np.array([[[0, 51], [102, 255]]], np.uint8)
    np.testing.assert_array_equal(flat_vectors(x), np.array([[0, 0.2, 0.4, 1]], np.float32))
    assert flat_vectors(x).dtype == np.float32


# Logistic regression


@pytest.mark.parametrize("label, weight", [("logistic_regression", None), ("logistic_regression_balanced", "balanced")])
@pytest.mark.parametrize("n", [(90, 15), (40, 20, 10)])
def test_logistic_regression_is_scikit_learns(label, weight, n):
    t = task(n=n)
    (made,) = fitted(label, t, c=0.3)
    wanted = LogisticRegression(C=0.3, class_weight=weight, tol=1e-8, max_iter=5000).fit(
        t.train.x.astype(float), t.train.y
    )
    np.testing.assert_allclose(probabilities(made, t.valid.x), wanted.predict_proba(t.valid.x), atol=1e-5)
    loss = -np.log(wanted.predict_proba(t.train.x)[np.arange(len(t.train)), t.train.y]).mean()
    assert made.history[0]["train_loss"] == pytest.approx(loss, rel=1e-4)


def test_any_resampler_may_come_first():
    t = task()
    rows = method("smote_balanced").resample(t, t.train)
    (made,) = fitted("logistic_regression", t, resampler={"name": "smote", "amount": "balanced", "k_neighbors": 5})
    wanted = LogisticRegression(tol=1e-8, max_iter=5000).fit(rows.x.astype(float), rows.y)
    np.testing.assert_allclose(probabilities(made, t.valid.x), wanted.predict_proba(t.valid.x), atol=1e-5)
    assert made.info["fitted_counts"] == [90, 90]
    assert made.info["synthetic"]["rows"] == 75


@pytest.mark.parametrize(
    "options, message",
    [
        ({"c": 0.0}, "method.c=0.0 must be a number, above 0"),
        ({"resampler": {"name": "focal", "gamma": 2.0, "alpha": None}}, "method.resampler.name=focal leaves"),
        ({"resampler": {"name": "smotte"}}, "unknown method name='smotte': did you mean smote"),
        ({"resampler": {"name": "iht", "trees": 10}}, "missing key method.resampler.folds"),
        ({"resampler": {"trees": 10}}, "method.resampler needs a name"),
    ],
)
def test_a_resampler_that_is_none_is_an_error(options, message):
    with pytest.raises(BenchError, match=message):
        method("logistic_regression", **options)


def test_the_label_of_a_resampler_is_no_part_of_a_cells_identity():
    plain, other, more = (
        cell_id(from_omegaconf(composed("method=iht", *extra)).plain)
        for extra in ([], ["method.resampler.label=mine"], ["method.resampler.trees=7"])
    )
    assert plain == other != more


# Instance hardness


@pytest.mark.parametrize("n", [(60, 12), (40, 24, 12)])
def test_hard_rows_are_those_of_imbalanced_learn(n):
    t = task(n=n)
    rows = method("iht_mlp", trees=5).resample(t, t.train)
    sampler = InstanceHardnessThreshold(estimator=RandomForestClassifier(5), cv=5, random_state=t.seed)
    sampler.fit_resample(t.train.x, t.train.y)
    np.testing.assert_array_equal(rows.ids, np.sort(sampler.sample_indices_))
    counts = np.bincount(rows.y)
    assert counts[-1] == n[-1]
    assert all(n[-1] <= kept < given for kept, given in zip(counts, n[:-1]))


def test_rows_tied_at_the_percentile_stay_and_the_record_says_how_many():
    rng = np.random.default_rng(0)
    far = part(np.repeat([[0.0], [9.0]], [50, 10], 0) + rng.random((60, 2)), np.repeat([0, 1], [50, 10]))
    quick = {"name": "iht", "trees": 5, "folds": 5}
    (made,) = fitted("iht", replace(task(n=(50, 10), d=2), train=far), resampler=quick)  # p = 1 for every row
    assert made.info["train_counts"] == [50, 10]
    assert made.info["fitted_counts"] == [50, 10]


def test_a_class_without_rows_leaves_no_gap():
    t = task(n=(30, 20, 10))
    labels = np.array([0, 2, 3])[t.train.y]
    plain = method("iht_mlp", trees=5).resample(t, t.train)
    gap = method("iht_mlp", trees=5).resample(t, replace(t.train, y=labels))
    np.testing.assert_array_equal(plain.ids, gap.ids)


def test_too_few_rows_for_the_folds_are_an_error():
    t = task(n=(30, 3))
    with pytest.raises(BenchError, match="method=iht needs at least folds = 5 rows of each class, and fold 0 has 3"):
        method("iht_mlp").resample(t, t.train)


# KMeans-SMOTE


def islands(rng, d=3):
    """Three far clusters with 12, 8 and 5 rows of class 1 of different spread, with fewer, fewer and more of class 0;
    and one of class 0 only."""
    x, y, island = [], [], []
    for i, (own, others, spread) in enumerate([(12, 5, 1.0), (8, 3, 2.5), (5, 9, 1.0), (0, 40, 1.0)]):
        x.append(100 * np.eye(4, d)[i] + spread * rng.normal(size=(own + others, d)))
        y += [1] * own + [0] * others
        island += [i] * (own + others)
    return part(np.concatenate(x), y), np.array(island)


def test_made_rows_fall_where_imbalanced_learn_makes_them():
    rows, island = islands(np.random.default_rng(0))
    t = replace(task(n=(57, 25), d=3), train=rows)
    ours = method("kmeans_smote_mlp", clusters=4, exponent=2.0, k_neighbors=2).resample(t, rows)
    # Mini-batch k-means of imbalanced-learn's default may split an island: the same rule on full k-means.
    theirs, labels = KMeansSMOTE(
        k_neighbors=2, kmeans_estimator=KMeans(4, n_init=10, random_state=0), cluster_balance_threshold=0.5,
        density_exponent=2.0, random_state=0,
    ).fit_resample(rows.x, rows.y)  # fmt: skip
    centres = np.stack([rows.x[island == i].mean(0) for i in range(4)])

    def where(x):
        return np.bincount(((x[:, None] - centres) ** 2).sum(2).argmin(1), minlength=4)

    ours_at, theirs_at = where(ours.x[len(rows) :]), where(theirs[len(rows) :])
    assert (ours.y[len(rows) :] == 1).all()
    assert (ours.ids[len(rows) :] == -1).all()
    assert ours_at.sum() == 57 - 25  # exact, where the library rounds every cluster up
    assert ours_at[2] == ours_at[3] == theirs_at[2] == theirs_at[3] == 0
    assert set((theirs_at - ours_at).tolist()) <= {0, 1}


def test_a_cluster_is_kept_by_the_ratio_of_its_rows():
    own = np.array([1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1], bool)
    clusters = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3])
    # (others + 1) / (own + 1): 2/3, 3/3, a single row, 1/3
    assert [r.tolist() for r in kept_clusters(own, clusters, 1.0)] == [[0, 1], [9, 10]]
    assert [r.tolist() for r in kept_clusters(own, clusters, 1.01)] == [[0, 1], [3, 4], [9, 10]]


def test_sparsity_by_hand():
    line = np.array([[0.0], [1.0], [3.0]])  # distances 1, 2, 3: mean 2
    assert log_sparsity(line, 5) == pytest.approx(np.log(2**5 / 3))
    assert log_sparsity(line, 0) == pytest.approx(np.log(1 / 3))
    assert log_sparsity(1e3 * line, 1024) == pytest.approx(1024 * np.log(2e3) - np.log(3))  # 10^3380
    assert log_sparsity(line / 10, 1) == pytest.approx(np.log(0.2 / 3))
    with np.errstate(all="raise"):
        assert log_sparsity(np.ones((4, 2)), 3) == -np.inf
    assert log_sparsity(np.ones((4, 2)), 0) == pytest.approx(np.log(1 / 4))


@pytest.mark.parametrize(
    "weights, total, counts",
    [
        ([1, 2, 1], 8, [2, 4, 2]),
        ([1, 1, 1], 5, [2, 2, 1]),
        ([0.5, 0.3, 0.2], 4, [2, 1, 1]),
        ([0, 1, 0], 7, [0, 7, 0]),
        ([0, 0], 6, [3, 3]),
    ],
)
def test_counts_are_allotted_exactly(weights, total, counts):
    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    assert allotted(logs, total) == counts
    assert allotted(logs + 5000, total) == counts


def test_a_made_row_lies_between_two_near_ones():
    points = np.array([[0.0, 0], [1, 0], [10, 0], [11, 0]])
    made = interpolated(points, 200, 1, np.random.default_rng(0))
    assert (made[:, 1] == 0).all()
    assert (((made[:, 0] >= 0) & (made[:, 0] <= 1)) | ((made[:, 0] >= 10) & (made[:, 0] <= 11))).all()
    np.testing.assert_array_equal(interpolated(points[:1], 3, 5, np.random.default_rng(0)), points[[0, 0, 0]])


@pytest.mark.parametrize("few", [1, 2, 4])
@pytest.mark.parametrize("equal", [True, False])
def test_it_fails_on_no_set_and_its_counts_are_exact(few, equal):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40 + few, 1024))
    if equal:
        x[40:] = 1
    t = replace(task(n=(40, few), d=3), train=part(x, np.repeat([0, 1], [40, few])))
    rows = method("kmeans_smote_mlp").resample(t, t.train)
    assert np.bincount(rows.y).tolist() == [40, 40]
    assert np.isfinite(rows.x).all()
    np.testing.assert_array_equal(rows.x[: 40 + few], t.train.x)


def test_bytes_stay_bytes():
    t = byte_image_task()
    rows = method("kmeans_smote_mlp", clusters=4).resample(t, t.train)
    assert rows.x.dtype == np.uint8
    assert np.bincount(rows.y).tolist() == [30, 30, 30]


# WEOB2


def test_rates_are_those_of_tracked_class_sizes():
    # w_1: 1/2 -> .45 -> .405 -> .4645 (θ = 0.9)
    rates = poisson_rates(np.array([0, 0, 1]), 0.9)
    np.testing.assert_allclose(rates[:, 0], [1, 1, 0.5355 / 0.4645])
    np.testing.assert_allclose(rates[:, 1], [0.45 / 0.55, 0.405 / 0.595, 1])


def test_recalls_move_with_rows_of_their_class_only():
    hits = np.array([[True, False], [False, False], [True, True]])
    recalls = tracked_recalls(np.array([1, 0, 1]), hits, 0.9)
    np.testing.assert_allclose(recalls[:, 1], [[0.1, 0], [0.1, 0], [0.19, 0.1]])
    np.testing.assert_allclose(recalls[:, 0], 0)


def root(m, a):
    """v with v = m + a σ(-v), by bisection."""
    return brentq(lambda v: v - m - a / (1 + np.exp(v)), m - 1e-9, m + a + 1e-9, xtol=1e-14)


def test_an_implicit_step_solves_its_equation():
    margins, steps = np.meshgrid(np.linspace(-30, 30, 13), [0, 1e-3, 0.5, 4, 100])
    moved = implicit_step(torch.from_numpy(margins), torch.from_numpy(steps)).numpy()
    for m, a, got in zip(margins.flat, steps.flat, moved.flat):
        assert got == pytest.approx(root(m, a) - m, rel=1e-5, abs=1e-9)


def test_members_learn_as_one_would_alone():
    """A stream of four rows and one of three, beside a plain loop over members."""
    rng = np.random.default_rng(0)
    sets = [part(rng.normal(size=(n, 2)), rng.integers(2, size=n)) for n in (4, 3)]
    orders = [rng.permutation(len(s)) for s in sets]
    draws = [rng.poisson(2, size=(len(s), 4)) for s in sets]
    weights, seen = learn(sets, orders, draws, 0.7, torch.zeros(0, dtype=torch.float64))
    for r, (s, order) in enumerate(zip(sets, orders)):
        x = np.concatenate([np.ones((len(s), 1)), s.x.astype(float)], 1)[order]
        for member in range(4):
            w = np.zeros(3)
            for t, row in enumerate(x):
                sign, a = 2 * s.y[order][t] - 1, 0.7 / (x[: t + 1] ** 2).sum(1).mean() * draws[r][t, member]
                m = sign * (row @ w)
                w = w + sign * (root(m, a * row @ row) - m) / (row @ row) * row
            np.testing.assert_allclose(weights[r, member], w, atol=1e-7)
    assert [s.shape for s in seen] == [(4, 2), (3, 2)]
    np.testing.assert_array_equal([s[0] for s in seen], 0.5)  # before anything was learned


def test_streams_do_not_depend_on_those_beside_them():
    tasks = [task(seed, n=n) for seed, n in enumerate([(90, 15), (40, 10), (70, 12)])]
    x = task(9).valid.x
    together = fitted("weob2", *tasks, precision="float64", passes=2)
    for t, made in zip(tasks, together):
        (alone,) = fitted("weob2", t, precision="float64", passes=2)
        np.testing.assert_allclose(made.scores(x), alone.scores(x), rtol=0, atol=1e-11)
        assert made.info == alone.info
        assert len(made.history) == 2


def test_the_decision_is_that_of_the_ensemble_with_the_better_g_mean():
    for seed in range(4):
        (made,) = fitted("weob2", task(seed))
        last = made.history[-1]
        assert made.info["ensemble"] == ("oob" if last["g_mean_oob"] > last["g_mean_uob"] else "uob")


def test_weob2_tells_blobs_apart():
    t = task(n=(300, 30))
    (made,) = fitted("weob2", t)
    right = probabilities(made, t.valid.x).argmax(1) == t.valid.y
    assert min(right[t.valid.y == c].mean() for c in (0, 1)) > 0.8


# IML


def some_rows():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(15, 3, generator=rng, dtype=torch.float64), torch.tensor([0] * 7 + [1] * 5 + [2] * 2 + [3])


def brute_force(z, labels, targets, real, mu):
    """LMNN's loss, term by term."""
    total = 0.0
    for i in range(len(z)):
        for j in targets[i][real[i]].tolist():
            pull = (z[i] - z[j]).square().sum()
            total += (1 - mu) * pull
            others = (z[i] - z[labels != labels[i]]).square().sum(1)
            total += mu * (1 + pull - others).clamp(min=0).sum()
    return total


def test_lmnns_loss_and_gradient_are_those_of_its_terms():
    x, labels = some_rows()
    targets, real = target_neighbours(x, labels, 3)
    z = (x @ torch.tensor([[1.0, 0.2, 0], [0, 0.7, -0.3], [0.1, 0, 1.3]], dtype=x.dtype)).requires_grad_()
    wanted = brute_force(z, labels, targets, real, 0.6)
    wanted.backward()
    loss, gradient = lmnn_loss(z.detach(), by_class(labels), targets, real, 0.6)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    torch.testing.assert_close(gradient, z.grad, rtol=0, atol=1e-10)


def test_targets_are_the_nearest_of_the_class():
    x, labels = some_rows()
    targets, real = target_neighbours(x, labels, 3)
    assert real.sum(1).tolist() == [3] * 12 + [1, 1, 0]
    for i in range(15):
        others = [j for j in range(15) if j != i and labels[j] == labels[i]]
        near = sorted(others, key=lambda j: (x[i] - x[j]).norm())[:3]
        assert targets[i][real[i]].tolist() == near


def test_lmnn_lowers_its_loss_and_stretches_what_tells_classes_apart():
    rng = np.random.default_rng(0)
    y = torch.arange(80) % 2
    x = torch.tensor(rng.normal(size=(80, 2)))
    x[:, 0] = 0.3 * x[:, 0] + y  # the second entry is noise
    targets, real = target_neighbours(x, y, 3)
    start = float(lmnn_loss(x, by_class(y), targets, real, 0.5)[0]) / 80
    found, loss = lmnn(x, y, 3, 0.5, 100)
    assert loss == pytest.approx(float(lmnn_loss(x @ found.T, by_class(y), targets, real, 0.5)[0]) / 80)
    assert loss < 0.7 * start
    assert found[:, 0].norm() > 1.2 * found[:, 1].norm()


def test_steps_of_lmnn_do_not_look_for_the_rows_of_a_class(monkeypatch):
    x, y = torch.tensor(np.random.default_rng(0).normal(size=(40, 2))), torch.arange(40) % 2
    counts = []
    for steps in (1, 4):
        found, search = [], torch.nonzero
        monkeypatch.setattr(torch, "nonzero", lambda *a, found=found, search=search: found.append(a) or search(*a))
        lmnn(x, y, 3, 0.5, steps)
        monkeypatch.undo()
        counts.append(len(found))
    assert counts[0] == counts[1]


def test_overlaps_by_hand():
    a, b = torch.tensor([[1, 2, 3], [7, 8, 9]]), torch.tensor([[3, 1, 5], [9, 7, 8]])
    assert jaccard(a, b).tolist() == [0.5, 1.0]


def test_caps_keep_small_classes_whole():
    labels = np.repeat([0, 1, 2], [50, 8, 1])
    kept = capped(labels, 10, 0)
    assert np.bincount(labels[kept]).tolist() == [10, 8, 1]
    assert (np.diff(kept) > 0).all()
    assert kept.tolist() != capped(labels, 10, 1).tolist()


def test_principal_components_keep_most_of_the_variance():
    x = torch.tensor(np.random.default_rng(0).normal(size=(50, 6)) * [5, 1, 4, 1, 1, 3])
    x = x - x.mean(0)
    axes = principal_components(x, 3)
    singular = torch.linalg.svdvals(x)
    torch.testing.assert_close(axes @ axes.T, torch.eye(3, dtype=x.dtype))
    assert (x @ axes.T).square().sum().item() == pytest.approx(singular[:3].square().sum().item())
    torch.testing.assert_close(principal_components(x, 6), torch.eye(6, dtype=x.dtype))


def stepwise(decision, x):
    """IML's decision for one row, with sets and sorting."""
    before = None
    for metric in decision.maps:
        selected, means = set(), []
        q = decision.project(x[None])[0] @ metric.T
        for rows, keys in zip(decision.rows, decision.keys):
            squared = (keys @ metric.T - q).square().sum(1)
            near = squared.argsort()[: decision.k]
            selected |= set(rows[near].tolist())
            means.append((-squared[near]).exp().mean())
        p = torch.stack(means) / sum(means)
        if before is not None and len(selected & before) / len(selected | before) >= decision.overlap:
            break
        before = selected
    return p


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8, 1.0])
def test_rows_decided_together_are_those_decided_alone(overlap):
    t = task(n=(60, 25, 7))
    (made,) = fitted("iml", t, precision="float64", overlap=overlap, iterations=4, steps=15)
    wanted = [stepwise(made.decision, torch.from_numpy(row).double()).numpy() for row in t.valid.x]
    np.testing.assert_allclose(probabilities(made, t.valid.x), wanted, atol=1e-9)


def test_iml_does_not_care_for_the_scale_of_the_data():
    t = task(n=(40, 12))
    large = replace(t, train=replace(t.train, x=1024 * t.train.x), valid=replace(t.valid, x=1024 * t.valid.x))
    (a,), (b,) = (fitted("iml", one, precision="float64", iterations=2, steps=10) for one in (t, large))
    np.testing.assert_allclose(a.scores(t.valid.x), b.scores(large.valid.x), atol=1e-6)


# CS-DMLP


def test_fisher_targets_by_the_formula():
    n, counts = 100, [80, 15, 5]
    t = fisher_targets(torch.tensor([0, 1, 2]), torch.tensor(counts, dtype=torch.float64)) / np.sqrt(n)
    for y in range(3):
        for j, n_j in enumerate(counts):
            wanted = (n - n_j) / (n * np.sqrt(n_j)) if j == y else -np.sqrt(n_j) / n
            assert t[y, j].item() == pytest.approx(wanted, rel=1e-12)
    # over the training rows: mean zero, and orthogonal to √n_j
    assert (torch.tensor(counts).double() @ t).abs().max() < 1e-12
    assert (t @ torch.tensor(counts).double().sqrt()).abs().max() < 1e-12


def test_the_loss_of_cs_dmlp_by_hand():
    state = TrainState(torch.tensor([[[3.0, 1.0]]], dtype=torch.float64), 0, 10)
    loss = method("cs_dmlp").loss(torch.zeros(1, 2, 2, dtype=torch.float64), torch.tensor([[0, 1]]), state)
    # t of class 0: (√(4/3) - √(3/4), -1/2); of class 1: (-√(3/4), 2 - 1/2); costs 4 / (2·3) and 4 / 2
    wanted = [2 / 3 * ((np.sqrt(4 / 3) - np.sqrt(3 / 4)) ** 2 + 0.25) / 2, 2 * (0.75 + 2.25) / 2]
    assert loss[0].tolist() == pytest.approx(wanted)


def test_two_classes_have_two_outputs_and_their_nearest_mean_decides():
    t = task(n=(90, 15))
    (made,) = fitted("cs_dmlp", t)
    for readout in ("last", "best"):
        outputs = made.network.logits(t.train.x, readout).double().numpy()
        assert outputs[:, 0].std() > 0
        means = np.stack([outputs[t.train.y == c].mean(0) for c in (0, 1)])
        tested = made.network.logits(t.valid.x, readout).double().numpy()
        squared = ((tested[:, None] - means) ** 2).sum(2)
        variance = np.mean([((outputs - means[t.train.y]) ** 2)[t.train.y == c].mean() for c in (0, 1)])
        scores = made.scores(t.valid.x, readout)
        np.testing.assert_allclose(scores[:, 1] - scores[:, 0], (squared[:, 0] - squared[:, 1]) / variance / 2)


def test_a_class_without_rows_is_never_near():
    decision = NearestMean(torch.tensor([[0.0, 0], [1, 0], [4, 0]]), np.array([0, 0, 2]), 3)
    logs = decision.log_probs(torch.tensor([[0.0, 0], [5, 0]]))
    assert logs.argmax(1).tolist() == [0, 2]
    assert (np.exp(logs[:, 1]) < 1e-11).all()


# Wrong values


@pytest.mark.parametrize(
    "label, options, message",
    [
        ("iht_mlp", {"folds": 1}, "method.folds=1 must be a whole number, at least 2"),
        ("kmeans_smote_mlp", {"clusters": 0}, "method.clusters=0 must be a whole number, at least 1"),
        ("kmeans_smote_mlp", {"threshold": 0.0}, "method.threshold=0.0 must be a number, above 0"),
        ("kmeans_smote_mlp", {"exponent": -1.0}, "method.exponent=-1.0 must be a number, at least 0"),
        ("weob2", {"theta": 1.0}, "method.theta=1.0 must be a number, above 0 and below 1"),
        ("weob2", {"passes": 0}, "method.passes=0 must be a whole number, at least 1"),
        ("iml", {"pca": 0}, "method.pca=0 must be a whole number, at least 1"),
        ("iml", {"mu": 2.0}, "method.mu=2.0 must be a number, at least 0 and at most 1"),
    ],
)
def test_a_wrong_value_names_the_key(label, options, message):
    with pytest.raises(BenchError, match=message):
        method(label, **options)
