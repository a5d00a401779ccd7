"""Derivatives written by hand, against autograd in float64 and finite differences."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from imbalance_bench.backbones.mlp import MLP
from imbalance_bench.engine.losses import cross_entropy, squared_error
from imbalance_bench.engine.stack import Stack
from tests.tasks import backbone

CPU, F64 = torch.device("cpu"), torch.float64
# classes (0: regression) and head
HEADS = [(2, "linear"), (3, "linear"), (0, "linear"), (2, "full"), (4, "full"), (2, "cosine"), (3, "cosine")]
# More and fewer units than the 7 rows of a batch, in turn and not.
BODIES = [(), (5,), (9, 4), (6, 12, 3)]


def stacked(runs, classes=2, head="linear", hidden=(9, 4), activation="relu", d=5):
    build = lambda: backbone(hidden=list(hidden), activation=activation).build((d,), classes, head)  # noqa: E731
    return Stack.create(build, range(runs), CPU, F64)


def rows(runs, n, classes, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(runs, n, d, dtype=F64, generator=generator)
    if classes:
        return x, torch.randint(classes, (runs, n), generator=generator)
    return x, torch.randn(runs, n, dtype=F64, generator=generator)


@pytest.mark.parametrize("classes, head", HEADS)
@pytest.mark.parametrize("activation, runs, hidden", [*product(["relu", "tanh"], [1, 3], BODIES)])
def test_a_step_has_autograds_gradient(activation, runs, hidden, classes, head):
    stack = stacked(runs, classes, head, hidden, activation)
    x, y = rows(runs, 7, classes)
    weight = torch.rand(runs, 7, dtype=F64)
    weight[0, 5:] = 0  # pads

    def loss(logits):
        return ((cross_entropy if classes else squared_error)(logits, y) * weight).sum()

    by_hand, general = stack.logits(x), stack(x)
    torch.testing.assert_close(by_hand.detach(), general.detach(), rtol=0, atol=1e-13)
    expected = torch.autograd.grad(loss(general), list(stack.params.values()))
    stack.backward(loss(by_hand))
    torch.testing.assert_close(stack.grad, torch.cat([g.flatten(1) for g in expected], 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes, head", [(c, h) for c, h in HEADS if c])
def test_the_mean_cross_entropy_has_autograds_value_and_gradient(classes, head, weighted):
    stack = stacked(2, classes, head)
    x, y = rows(2, 7, classes)
    weight = torch.rand(2, 7, dtype=F64) if weighted else None
    general = (cross_entropy(stack(x), y) * (1 / 7 if weight is None else weight)).sum(1)
    scale = torch.tensor([2.0, -0.5], dtype=F64)  # a loss that the caller changes
    expected = torch.autograd.grad((scale * general).sum(), list(stack.params.values()))
    loss = stack.mean_cross_entropy(x, y, weight)
    torch.testing.assert_close(loss.detach(), general.detach(), rtol=0, atol=1e-14)
    stack.backward((scale * loss).sum())
    torch.testing.assert_close(stack.grad, torch.cat([g.flatten(1) for g in expected], 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_mean_cross_entropy_that_nobody_changes_needs_no_autograd(monkeypatch, weighted):
    stack = stacked(2)
    x, y = rows(2, 7, 2)
    weight = torch.rand(2, 7, dtype=F64) if weighted else None
    stack.backward(1 * stack.mean_cross_entropy(x, y, weight))
    expected = stack.grad.clone()
    monkeypatch.setattr(torch.autograd, "grad", None)
    stack.backward(stack.mean_cross_entropy(x, y, weight))
    assert torch.equal(stack.grad, expected) and expected.any()


def test_a_loss_may_take_logits_twice_change_them_in_place_and_look_at_the_parameters():
    stack = stacked(2)
    (x, y), (other, z) = rows(2, 7, 2), rows(2, 4, 2, seed=1)

    def loss(first, second):
        second[..., 1] -= 0.5
        penalty = sum(p.square().sum() for p in stack.params.values())
        return cross_entropy(first, y).sum() + cross_entropy(second, z).sum() + 0.1 * penalty

    expected = torch.autograd.grad(loss(stack(x), stack(other)), list(stack.params.values()))
    stack.backward(loss(stack.logits(x), stack.logits(other)))
    torch.testing.assert_close(stack.grad, torch.cat([g.flatten(1) for g in expected], 1), rtol=0, atol=1e-12)
    stack.logits(x)  # a loss that nobody asks the gradient of
    stack.backward(cross_entropy(stack.logits(x), y).sum())
    expected = torch.autograd.grad(cross_entropy(stack(x), y).sum(), list(stack.params.values()))
    torch.testing.assert_close(stack.grad, torch.cat([g.flatten(1) for g in expected], 1), rtol=0, atol=1e-12)


def test_a_network_that_changes_the_mlp_has_autograds_derivatives():
    class Doubled(MLP):
        def batched(self, params, x, stage="logits"):
            return super().batched(params, 2 * x, stage)

    stack = Stack.create(lambda: Doubled(5, (4,), "relu", 2, "linear"), [0], CPU, F64)
    x, _ = rows(1, 7, 2)
    assert stack.passed(x) is None
    torch.testing.assert_close(stack.logits(x), stack(x), rtol=0, atol=0)


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("activation, hidden", [*product(["relu", "tanh"], BODIES)])
def test_the_mixed_derivative_is_that_of_finite_differences(activation, hidden, classes):
    """∂/∂x ⟨∇_θ ℓ, v⟩, of the rows from the third on, by central differences of ∇_θ ℓ by autograd."""
    stack = stacked(2, classes, "linear", hidden, activation)
    x, y = rows(2, 6, classes)
    weight, first = torch.rand(2, 6, dtype=F64), 2
    per_sample = cross_entropy if classes else squared_error
    v = {name: torch.randn_like(p) for name, p in stack.params.items()}

    def along(x):
        gradients = torch.autograd.grad((per_sample(stack(x), y) * weight).sum(), list(stack.params.values()))
        return sum((g * v[name]).sum().item() for name, g in zip(stack.params, gradients))

    made = stack.passed(x)
    outputs = made.outputs.requires_grad_()
    loss = (per_sample(made.logits(outputs), y) * weight).sum()
    (of_outputs,) = torch.autograd.grad(loss, outputs, create_graph=True)
    tail = of_outputs[:, first:]
    made.gradients(of_outputs.detach())
    mixed = made.mixed(v, lambda change: torch.autograd.grad(tail, outputs, change)[0][:, first:], first)
    assert mixed.shape == (2, 4, 5)
    for r, i, j in [(0, 2, 0), (1, 4, 3), (1, 5, 4)]:
        step = torch.zeros_like(x)
        step[r, i, j] = 1e-6
        difference = (along(x + step) - along(x - step)) / 2e-6
        assert mixed[r, i - first, j].item() == pytest.approx(difference, rel=1e-6, abs=1e-8)
