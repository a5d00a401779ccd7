"""Deep Over-sampling: Eqs. 1-11 by hand, what is and is not differentiated, and the plain CNN at k = 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imbalance_bench.engine import Engine
from imbalance_bench.engine.batches import Batch
from imbalance_bench.engine.loop import TrainState
from imbalance_bench.errors import BenchError
from imbalance_bench.methods import dos as module
from imbalance_bench.methods.dos import Targets
from tests.tasks import backbone, method, task, trainer

TASK = replace(task(0, (60, 20, 8)), minority_classes=(2,))
OTHER = replace(task(1, (50, 31, 11)), minority_classes=(1, 2))


def fit(tasks, m, epochs=6, **options):
    return m.fit(
        tasks,
        backbone(),
        Engine(trainer("dos_mnist", precision="float64", epochs=epochs, batch_size=16, **options), "cpu"),
    )


class Given:
    """A stack of one run whose embedding of any batch is ``h`` and whose head is linear."""

    def __init__(self, h: torch.Tensor, head: torch.Tensor) -> None:
        self.h, self.head = h, head

    def __call__(self, x: torch.Tensor, stage: str) -> torch.Tensor:
        return self.h if stage == "embed" else x @ self.head


def one_batch(n: int) -> Batch:
    rows = torch.arange(n)[None]
    return Batch(torch.zeros(1, n, 2), torch.tensor([[0, 1][:n]]), rows, None, None, torch.zeros(1, 1).long(), [n])


def by_hand(h, v, w, y, head, loss_weight, rho):
    """Eqs. 8-10 for one sample: v (k + 1, d), the sample first."""
    squared = ((h - v) ** 2).sum(1)
    distance = np.concatenate([[0.0], squared[1:]])
    raw = np.exp(-w * distance) if rho == "printed" else w * np.exp(-distance)
    share = raw / raw.sum()
    of_g = 0.0
    for weight, point in zip(share, np.concatenate([h[None], v[1:]])):
        z = point @ head
        of_g += weight * (np.log(np.exp(z).sum()) - z[y])
    return of_g + loss_weight * (w * squared).sum()


@pytest.mark.parametrize("rho", ["printed", "weighted"])
def test_the_loss_of_a_batch_is_equations_8_to_10(rho):
    rng = np.random.default_rng(0)
    v, h, head = rng.normal(size=(4, 3)), rng.normal(size=(2, 3)), rng.normal(size=(3, 2))
    members = torch.tensor([[0, 2, 3], [1, 1, 1], [2, 0, 3], [3, 2, 0]])
    real = torch.tensor([[True] * 3, [True, False, False], [True] * 3, [True] * 3])
    m = method("dos", loss_weight=0.3, rho=rho)
    live = torch.tensor(h[None], requires_grad=True)
    loss = m.objective([Targets(torch.tensor(v), members, real)])
    drawing = torch.Generator().manual_seed(5)
    state = TrainState(torch.ones(1, 1, 2), 0, 1, [drawing])
    value = loss(Given(live, torch.tensor(head)), one_batch(2), state)

    w = torch.empty(2, 3).exponential_(generator=torch.Generator().manual_seed(5)).double().numpy()
    w0 = w[0] / w[0].sum()
    first = by_hand(h[0], v[[0, 2, 3]], w0, 0, head, 0.3, rho)
    z = h[1] @ head
    second = np.log(np.exp(z).sum()) - z[1]  # k = 0: cross-entropy, and nothing pulls at the embedding
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-6)

    # Only the live f(x) is differentiated: l'_f pulls towards the constant v, l'_g acts through the sample's own term.
    (gradient,) = torch.autograd.grad(value.sum(), live)
    squared = ((h[0] - v[[0, 2, 3]]) ** 2).sum(1) * [0, 1, 1]
    raw = np.exp(-w0 * squared) if rho == "printed" else w0 * np.exp(-squared)
    p = np.exp(h[0] @ head) / np.exp(h[0] @ head).sum()
    by_g = raw[0] / raw.sum() * head @ (p - [1, 0])
    by_f = 0.3 * 2 * (w0[:, None] * (h[0] - v[[0, 2, 3]])).sum(0)
    np.testing.assert_allclose(gradient[0, 0].numpy(), (by_g + by_f) / 2, rtol=1e-6)


def test_with_weights_of_one_the_losses_are_equations_3_to_5():
    rng = np.random.default_rng(0)
    v, h, head = rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=(3, 2))
    members = torch.tensor([[0, 1, 2]] * 3)
    loss = method("dos", loss_weight=0.3, weights="ones").objective(
        [Targets(torch.tensor(v), members, torch.ones(3, 3, dtype=torch.bool))]
    )
    state = TrainState(torch.ones(1, 1, 2), 0, 1, [torch.Generator()])
    value = loss(Given(torch.tensor(h)[None, None], torch.tensor(head)), one_batch(1), state)
    assert value.item() == pytest.approx(by_hand(h, v, np.ones(3), 0, head, 0.3, "printed"), rel=1e-6)


def test_equation_8_is_least_at_the_weighted_mean():
    """Of the objective what λ weighs has no gradient where f(x) is Σ w_i v_i."""
    rng = np.random.default_rng(1)
    v, head = torch.tensor(rng.normal(size=(5, 3))), torch.tensor(rng.normal(size=(3, 2)))
    members = torch.arange(5).expand(5, 5)
    w = torch.empty(1, 5).exponential_(generator=torch.Generator().manual_seed(3)).double()[0]
    live = ((w / w.sum()) @ v)[None, None].requires_grad_()

    def gradient(loss_weight):
        state = TrainState(torch.ones(1, 1, 2), 0, 1, [torch.Generator().manual_seed(3)])
        m = method("dos", loss_weight=loss_weight)
        loss = m.objective([Targets(v, members, torch.ones(5, 5, dtype=torch.bool))])
        return torch.autograd.grad(loss(Given(live, head), one_batch(1), state).sum(), live)[0]

    torch.testing.assert_close(gradient(100.0), gradient(0.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rho", ["printed", "weighted"])
def test_shares_sum_to_one_over_the_members_that_count(rho):
    squared, w = torch.rand(2, 4, 6) * 100, torch.rand(2, 4, 6)
    counted = torch.ones(2, 4, 6, dtype=torch.bool)
    counted[0, :, 3:] = False
    shares = method("dos", rho=rho).shares(squared, w, counted)
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 4))
    assert (shares[0, :, 3:] == 0).all()
    if rho == "printed":  # the sample itself, at distance 0, has 1 / Z
        z = 1 + torch.exp(-w * squared)[1, 0, 1:].sum()
        torch.testing.assert_close(shares[1, 0, 0], 1 / z)


def test_without_neighbours_and_copies_it_is_the_plain_network_trained_as_long():
    plain = fit([TASK, OTHER], method("cross_entropy"))
    for label in ("cnn", "dos"):
        m = method(label, **({} if label == "cnn" else {"k_minority": 0, "r": None}))
        for a, b in zip(plain, fit([TASK, OTHER], m)):
            assert torch.equal(a.parameters["last"], b.network.parameters["last"])
            assert [h["train_loss"] for h in a.history] == [h["train_loss"] for h in b.history]


def test_a_run_does_not_depend_on_which_runs_it_is_trained_with():
    m = method("dos", k_minority=3)
    together = fit([TASK, OTHER], m)
    for t, joint in zip((TASK, OTHER), together):
        (alone,) = fit([t], m)
        a, b = alone.network.parameters["last"], joint.network.parameters["last"]
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_neighbours_are_the_nearest_of_the_class_and_are_found_again_each_round(monkeypatch):
    rounds = []
    original = module.DOS.targets

    def watched(self, *args):
        (found,) = original(self, *args)
        rounds.append(found)
        return [found]

    monkeypatch.setattr(module.DOS, "targets", watched)
    (made,) = fit([TASK], method("dos", k_minority=4, k_majority=2))
    assert len(rounds) == 3  # half of 6 epochs
    assert not torch.equal(rounds[0].v, rounds[1].v)
    last, y = rounds[-1], torch.as_tensor(TASK.train.y)
    distance = torch.cdist(last.v, last.v)
    for i in range(len(y)):
        k = 4 if y[i] == 2 else 2
        assert last.members[i, 0] == i
        assert last.real[i].tolist() == [j <= k for j in range(5)]
        others = [j for j in range(len(y)) if y[j] == y[i] and j != i]
        nearest = sorted(others, key=lambda j: distance[i, j].item())[:k]
        assert last.members[i, 1 : k + 1].tolist() == nearest
    assert made.info["k"] == [2, 2, 4]


def test_a_minority_sample_stands_1_over_ratio_times_in_a_round():
    rare = replace(task(0, (5000, 2000, 50)), minority_classes=(2,))
    assert method("dos").repeats(rare, rare.train).tolist() == [1, 1, 100]  # a majority class stays as it is
    assert method("dos", r=0.5).repeats(rare, rare.train).tolist() == [1, 1, 50]
    assert method("dos", r=None).repeats(rare, rare.train).tolist() == [1, 1, 1]
    of_row = np.repeat([1, 3, 9], [60, 20, 7])
    plan = method("dos").enlarged(of_row, 16, torch.Generator().manual_seed(0))
    assert torch.bincount(plan[plan >= 0], minlength=87).tolist() == of_row.tolist()
    uniform = method("cnn_equal_updates").enlarged(of_row, 16, torch.Generator().manual_seed(0))
    times = torch.bincount(uniform[uniform >= 0], minlength=87)
    assert int(times.sum()) == 60 + 60 + 63
    assert set(times.tolist()) == {2, 3}


def test_where_no_class_is_a_minority_there_is_nothing_to_over_sample():
    balanced = replace(TASK, minority_classes=())
    for label in ("dos", "cnn_oversampled", "cnn_equal_updates"):
        assert "no class is one" in method(label).declines(balanced)
    for label in ("cnn", "dos_all_k5"):
        assert method(label).declines(balanced) is None


def test_a_run_without_a_minority_beside_one_that_has_some_is_trained_on_its_samples_alone():
    plain = replace(TASK, minority_classes=())
    m = method("dos", k_minority=3)
    first, second = fit([plain, OTHER], m)
    (alone,) = fit([OTHER], m)
    torch.testing.assert_close(second.network.parameters["last"], alone.network.parameters["last"], rtol=0, atol=1e-12)
    assert first.info["r"] == [1, 1, 1] and first.info["k"] == [0, 0, 0]
    assert second.info["k"] == [0, 3, 3]


def test_a_run_that_diverges_leaves_the_others_as_they_are():
    """Its embeddings are no numbers any more, and it has no neighbours."""
    wild = replace(TASK, train=replace(TASK.train, x=np.full_like(TASK.train.x, np.inf)))
    m = method("dos", k_minority=3)
    broken, kept = fit([wild, OTHER], m)
    (alone,) = fit([OTHER], m)
    assert "train_loss is" in broken.failure and kept.failure is None
    torch.testing.assert_close(kept.network.parameters["last"], alone.network.parameters["last"], rtol=0, atol=1e-12)


def test_weights_are_uniform_on_the_simplex():
    counted = torch.ones(1, 4000, 3, dtype=torch.bool)
    w = module.dirichlet(counted, one_batch(1)._replace(sizes=[4000]), [torch.Generator().manual_seed(0)])[0]
    torch.testing.assert_close(w.sum(1), torch.ones(4000))
    # Dirichlet(1, 1, 1): mean 1/3, variance 1/18.
    assert w.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert w.var(0).tolist() == pytest.approx([1 / 18] * 3, abs=0.005)


def test_deep_classifiers_are_scored_beside_the_network():
    (made,) = fit([TASK], method("dos", k_minority=3))
    assert made.readouts[-2:] == ("knn", "lr")
    for readout in made.readouts:
        scores = made.scores(TASK.valid.x, readout)
        np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)


def test_more_neighbours_than_the_class_has_is_an_error_that_says_what_to_set():
    with pytest.raises(BenchError, match=r"\+1 = 9 \(fold 0 has 8 of class 2\): set method.k_minority=7, or"):
        fit([TASK], method("dos", k_minority=8))
    with pytest.raises(BenchError, match=r"\+1 = 21 \(fold 0 has 20 of class 1\): set method.k_majority=19, or"):
        fit([TASK], method("dos", k_majority=20))


def test_what_the_error_says_to_set_serves_every_fold_and_class():
    tasks = [task(0, (40, 30, 5), fold=0), task(1, (6, 30, 3), fold=1), task(2, (40, 30, 4), fold=2)]
    with pytest.raises(BenchError, match=r"set method.k_minority=2, method.k_majority=5, or"):
        fit([replace(t, minority_classes=(2,)) for t in tasks], method("dos", k_minority=5, k_majority=8))


@pytest.mark.parametrize(
    "options, words",
    [({"k_minority": -1}, "method.k_minority=-1"), ({"r": 0.0}, "method.r=0"), ({"loss_weight": -0.1}, "loss_weight"),
     ({"initial": 1.5}, "method.initial=1.5"), ({"neighbours": 0}, "neighbours=0")],
)  # fmt: skip
def test_wrong_values_are_named(options, words):
    with pytest.raises(BenchError, match=words):
        method("dos", **options)


def test_cross_entropy_of_the_head_is_the_live_networks():
    """Eq. 9 with k = 0 in one class only: the other class's samples still train f by classification."""
    h = torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    head = torch.randn(3, 2, dtype=torch.float64)
    targets = Targets(torch.randn(1, 3).double(), torch.zeros(1, 2).long(), torch.tensor([[True, False]]))
    state = TrainState(torch.ones(1, 1, 2), 0, 1, [torch.Generator()])
    loss = method("dos").objective([targets])(Given(h, head), one_batch(1), state)
    torch.testing.assert_close(loss[0], F.cross_entropy((h @ head)[0], torch.tensor([0])))
