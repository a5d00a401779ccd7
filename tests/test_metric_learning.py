"""Deep neighbours and the two metric learners, against arithmetic and geometry written out here."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.lmle import ClusterDecision, Clustering, kmeans, quintuplet_batches, triple_header
from imbalance_bench.methods.shared.decisions import KNNDecision, LogisticDecision, directions, with_decisions
from imbalance_bench.methods.shared.metric_learning import class_costs
from imbalance_bench.methods.tl_rs_csl import triplet_loss
from imbalance_bench.neighbours import k_nearest
from tests.tasks import backbone, image_task, method, task, trainer

LEARNERS = ["tl_rs_csl", "lmle"]


def on_circle(*degrees: float) -> torch.Tensor:
    """Unit vectors (n, 2)."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1)


def chord(degrees: float) -> float:
    """Squared distance of two unit vectors at an angle."""
    return 2 - 2 * math.cos(math.radians(degrees))


def in_order(queries: torch.Tensor, keys: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What ``k_nearest`` promises, by sorting everything."""
    exact = (queries[:, None] - keys).square().sum(-1).sqrt().sort(dim=1, stable=True)
    return exact.values[:, :k], exact.indices[:, :k]


# Neighbours


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk", [None, 100])
@pytest.mark.parametrize("shift", [0, 50])
def test_neighbours_are_those_of_scikit_learn(dtype, chunk, shift):
    rng = np.random.default_rng(0)
    queries, keys = (torch.tensor(rng.normal(size=(n, 6)) + shift, dtype=dtype) for n in (40, 900))
    distances, indices = k_nearest(queries, keys, 5, chunk=chunk)
    wanted = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(keys.double())
    far, which = wanted.kneighbors(queries.double())
    np.testing.assert_array_equal(indices, which)
    np.testing.assert_allclose(distances, far, rtol=1e-4 if dtype == torch.float32 else 1e-9)
    np.testing.assert_array_equal(k_nearest(keys, keys, 5, own=True, chunk=chunk)[1], wanted.kneighbors()[1])


@pytest.mark.parametrize("n", [20, 700])
def test_ties_are_given_to_the_lowest_index(n):
    # Points of a small lattice: most distances are shared by many.
    keys = torch.randint(0, 3, (n, 3), generator=torch.Generator().manual_seed(1)).float()
    distances, indices = k_nearest(keys, keys, 6)
    far, which = in_order(keys, keys, 6)
    assert torch.equal(indices, which)
    assert torch.equal(distances, far)
    others = torch.where(torch.eye(n, dtype=torch.bool), torch.inf, torch.cdist(keys, keys)).sort(dim=1, stable=True)
    assert torch.equal(k_nearest(keys, keys, 6, own=True)[1], others.indices[:, :6])


def test_equal_features_have_the_first_rows_as_neighbours():
    keys = torch.ones(500, 4)
    assert k_nearest(keys, keys, 3)[1].tolist() == [[0, 1, 2]] * 500
    own = k_nearest(keys, keys, 2, own=True)[1]
    assert own[:3].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert own[3:].tolist() == [[0, 1]] * 497


def test_one_far_row_does_not_blur_the_others():
    keys = torch.tensor(np.random.default_rng(0).normal(size=(300, 4)), dtype=torch.float32)
    keys[17] = 1e6
    queries = keys[:50] + 0.01
    assert torch.equal(k_nearest(queries, keys, 4)[1], in_order(queries, keys, 4)[1])


@pytest.mark.parametrize("n", [20, 700])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e38])
@pytest.mark.parametrize("rows", [slice(None), slice(0, 3), slice(3, None)])
def test_features_of_a_diverged_run_have_some_neighbours(rows, bad, n):
    """Which ones does not matter, but that they are rows and at a distance that is a number."""
    keys = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    keys[rows] = bad
    keys[rows, 0] = -bad
    for own in (False, True):
        distances, indices = k_nearest(keys, keys, 4, own=own)
        assert distances.isfinite().all()
        assert indices.min() >= 0
        assert indices.max() < n
        assert all(len(set(found)) == 4 for found in indices.tolist())
        assert not own or (indices != torch.arange(n)[:, None]).all()


def test_more_neighbours_than_rows_are_an_error():
    keys = torch.zeros(4, 2)
    assert k_nearest(keys, keys, 3, own=True)[1].shape == (4, 3)
    for k, own in ((4, True), (5, False)):
        with pytest.raises(BenchError, match=r"lower method\.neighbours"):
            k_nearest(keys, keys, k, own=own)
    with pytest.raises(BenchError, match="asked for 5 neighbours, only 4 training rows"):
        KNNDecision(keys, [0, 0, 1, 1], 5, 2)


# Decisions


def knn(positions: list[float], labels: list[int], k: int, classes: int) -> np.ndarray:
    """Probabilities at 0 of kNN on a line."""
    line = torch.tensor(positions, dtype=torch.float64)[:, None]
    return np.exp(KNNDecision(line, labels, k, classes).log_probs(torch.zeros(1, 1, dtype=torch.float64)))[0]


def test_shares_of_votes_are_probabilities():
    p = knn([1, 2, 3, 4, 5, 6], [0, 2, 2, 0, 2, 1], 5, 4)
    np.testing.assert_allclose(p, [0.4, 0, 0.6, 0], atol=2e-5)
    assert p.sum() == pytest.approx(1)
    assert (p > 0).all()


@pytest.mark.parametrize(
    ("labels", "winner"),
    [
        ([2, 0, 0, 1, 1], 0),  # two each: 0 has a row before 1 has one; 2 has the nearest row but one vote
        ([2, 1, 0, 0, 1], 1),
        ([1, 0, 0, 1, 0], 0),  # no tie
        ([2, 1, 0, 1, 2], 2),
    ],
)
def test_a_tied_vote_goes_to_the_class_of_the_nearest(labels, winner):
    p = knn([1, 2, 3, 4, 5], labels, 5, 3)
    assert p.argmax() == winner
    # Records keep float32.
    assert (np.log(p).astype(np.float32) == np.log(p).astype(np.float32).max()).sum() == 1
    np.testing.assert_allclose(p, np.bincount(labels, minlength=3) / 5, atol=2e-5)


def test_logistic_regression_is_scikit_learns():
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        x, y = rng.normal(size=(80, 3)), rng.integers(classes, size=80)
        x[:, 0] += y
        made = LogisticDecision(torch.tensor(x), y, 0.5, classes).log_probs(torch.tensor(x[:9]))
        wanted = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000).fit(x, y)
        np.testing.assert_allclose(np.exp(made), wanted.predict_proba(x[:9]), rtol=1e-9)


def test_logistic_regression_converges_where_positives_are_rare():
    """10 of 6,000: at scikit-learn's tolerance the average precision was 0.8125 and not the optimum's 0.8064."""
    rng = np.random.default_rng(0)
    y = (np.arange(6000) < 10).astype(int)
    x = (rng.normal(size=(6000, 4)) + 2 * y[:, None]).astype(np.float32)
    made = LogisticDecision(torch.tensor(x), y, 1.0, 2)
    optimum = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(made.log_probs(torch.tensor(x)), optimum.predict_log_proba(x), atol=1e-4)
    assert not made.info


def test_a_logistic_regression_that_does_not_converge_warns_in_its_record(monkeypatch, caplog):
    monkeypatch.setattr(LogisticDecision, "ITERATIONS", 3)
    (classifier,) = method("logistic_regression").fit([task()], None, Engine(trainer(), "cpu"))
    assert "had not converged after 3 steps" in classifier.info["warning"]
    (deep,) = method("dos_all_k5").fit([task()], backbone(), Engine(trainer(epochs=2), "cpu"))
    assert "had not converged after 3 steps" in deep.info["warning"]
    assert "had not converged after 3 steps" in caplog.text


def test_classes_without_rows_are_given_the_least_probability():
    x = torch.tensor([[0.0], [1], [2], [3]])
    p = np.exp(LogisticDecision(x, [0, 0, 3, 3], 1.0, 4).log_probs(x))
    assert p.argmax(1).tolist() == [0, 0, 3, 3]
    np.testing.assert_allclose(p[:, [1, 2]], 1e-12)
    np.testing.assert_allclose(LogisticDecision(x, [1] * 4, 1.0, 2).log_probs(x), [[np.log(1e-12), 0]] * 4)
    with pytest.raises(BenchError, match="C must be above 0"):
        LogisticDecision(x, [0, 0, 1, 1], 0.0, 2)


def test_decisions_stand_beside_the_networks_own_readouts(monkeypatch):
    t = image_task()
    (made,) = method("cross_entropy").fit([t], backbone(), Engine(trainer(epochs=2), "cpu"))
    both = with_decisions(made, t.train, t.classes, k=3, c=0.5)
    assert both.readouts == ("last", "best", "knn", "lr")
    assert (both.history, both.info, both.failure) == (made.history, made.info, None)
    x = image_task(4).valid.x
    np.testing.assert_array_equal(both.scores(x, "best"), made.scores(x, "best"))
    features, rows = made.features(x), made.features(t.train.x)
    np.testing.assert_array_equal(both.scores(x, "knn"), KNNDecision(rows, t.train.y, 3, 3).log_probs(features))
    np.testing.assert_array_equal(both.scores(x, "lr"), LogisticDecision(rows, t.train.y, 0.5, 3).log_probs(features))
    # Features of one array are computed once, of another array anew.
    asked: list[np.ndarray] = []
    compute = made.features
    monkeypatch.setattr(made, "features", lambda x: asked.append(x) or compute(x))
    other = x.copy()
    for rows_asked in (other, other, x):
        for decision in ("knn", "lr"):
            both.scores(rows_asked, decision)
    assert len(asked) == 2
    assert asked[0] is other
    assert asked[1] is x
    assert with_decisions(made, t.train, t.classes, ["lr"]).readouts == ("last", "best", "lr")


def test_a_run_that_diverged_is_given_no_decisions():
    (made,) = method("cross_entropy").fit([task()], backbone(), Engine(trainer("sgd", epochs=2, lr=1e30), "cpu"))
    assert made.failure
    assert with_decisions(made, task().train, 2) is made
    for label in LEARNERS:  # by a step that is the last one before the features are looked at
        engine = Engine(trainer("sgd", epochs=2, batch_size=1000, lr=3e38, momentum=0.0), "cpu")
        options = {"initial": 0.5} if label == "lmle" else {}
        failed, *_ = method(label, **options).fit([task()], backbone(), engine)
        assert "lower trainer.lr" in failed.failure
    for label in LEARNERS:
        failed, *_ = method(label).fit([task()], backbone(), Engine(trainer("sgd", epochs=3, lr=1e38), "cpu"))
        assert failed.failure
        assert "lower trainer.lr" in failed.failure


# Triplets


def test_costs_by_hand():
    # 1/n = (1/8, 1/2, 1/4) with mean 7/24 over the classes that have rows.
    costs = class_costs(torch.tensor([[[8.0, 2, 0, 4]]]), 1.0)
    np.testing.assert_allclose(costs, [[[3 / 7, 12 / 7, 0, 6 / 7]]], rtol=1e-6)
    np.testing.assert_allclose(class_costs(torch.tensor([9.0, 1]), 0.5), [0.5, 1.5])
    np.testing.assert_allclose(class_costs(torch.tensor([9.0, 1]), 0.0), [1, 1])


def test_triplet_loss_by_hand():
    # Class 0 at 0° and 40°, class 1 at 30° and 80°; margin 0.2, costs 3 and 1.
    # Semi-hard negatives: anchor 0°, positive at 40°: the other class stands at 30°, 80°: 80°.
    # Anchor 40°, positive at 40°: at 10°, 40° (a tie is not farther): none, so the farthest, 40°.
    # Anchor 30°, positive at 50°: at 30°, 10°: none: the farthest, 30°. Anchor 80°, positive at 50°: at 80°, 40°: 80°.
    h = on_circle(0, 40, 30, 80)[None]
    labels, costs = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[3.0, 3, 1, 1]], dtype=torch.float64)
    hinges = [
        3 * max(0, 0.2 + chord(40) - chord(80)),
        3 * 0.2,
        0.2 + chord(50) - chord(30),
        max(0, 0.2 + chord(50) - chord(80)),
    ]
    assert triplet_loss(h, labels, costs, 0.2).tolist() == pytest.approx([sum(hinges) / 4], rel=1e-9)


def test_triplet_loss_is_that_of_loops_over_anchors_and_positives():
    rng = np.random.default_rng(3)
    labels = torch.tensor(rng.integers(3, size=(2, 12)))
    h = directions(torch.tensor(rng.normal(size=(2, 12, 3))))
    costs = torch.tensor(rng.uniform(size=(2, 12)))
    wanted = []
    for r in range(2):
        d = (h[r][:, None] - h[r]).square().sum(-1)
        hinges = []
        for a in range(12):
            negatives = d[a][labels[r] != labels[r, a]]
            for p in range(12):
                if a != p and labels[r, a] == labels[r, p]:
                    farther = negatives[negatives > d[a, p]]
                    n = farther.min() if len(farther) else negatives.max()
                    hinges.append(costs[r, a] * (0.5 + d[a, p] - n).clamp(min=0))
        wanted.append(float(torch.stack(hinges).mean()))
    assert triplet_loss(h, labels, costs, 0.5).tolist() == pytest.approx(wanted, rel=1e-9)


def test_a_batch_of_one_class_has_no_triplets():
    h = on_circle(0, 30, 60)[None].requires_grad_()
    loss = triplet_loss(h, torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.float64), 0.2)
    assert loss.tolist() == [0]
    assert torch.autograd.grad(loss.sum(), h)[0].isfinite().all()


# Quintuplets


def test_the_triple_header_hinge_by_hand():
    h = on_circle(0, 10, 20, 40, 90)  # in order, with room to spare
    assert triple_header(h[None], torch.full((3,), 0.01, dtype=h.dtype)).tolist() == [0]
    # D = chord of 30°, 20°, 50°, 45°.
    h = on_circle(0, 30, -20, 50, 45)
    hinges = [0.1 + chord(30) - chord(20), max(0, 0.2 + chord(20) - chord(50)), 0.3 + chord(50) - chord(45)]
    assert triple_header(h, torch.tensor([0.1, 0.2, 0.3], dtype=h.dtype)).item() == pytest.approx(sum(hinges), rel=1e-9)


# Class 0 in clusters at 0°, 4°, 10° and at 60°, 70°; class 1 in clusters at 30°, 35° and at 120°, 128°.
DEGREES = (0, 4, 10, 60, 70, 30, 35, 120, 128)
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])


def small(pool: int = 9, clusters: int = 2) -> Clustering:
    return Clustering(on_circle(*DEGREES), LABELS, clusters, pool, np.random.default_rng(0))


def test_quintuplets_of_a_small_set_by_hand():
    clustering = small()
    groups = [set(np.flatnonzero(clustering.cluster == k).tolist()) for k in range(4)]
    assert {frozenset(g) for g in groups} == {frozenset(g) for g in ({0, 1, 2}, {3, 4}, {5, 6}, {7, 8})}
    assert sorted(clustering.owner.tolist()) == [0, 0, 1, 1]
    table = clustering.quintuplets(torch.tensor([0, 1, 3, 5, 7]))
    assert table.tolist() == [
        [0, 2, 3, 4, 5],  # 0°: its cluster's 10°; 60° and 70° beside; 30° of the other class
        [1, 2, 3, 4, 5],  # 4°: 10° is farther than 0°
        [3, 4, 2, 0, 6],  # 60°: 70°; 10° and 0° beside; 35°
        [5, 6, 7, 8, 2],  # 30°: 35°; 120° and 128°; 10°
        [7, 8, 6, 5, 4],  # 120°: 128°; 35° and 30°; 70°
    ]


def test_centres_are_means_of_clusters():
    clustering = small()
    centres = clustering.centres()
    for k, centre in enumerate(centres):
        np.testing.assert_allclose(centre, clustering.h[clustering.cluster == k].mean(0))


def test_a_class_of_one_cluster_has_its_farthest_row_three_times():
    table = small(clusters=1).quintuplets(torch.tensor([0, 8]))
    assert table.tolist() == [[0, 4, 4, 4, 5], [8, 5, 5, 5, 4]]


def test_quintuplets_come_from_a_pool_of_as_many_rows_of_each_class():
    clustering = small(pool=2)
    pool = set(clustering.pool.tolist())
    assert np.bincount(LABELS[sorted(pool)]).tolist() == [2, 2]
    table = clustering.quintuplets(torch.arange(9))
    assert table[:, 0].tolist() == list(range(9))
    for anchor, inner, near, far, other in table.tolist():
        assert {near, far, other} <= pool | {inner}
        assert inner in pool | {anchor}
        assert LABELS[other] != LABELS[anchor]
        assert LABELS[inner] == LABELS[near] == LABELS[far] == LABELS[anchor]


def test_rows_that_are_few_or_equal_make_fewer_clusters():
    assert sorted(kmeans(np.array([[0.0], [9.0]]), 5, 0)) == [0, 1]
    assert kmeans(np.ones((6, 2)), 3, 0).tolist() == [0] * 6


def test_a_pass_has_as_many_anchors_of_each_class_and_as_many_images_as_rows():
    labels = np.repeat([0, 1, 2], [80, 15, 5])
    h = directions(torch.randn(100, 4, generator=torch.Generator().manual_seed(0)))
    clustering = Clustering(h, labels, 2, 50, np.random.default_rng(0))
    plan = quintuplet_batches(clustering, labels, 30, torch.Generator().manual_seed(0))
    assert plan.shape == (4, 30)
    anchors = plan.view(-1, 5)[:, 0]
    assert np.bincount(labels[anchors]).tolist() == [8, 8, 8]
    assert torch.equal(plan.view(-1, 5), clustering.quintuplets(anchors))
    lone = quintuplet_batches(None, labels, 3, torch.Generator().manual_seed(0))
    assert lone.shape == (34, 5)
    assert (lone == lone[:, :1]).all()


def test_the_large_margin_decision_by_hand():
    # Centres at 0°, 20° (class 0), 50° (1), 90° (3); class 2 has none; x at 30°: 10°, 20°, 30°, 60° away.
    decision = ClusterDecision(on_circle(0, 20, 50, 90), torch.tensor([0, 0, 1, 3]), 3, 4)
    scores = decision.log_probs(on_circle(30))[0]
    # φ = 20°, 50°, 0°: class 0: nearest other at 20° less its farthest in φ at 30°; 1: 10° less 20°; 3: 10° less 60°.
    wanted = np.array([chord(20) - chord(30), chord(10) - chord(20), chord(10) - chord(60)])
    wanted -= np.log(np.exp(wanted).sum())
    np.testing.assert_allclose(scores[[0, 1, 3]], wanted, rtol=1e-6)
    assert scores.argmax() == 1  # 0's second centre is far
    assert scores[2] == pytest.approx(np.log(1e-12))
    # One neighbour: the class of the nearest centre.
    assert ClusterDecision(on_circle(0, 20, 50), torch.tensor([0, 0, 1]), 1, 2).log_probs(on_circle(36)).argmax() == 1
    # More than there are: all of them count.
    many = ClusterDecision(on_circle(0, 20, 50), torch.tensor([0, 0, 1]), 99, 2).log_probs(on_circle(30))
    assert np.isfinite(many).all()


# Training


def easy(seed: int, classes: int) -> Task:
    """Images whose classes differ in where they are bright."""
    rng = np.random.default_rng(seed)
    n = [90, 20, 40][:classes]

    def part(sizes: list[int]) -> Part:
        y = np.repeat(np.arange(classes), sizes)
        x = rng.integers(0, 120, size=(len(y), 1, 6, 6))
        for c in range(classes):
            x[y == c, :, 2 * c : 2 * c + 2] += 130
        return Part(x.astype(np.uint8), y, np.arange(len(y)))

    train, valid = part(n), part([20] * classes)
    return Task(train, valid, None, classes, "classification", 0, 0, seed)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("label", LEARNERS)
def test_easy_images_are_told_apart_by_the_embedding(label, classes):
    t = easy(1, classes)
    settings = trainer("sgd", epochs=6, batch_size=20)
    (made,) = method(label, **({"clusters": 3} if label == "lmle" else {})).fit(
        [t], backbone(), Engine(settings, "cpu")
    )
    assert made.readouts == ("last",)
    assert len(made.history) == 6
    assert all("valid_score" not in row for row in made.history)
    other = easy(2, classes).valid
    assert (made.scores(other.x).argmax(1) == other.y).mean() > 0.97
    assert (made.scores(t.train.x).argmax(1) == t.train.y).mean() > 0.97


@pytest.mark.parametrize("label", LEARNERS)
def test_runs_together_are_runs_alone(label):
    first, longer = image_task(0), image_task(1, n=(50, 20, 10))
    tasks = [first, replace(first, seed=5), longer]
    x = image_task(3).valid.x

    def fitted(some: list[Task]) -> list[Any]:
        settings = trainer("sgd", epochs=4, batch_size=12, precision="float64")
        return method(label).fit(some, backbone(hidden=[8]), Engine(settings, "cpu"))

    together = fitted(tasks)
    for t, mine in zip(tasks, together):
        (alone,) = fitted([t])
        np.testing.assert_allclose(mine.network.features(x), alone.network.features(x), rtol=0, atol=1e-10)
        np.testing.assert_allclose(mine.scores(x), alone.scores(x), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(together[0].scores(x), fitted(tasks)[0].scores(x))
    assert (together[0].network.features(x) != together[1].network.features(x)).any()


def test_clusters_are_made_anew_as_often_as_asked(monkeypatch):
    made = []
    original = Clustering.__init__
    monkeypatch.setattr(Clustering, "__init__", lambda self, *a: made.append(1) or original(self, *a))
    t = image_task()
    for refresh, initial, wanted in ((1, 0.5, 3 + 1), (2, 0.5, 2 + 1), (1, 0.0, 6 + 1), (9, 0.99, 1 + 1)):
        made.clear()
        method("lmle", refresh=refresh, initial=initial).fit([t], backbone(), Engine(trainer(epochs=6), "cpu"))
        assert len(made) == wanted


@pytest.mark.parametrize("label", LEARNERS)
def test_images_that_are_all_alike_are_no_error(label):
    t = easy(0, 2)
    alike = replace(t, train=replace(t.train, x=np.zeros_like(t.train.x)))
    (made,) = method(label).fit([alike], backbone(), Engine(trainer("sgd", epochs=2, batch_size=20), "cpu"))
    assert made.failure is None
    assert np.isfinite(made.scores(t.valid.x)).all()


# Bad input


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("tl_rs_csl", {"margin": 0.0}),
        ("tl_rs_csl", {"cost_power": -1.0}),
        ("tl_rs_csl", {"neighbours": 0}),
        ("lmle", {"margins": [0.1, 0.2]}),
        ("lmle", {"margins": [0.1, -0.2, 0.1]}),
        ("lmle", {"clusters": 0}),
        ("lmle", {"refresh": 0}),
        ("lmle", {"pool": 0}),
        ("lmle", {"initial": 1.0}),
        ("lmle", {"cost_power": -1.0}),
        ("lmle", {"neighbours": 0}),
    ],
)
def test_bad_options_are_named(label, options):
    with pytest.raises(BenchError, match=rf"method\.{next(iter(options))}="):
        method(label, **options)


def test_batches_and_sets_that_are_too_small_are_named():
    t = image_task()
    with pytest.raises(BenchError, match=r"trainer\.batch_size=6"):
        method("tl_rs_csl").fit([t], backbone(), Engine(trainer(epochs=1, batch_size=5), "cpu"))
    with pytest.raises(BenchError, match="set method.neighbours"):
        method("tl_rs_csl", neighbours=99).fit([t], backbone(), Engine(trainer(epochs=1, batch_size=6), "cpu"))
    alone = replace(t, train=t.train.take(np.flatnonzero(t.train.y == 0)))
    with pytest.raises(BenchError, match="two classes"):
        method("lmle").fit([alone], backbone(), Engine(trainer(epochs=1), "cpu"))
