"""Explicit Gradient: the meta step against plain double backward and finite differences, and its limits."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine, graph
from imbalance_bench.engine.batches import Rows
from imbalance_bench.engine.losses import cross_entropy, squared_error
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.explicit_gradient import cycled, meta_step, step_weights
from tests.tasks import backbone, blobs, method, task, trainer

CPU, F64 = torch.device("cpu"), torch.float64


def batch(parts, widths=None):
    """One batch of all rows of each part (short ones padded)."""
    rows = Rows(parts, CPU, F64)
    width = max(len(p) for p in parts)
    plans = [torch.cat([torch.arange(len(p)), torch.full((width - len(p),), -1)])[None] for p in parts]
    return next(iter(rows.batches(plans)))


def setting(sizes=((12, 6, 4), (9, 6, 3)), classes=2, label="mlp", **options):
    """X₁, X₂, X_synth of two runs, of different sizes, and their networks."""
    options = {"activation": "tanh"} | options if label == "mlp" else options
    rng = np.random.default_rng(0)
    x1 = batch([blobs([a - 3, 3], 5, rng) for a, _, _ in sizes])
    x2 = batch([blobs([b - 2, 2], 5, rng) for _, b, _ in sizes])
    xs = batch([blobs([0, c], 5, rng) for _, _, c in sizes])
    net = backbone(label, **options)
    stack = Stack.create(lambda: net.build((5,), classes), range(len(sizes)), CPU, F64)
    return stack, x1, x2, xs


def naive(stack, r, x1, x2, xs, eta1, joint):
    """Algorithm 1 as it reads, one run: double backward through the whole step, on real rows only."""

    def rows(b):
        real = slice(None) if b.weight is None else b.weight[r] > 0
        return b.x[r][real], b.y[r][real]

    (a, ya), (v, yv), (s, ys) = rows(x1), rows(x2), rows(xs)
    s = s.clone().requires_grad_()
    theta = {n: p[r].detach().clone().requires_grad_() for n, p in stack.params.items()}
    buffers = {n: b[r].detach().clone() for n, b in stack.buffers.items()}
    stack.module.train()
    net = lambda p, x: torch.func.functional_call(stack.module, buffers | p, (x,))  # noqa: E731
    x, y = (torch.cat([a, s]), torch.cat([ya, ys])) if joint else (s, ys)
    inner = cross_entropy(net(theta, x), y).mean()
    gradients = torch.autograd.grad(inner, list(theta.values()), create_graph=True)
    ahead = {n: p - eta1 * g for (n, p), g in zip(theta.items(), gradients)}
    outer = cross_entropy(net(ahead, v), yv).mean()
    (gradient,) = torch.autograd.grad(outer, s)
    ended = torch.cat([p.detach().reshape(-1) for p in ahead.values()])
    return inner.detach(), outer.detach(), gradient, ended


def squared_error_of_log_odds(logits, labels):
    return squared_error(logits[..., 1:], labels)


NORMED = {"label": "tabular_resnet", "width": 6, "blocks": 1, "dropout": 0.0, "residual_dropout": 0.0}


@pytest.mark.parametrize("net", [{}, NORMED], ids=["mlp", "batch normalisation"])
@pytest.mark.parametrize("joint", [True, False], ids=["algorithm1", "eq1"])
def test_the_meta_step_is_plain_double_backward(joint, net):
    """Under batch normalisation X₁ ∪ X_synth is one batch, whose statistics both are seen through."""
    stack, x1, x2, xs = setting(**net)
    twin = stack.twin()
    inner, outer, gradient = meta_step(
        stack, twin, cross_entropy, x1, x2, xs, step_weights(x1, xs, joint), eta1=0.3, eta2=1.0
    )
    for r, n in enumerate((4, 3)):
        expected = naive(stack, r, x1, x2, xs, 0.3, joint)
        torch.testing.assert_close(inner[r], expected[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(outer[r], expected[1], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient[r, :n], expected[2], rtol=1e-8, atol=1e-13)
        torch.testing.assert_close(twin.weights[r], expected[3], rtol=1e-11, atol=1e-12)
        assert (gradient[r, n:] == 0).all()


@pytest.mark.parametrize("inactive", [False, True])
@pytest.mark.parametrize("per_sample", [cross_entropy, squared_error_of_log_odds])
@pytest.mark.parametrize("activation, hidden", [("relu", [9, 4]), ("tanh", [7, 12]), ("tanh", []), ("relu", [5, 3, 8])])
@pytest.mark.parametrize("joint", [True, False], ids=["algorithm1", "eq1"])
def test_by_hand_and_by_autograd_are_one_meta_step(joint, activation, hidden, per_sample, inactive, monkeypatch):
    stack, x1, x2, xs = setting(((12, 6, 4), (9, 6, 3), (12, 5, 4)), activation=activation, hidden=hidden)
    if inactive:  # the second run has no rows in this step
        x1 = x1._replace(weight=x1.weight * torch.tensor([1.0, 0, 1])[:, None], active=[0, 2])
    weights = step_weights(x1, xs, joint)
    arguments = (per_sample, x1, x2, xs, weights, 0.3, 1.0)
    hand, general = stack.twin(), stack.twin()
    found = meta_step(stack, hand, *arguments)
    monkeypatch.setattr(Stack, "passed", lambda *_: None)
    expected = meta_step(stack, general, *arguments)
    for a, b in zip((*found, hand.flat), (*expected, general.flat)):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)
    if inactive:
        assert (found[2][1] == 0).all()
        torch.testing.assert_close(hand.flat[1], stack.flat[1], rtol=0, atol=0)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("joint", [True, False], ids=["algorithm1", "eq1"])
def test_the_cross_entropy_by_hand_has_autograds_last_digit(joint, classes):
    stack, x1, x2, xs = setting(((12, 6, 4), (9, 6, 3), (12, 5, 4)), classes)
    arguments = (x1, x2, xs, step_weights(x1, xs, joint), 0.3, 1.0)
    hand, general = stack.twin(), stack.twin()
    found = meta_step(stack, hand, cross_entropy, *arguments)
    expected = meta_step(stack, general, lambda logits, labels: cross_entropy(logits, labels), *arguments)
    for a, b in zip((*found, hand.flat), (*expected, general.flat)):
        assert torch.equal(a, b) and a.any()


def test_the_gradient_of_the_synthetic_rows_agrees_with_finite_differences():
    stack, x1, x2, xs = setting(((12, 6, 4),))
    twin = stack.twin()

    def outer_at(x):
        moved = xs._replace(x=x)
        return meta_step(stack, twin, cross_entropy, x1, x2, moved, step_weights(x1, moved, True), 0.3, 1.0)[1][0]

    gradient = meta_step(stack, twin, cross_entropy, x1, x2, xs, step_weights(x1, xs, True), 0.3, 1.0)[2]
    for i, j in [(0, 0), (1, 3), (3, 4)]:
        step = torch.zeros_like(xs.x)
        step[0, i, j] = 1e-5
        difference = (outer_at(xs.x + step) - outer_at(xs.x - step)) / 2e-5
        assert gradient[0, i, j].item() == pytest.approx(difference.item(), rel=1e-5, abs=1e-12)


def test_eta2_zero_is_plain_over_sampling():
    """Meta epochs with η₂ = 0 are gradient descent on D_train with its minority rows doubled, batch by batch."""
    t = task(0, (20, 6))
    options = {"meta_epochs": 5, "eta1": 0.05, "synthetic_batch": 6}
    engine = Engine(trainer(precision="float64", batch_size=64, epochs=3), "cpu")
    (adapted,) = method("explicit_gradient_eta2_0", **options).fit([t], backbone(), engine)
    (start,) = method("cross_entropy").fit([t], backbone(), engine)

    doubled = t.train.join(t.train.take(np.flatnonzero(t.train.y == 1)))
    net = start.stack.module
    torch.nn.utils.vector_to_parameters(start.parameters["last"].clone(), net.parameters())
    descent = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(5):  # one batch holds everything
        descent.zero_grad()
        cross_entropy(net(torch.as_tensor(doubled.x).double()), torch.as_tensor(doubled.y)).mean().backward()
        descent.step()
    ended = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
    torch.testing.assert_close(adapted.parameters["last"], ended, rtol=0, atol=1e-12)
    assert adapted.info["synthetic"]["moved_max"] == 0


def test_whole_batches_are_algorithm_1_as_it_reads():
    t = task(0, (20, 6))
    options = {"meta_epochs": 4, "eta1": 0.05, "eta2": 0.7, "synthetic_batch": 6, "valid_batch": 64, "c": 1.0}
    engine = Engine(trainer(precision="float64", batch_size=64, epochs=3), "cpu")
    (adapted,) = method("explicit_gradient", **options).fit([t], backbone(), engine)
    (start,) = method("cross_entropy").fit([t], backbone(), engine)

    net = start.stack.module
    torch.nn.utils.vector_to_parameters(start.parameters["last"].clone(), net.parameters())
    theta = {n: p.detach().clone() for n, p in net.named_parameters()}
    (x, y), (v, w) = ((torch.as_tensor(part.x).double(), torch.as_tensor(part.y)) for part in (t.train, t.valid))
    first = x[y == 1]
    synthetic = first.clone()
    for _ in range(4):
        theta = {n: p.detach().requires_grad_() for n, p in theta.items()}
        synthetic = synthetic.detach().requires_grad_()
        joint = torch.func.functional_call(net, theta, (torch.cat([x, synthetic]),))
        inner = cross_entropy(joint, torch.cat([y, torch.ones(6, dtype=int)])).mean()
        gradients = torch.autograd.grad(inner, list(theta.values()), create_graph=True)
        theta = {n: p - 0.05 * g for (n, p), g in zip(theta.items(), gradients)}
        outer = cross_entropy(torch.func.functional_call(net, theta, (v,)), w).mean()
        synthetic = synthetic - 0.7 * torch.autograd.grad(outer, synthetic, retain_graph=True)[0]
    ended = torch.cat([p.detach().reshape(-1) for p in theta.values()])
    torch.testing.assert_close(adapted.parameters["last"], ended, rtol=0, atol=1e-12)
    moved = (synthetic.detach() - first).norm(dim=1)
    assert adapted.info["synthetic"]["moved_mean"] == pytest.approx(moved.mean().item(), rel=1e-4)  # of float32 rows
    assert adapted.history[-1]["synthetic_move"] == pytest.approx(moved.mean().item(), rel=1e-9)
    assert adapted.history[-1]["outer_loss"] == pytest.approx(outer.item(), rel=1e-9)


def test_copies_are_those_of_confidence_up_to_c():
    t = task(0, (6, 3))
    p = np.array([0.25, 0.5, 0.75])  # of class 1, for its three rows
    made = SimpleNamespace(failure=None, scores=lambda x: np.log(np.stack([1 - p, p], 1)))
    own = t.train.take(np.flatnonzero(t.train.y == 1))
    for c, kept in ((1.0, [0, 1, 2]), (0.5, [0, 1]), (0.49, [0])):
        start = method("explicit_gradient", c=c).start(t, made)
        np.testing.assert_array_equal(start.x, own.x[kept])
        assert start.y.tolist() == [1] * len(kept) and start.ids.tolist() == [-1] * len(kept)
    failed = SimpleNamespace(failure="diverged")
    assert len(method("explicit_gradient", c=0.5).start(t, failed)) == 3
    given = replace(t, synthetic=(own.x[:2], own.y[:2]))
    assert method("explicit_gradient", c=0.5).start(given, made).ids.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("counts", "size", "wanted"),
    [
        ((7, 3), 4, [3, 1]),  # 2.8 and 1.2
        ((8, 1, 1), 4, [2, 1, 1]),  # 3.2, 0.4, 0.4: one at least, at the cost of the largest
        ((4, 3, 3), 3, [1, 1, 1]),
        ((5, 5), 6, [3, 3]),
        ((6, 4), 5, [3, 2]),
        ((8, 0, 2), 5, [4, 0, 1]),
        ((1, 0, 9), 5, [1, 0, 4]),
    ],
)
def test_validation_batches_have_the_shares_of_the_classes(counts, size, wanted):
    labels = torch.as_tensor(np.repeat(np.arange(len(counts)), counts))
    m, t = method("explicit_gradient", valid_batch=size), task(0, (9,) * len(counts))
    plan = m.valid_plan(labels, t, 3, torch.Generator().manual_seed(0))
    assert [torch.bincount(labels[rows], minlength=len(counts)).tolist() for rows in plan] == [wanted] * 3
    whole = method("explicit_gradient", valid_batch=10).valid_plan(labels, t, 3, torch.Generator())
    assert whole.tolist() == [list(range(10))] * 3  # no more than a batch: all of them, each time


def test_weights_of_a_step_sum_to_one():
    rng = np.random.default_rng(0)
    x1, xs = batch([blobs([3, 1], 5, rng), blobs([1, 1], 5, rng)]), batch([blobs([0, 1], 5, rng)] * 2)
    alone, joint = step_weights(x1, xs, joint=False), step_weights(x1, xs, joint=True)
    assert alone.real is None and alone.synthetic.tolist() == [[1], [1]]
    assert joint.synthetic.flatten().tolist() == pytest.approx([1 / 5, 1 / 3])
    assert joint.real.flatten().tolist() == pytest.approx([1 / 5] * 4 + [1 / 3] * 2 + [0] * 2)
    assert alone.active.tolist() == [[1], [1]]  # both runs take part


def test_a_run_whose_epoch_is_over_takes_no_step():
    part = blobs([3, 1], 5, np.random.default_rng(0))
    rows = Rows([part, part], CPU, F64)
    steps = [list(rows.batches([torch.tensor([[0, 1], [2, 3]]), torch.tensor([[0, 1]])])) for _ in range(2)]
    first, second = (step_weights(x1, xs, joint=True) for x1, xs in zip(*steps))
    assert first.active is None or first.active.tolist() == [[1], [1]]
    assert second.active.tolist() == [[1], [0]]
    assert second.real.tolist() == second.synthetic.tolist() == [[0.25, 0.25], [0, 0]]


@pytest.mark.parametrize("label", ["explicit_gradient", "explicit_gradient_eq1", "explicit_gradient_retrain"])
def test_a_run_does_not_depend_on_which_runs_it_is_trained_with(label):
    tasks = [task(0, (90, 15)), task(1, (61, 9)), task(2, (200, 30))]
    engine = Engine(trainer(precision="float64", batch_size=16, epochs=3), "cpu")
    m = method(label, meta_epochs=10, valid_batch=20, synthetic_batch=12)
    for t, joint in zip(tasks, m.fit(tasks, backbone(), engine)):
        (alone,) = m.fit([t], backbone(), engine)
        torch.testing.assert_close(alone.parameters["last"], joint.parameters["last"], rtol=0, atol=1e-12)
        assert alone.info["synthetic"]["moved_mean"] == pytest.approx(joint.info["synthetic"]["moved_mean"], rel=1e-9)
        assert alone.info["synthetic"]["moved_mean"] > 0


@pytest.mark.parametrize(
    ("label", "options", "step1", "fixed"),
    [
        ("tabular_resnet", {"width": 8, "blocks": 1}, "algorithm1", False),
        ("tabular_resnet", {"width": 8, "blocks": 1}, "algorithm1", True),
        ("tabular_resnet", {"width": 8, "blocks": 1}, "eq1", False),
        ("realmlp", {"hidden": [8]}, "algorithm1", False),
    ],
)
def test_nor_does_one_of_a_network_with_state(label, options, step1, fixed, monkeypatch):
    """Batch statistics and dropout, also where steps are graphs; runs sit out steps of each other."""
    monkeypatch.setattr(graph, "wanted", lambda *_: fixed)
    tasks = [task(0, (60, 15)), task(1, (31, 9))]
    engine = Engine(trainer(precision="float64", batch_size=32, epochs=1), "cpu")
    net = backbone(label, **options)
    m = method("explicit_gradient", meta_epochs=2, valid_batch=16, synthetic_batch=8, step1=step1)
    for t, joint in zip(tasks, m.fit(tasks, net, engine)):
        (alone,) = m.fit([t], net, engine)
        torch.testing.assert_close(alone.parameters["last"], joint.parameters["last"], rtol=1e-9, atol=1e-9)
        assert alone.info["synthetic"]["moved_mean"] == pytest.approx(joint.info["synthetic"]["moved_mean"], rel=1e-6)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_run_that_diverges_takes_no_other_with_it(bad):
    """Either run's copies fill the other's batch up, or are first in the store."""
    good, broken = task(0, (40, 9)), task(1, (40, 14 if bad == 0 else 5))
    part = broken.train
    broken = replace(broken, train=Part(part.x * np.float32(1e30), part.y, part.ids))
    tasks = [broken, good] if bad == 0 else [good, broken]
    engine = Engine(trainer(precision="float64", batch_size=16, epochs=1), "cpu")
    m = method("explicit_gradient", meta_epochs=4)
    found = m.fit(tasks, backbone(), engine)
    (alone,) = m.fit([good], backbone(), engine)
    assert found[bad].failure and found[1 - bad].failure is None
    torch.testing.assert_close(found[1 - bad].parameters["last"], alone.parameters["last"], rtol=0, atol=1e-12)
    assert found[1 - bad].info["synthetic"]["moved_mean"] == pytest.approx(alone.info["synthetic"]["moved_mean"])


def test_the_history_goes_on_through_the_meta_phase():
    engine = Engine(trainer(epochs=3), "cpu")
    (c,) = method("explicit_gradient", meta_epochs=2).fit([task()], backbone(), engine)
    assert [h["epoch"] for h in c.history] == [1, 2, 3, 4, 5]
    assert "train_loss" in c.history[2] and {"inner_loss", "outer_loss", "synthetic_move"} <= c.history[3].keys()


def test_confidence_bound_c_keeps_the_uncertain_rows_only():
    engine = Engine(trainer(epochs=60), "cpu")
    t = task(0, (90, 15))
    (some,) = method("explicit_gradient", meta_epochs=1, c=0.7).fit([t], backbone(), engine)
    (every,) = method("explicit_gradient", meta_epochs=1, c=1.0).fit([t], backbone(), engine)
    assert 0 < some.info["synthetic"]["rows"] < every.info["synthetic"]["rows"] == 15
    with pytest.raises(BenchError, match="method.c=1e-09"):
        method("explicit_gradient", meta_epochs=1, c=1e-9).fit([t], backbone(), engine)


def test_more_than_two_classes_copy_every_class_but_the_largest():
    (c,) = method("explicit_gradient", meta_epochs=2).fit(
        [task(0, (60, 20, 9))], backbone(), Engine(trainer(epochs=2), "cpu")
    )
    assert c.info["synthetic"]["rows"] == 29


def test_the_sine_regression_moves_x_only():
    rng = np.random.default_rng(0)

    def points(n):
        x = rng.uniform(-5, 5, (n, 1))
        return Part(x.astype(np.float32), np.sin(np.pi / 2 * x[:, 0]), np.arange(n))

    start = (rng.uniform(-5, 5, (20, 1)).astype(np.float32), rng.uniform(-1, 1, 20))
    t = Task(points(5), points(5), None, 0, "regression", 0, 0, 3, start)
    engine = Engine(trainer("sgd_sine", epochs=20), "cpu")
    (c,) = method("explicit_gradient_sine", meta_epochs=20).fit([t], backbone("mlp_sine"), engine)
    assert c.artifacts["synthetic_end_x"].shape == (20, 1)
    assert (c.artifacts["synthetic_end_x"] != c.artifacts["synthetic_start_x"]).any()
    np.testing.assert_array_equal(c.artifacts["synthetic_y"], start[1])
    assert c.scores(t.valid.x).shape == (5, 1)


def test_cycled_batches_go_through_all_rows_and_repeat_none_within_a_batch():
    plan = cycled(10, 4, 6, torch.Generator().manual_seed(0))
    for row in plan:
        real = row[row >= 0]
        assert len(real.unique()) == len(real)
    assert torch.bincount(plan[plan >= 0]).tolist() == [2] * 10


@pytest.mark.parametrize("key, value, ask", [("rows", "train_valid", "train"), ("augment", "crop_flip", "none")])
def test_it_says_what_it_needs(key, value, ask):
    engine = Engine(trainer(**{key: value}, epochs=1), "cpu")
    with pytest.raises(BenchError, match=f"set trainer.{key}={ask}"):
        method("explicit_gradient").fit([task()], backbone(), engine)


def test_a_validation_batch_that_has_no_row_of_each_class_is_an_error():
    with pytest.raises(BenchError, match="set method.valid_batch=2 or more"):
        method("explicit_gradient", valid_batch=1).fit([task()], backbone(), Engine(trainer(epochs=1), "cpu"))
